import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattgnn.lattice import cubic, square, triangular
from lattgnn.symmetry import (
    Representation,
    axial,
    direct_sum,
    irreps,
    parse_representation,
    permutation,
    pseudoscalar,
    regular,
    site_point_group,
    trivial,
    vector,
)

GROUPS = [site_point_group(lattice.cell) for lattice in (square(4), triangular(4), cubic(4))]
NEIGHBORS = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]


MAKERS = [[*irreps(group), vector(group), axial(group), trivial(group)] for group in GROUPS]
# Random direct sums of irreps and generic representations of a square, a hexagon and a cube.
SUMS = st.sampled_from(MAKERS).flatmap(
    lambda makers: st.lists(
        st.tuples(st.integers(1, 2), st.sampled_from(makers)), min_size=1, max_size=3
    )
)


def total(parts):
    return direct_sum(*(times * part for times, part in parts))


def decomposition(representation):
    return {irrep.name: count for irrep, count in representation.irreps()}


def test_generic_representations(group):
    for make in (trivial, vector, axial, pseudoscalar, regular):
        rho = make(group).matrices
        np.testing.assert_allclose(rho[:6, None] @ rho, rho[group.table[:6]], atol=1e-12)
    assert decomposition(regular(group)) == {
        i.name: i.dim // i.endomorphism_dim for i in irreps(group)
    }
    assert axial(group).dim == (3 if group.dim == 3 else 1)
    assert regular(group).is_permutation and trivial(group).is_trivial
    assert regular(group).is_trivial == (group.order == 1)


@pytest.mark.parametrize(
    ("name", "left", "right", "product"),
    [
        ("D4", "E", "E", "A1 + A2 + B1 + B2"),
        ("D4", "B1", "B2", "A2"),
        ("D4", "B1", "E", "E"),
        ("D3", "E", "E", "A1 + A2 + E"),
        ("D6", "E1", "E1", "A1 + A2 + E2"),
        ("D6", "E1", "E2", "B1 + B2 + E1"),
        ("C4", "E", "E", "2 A + 2 B"),
        ("C3", "E", "E", "2 A + E"),
        ("23", "E", "T", "2 T"),
        ("m-3m", "T1u", "T1u", "A1g + Eg + T1g + T2g"),
        ("m-3m", "T2g", "Eg", "T1g + T2g"),
        ("m-3m", "A2u", "T1g", "T2u"),
        ("-6m2", "E''", "E'", "A1'' + A2'' + E''"),
    ],
)
def test_products(crystal, name, left, right, product):
    group = crystal(name)
    found = parse_representation(left, group) * parse_representation(right, group)
    assert found.irreps() == parse_representation(product, group).irreps()
    np.testing.assert_allclose(
        found.matrices[-1],
        np.kron(*(parse_representation(t, group).matrices[-1] for t in (left, right))),
    )


@given(SUMS)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_change_of_basis_to_irreps(parts):
    representation = total(parts)
    u = representation.to_irreps()
    np.testing.assert_allclose(u @ u.T, np.eye(representation.dim), atol=1e-12)
    expected = total((count, irrep) for irrep, count in representation.irreps())
    np.testing.assert_allclose(u @ representation.matrices @ u.T, expected.matrices, atol=1e-12)


@pytest.mark.parametrize("name", ["C4", "C3", "-4", "23", "D4", "m-3"])
def test_change_of_basis_of_products(crystal, name):
    """Pairs of complex conjugate irreps too: their copies are not unique."""
    group = crystal(name)
    for representation in (vector(group) * vector(group), regular(group)):
        u = representation.to_irreps()
        np.testing.assert_allclose(u @ u.T, np.eye(representation.dim), atol=1e-12)
        blocks = [i.matrices for i, count in representation.irreps() for _ in range(count)]
        start = 0
        for block in blocks:
            rows = u[start : start + block.shape[1]]
            np.testing.assert_allclose(rows @ representation.matrices @ rows.T, block, atol=1e-12)
            start += block.shape[1]
        assert start == representation.dim


@given(SUMS)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_sums(parts):
    representation = total(parts)
    assert sum(block.dim for block in representation.blocks) == representation.dim
    assert parse_representation(representation.name, representation.group) == representation
    assert [
        b.name for b in parse_representation(representation.name, representation.group).blocks
    ] == [b.name for b in representation.blocks]
    counts = decomposition(representation)
    assert sum(
        counts[i.name] * i.dim for i in irreps(representation.group) if i.name in counts
    ) == (representation.dim)


def test_blocks_and_names():
    e, a = parse_representation("E", GROUPS[0]), parse_representation("A1", GROUPS[0])
    assert (a + 2 * e).name == "A1 + 2 E" and (a + e + e) == (a + 2 * e)
    assert (a + 2 * e).blocks == (a, e, e) and e.blocks == (e,)
    assert (e + a).name == "E + A1" and e + a != a + e
    assert ((a + e) * e).name == "(A1 + E) * E" and parse_representation(
        ((a + e) * e).name, GROUPS[0]
    ) == (a + e) * e
    assert e == vector(GROUPS[0]) and hash(e) == hash(vector(GROUPS[0])) and e != a
    assert e.endomorphism_dim == 1 and (2 * e).endomorphism_dim == 4
    assert (3 * trivial(GROUPS[0])).is_trivial and not e.is_permutation
    assert (
        trivial(GROUPS[0]).is_permutation
        and not (a + parse_representation("B1", GROUPS[0])).is_permutation
    )


def test_values_cannot_change():
    e = parse_representation("E + A1", GROUPS[0])
    copy = pickle.loads(pickle.dumps(e))
    assert copy == e and copy.blocks == e.blocks and copy.name == e.name
    for each in (e, copy):
        with pytest.raises(ValueError, match="read-only"):
            each.matrices[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            each.character[0] = 0


def test_permutations_of_points_and_cosets():
    group = GROUPS[0]
    star = permutation(group, NEIGHBORS)
    assert star.is_permutation and decomposition(star) == {"A1": 1, "B1": 1, "E": 1}
    for g, rotation in enumerate(group.rotations):
        np.testing.assert_allclose(
            star.matrices[g].T @ NEIGHBORS, NEIGHBORS @ rotation.T, atol=1e-12
        )
    stabilizer = [
        g
        for g in range(group.order)
        if np.allclose(group.rotations[g] @ NEIGHBORS[0], NEIGHBORS[0])
    ]
    cosets = permutation(group, subgroup=stabilizer)
    assert cosets.irreps() == star.irreps() and cosets.is_permutation
    assert permutation(group, subgroup=[0]) == regular(group)
    assert permutation(group, subgroup=range(group.order)) == trivial(group)


def test_what_is_no_representation_is_refused():
    square_group, hexagon, _ = GROUPS
    e = parse_representation("E", square_group)
    with pytest.raises(ValueError, match="maps onto each other"):
        permutation(square_group, NEIGHBORS[:3])
    with pytest.raises(ValueError, match="maps onto each other"):
        permutation(square_group, [1.0, 0.0])
    with pytest.raises(ValueError, match="subgroup must be closed"):
        permutation(square_group, subgroup=[0, 1])
    for arguments in ({}, {"points": NEIGHBORS, "subgroup": [0]}):
        with pytest.raises(ValueError, match="not both"):
            permutation(square_group, **arguments)
    with pytest.raises(ValueError, match="one group"):
        _ = e + vector(hexagon)
    with pytest.raises(ValueError, match="one group"):
        _ = e * vector(hexagon)
    with pytest.raises(ValueError, match="one group"):
        e.multiplicity(vector(hexagon))
    with pytest.raises(ValueError, match="at least 1"):
        _ = 0 * e
    with pytest.raises(TypeError):
        _ = 1.5 * e  # type: ignore[operator]
    with pytest.raises(ValueError, match="shape"):
        Representation(square_group, np.eye(2), "E")
    with pytest.raises(ValueError, match="multiply as D4 does"):
        Representation(square_group, np.roll(e.matrices, 1, axis=0), "E")
    # A representation, but not orthogonal.
    with pytest.raises(ValueError, match="multiply as D4 does"):
        skew = np.array([[1.0, 0.5], [0.0, 1.0]])
        Representation(square_group, skew @ e.matrices @ np.linalg.inv(skew), "E")
