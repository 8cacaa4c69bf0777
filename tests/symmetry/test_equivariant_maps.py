from itertools import product

import numpy as np
import pytest

from lattgnn.lattice import cubic, square
from lattgnn.symmetry import (
    axial,
    clebsch_gordan,
    intertwiner_dim,
    intertwiners,
    irreps,
    parse_representation,
    permutation,
    pseudoscalar,
    regular,
    site_point_group,
    trivial,
    vector,
)


def representations(group):
    found = [*irreps(group), vector(group), axial(group), pseudoscalar(group), trivial(group)]
    found.append(vector(group) * vector(group) + trivial(group))
    return [*found, regular(group)] if group.order <= 12 else found


def commutator(k, a, b, chosen):
    """ρ_b(g) K − K ρ_a(g) for the chosen g."""
    return b.matrices[chosen] @ k[:, None] - k[:, None] @ a.matrices[chosen]


@pytest.mark.parametrize("name", ["line D1", "C4", "D4", "-4", "-6m2", "432"])
def test_linear_maps(crystal, name):
    group = crystal(name)
    everyone = np.arange(group.order)
    for a, b in product(representations(group), repeat=2):
        k = intertwiners(a, b)
        assert k.shape == (intertwiner_dim(a, b), b.dim, a.dim)
        np.testing.assert_allclose(commutator(k, a, b, everyone), 0, atol=1e-12)
        flat = k.reshape(len(k), b.dim * a.dim)
        np.testing.assert_allclose(flat @ flat.T, np.eye(len(k)), atol=1e-12)


def test_the_basis_is_complete(crystal):
    """The null space of all conditions, found from singular values, has the same dimension."""
    for name in ("C4", "D3", "-4"):
        group = crystal(name)
        for a, b in product(representations(group), repeat=2):
            conditions = [
                np.kron(rho_b, np.eye(a.dim)) - np.kron(np.eye(b.dim), rho_a.T)
                for rho_a, rho_b in zip(a.matrices, b.matrices, strict=True)
            ]
            singular = np.linalg.svd(np.concatenate(conditions), compute_uv=False)
            assert (singular < 1e-9).sum() == intertwiner_dim(a, b)


def test_maps_that_a_subgroup_allows(crystal):
    group = crystal("D4")
    subgroup = np.flatnonzero(group.determinants > 0)
    e = parse_representation("E", group)
    assert intertwiner_dim(e, e) == 1 and intertwiner_dim(e, e, subgroup) == 2
    k = intertwiners(e, e, subgroup)
    np.testing.assert_allclose(commutator(k, e, e, subgroup), 0, atol=1e-12)
    assert np.abs(commutator(k, e, e, np.arange(8))).max() > 0.1
    # (x, y) → (x, y) and the rotation by a quarter
    np.testing.assert_allclose(k * 2**0.5, [[[1, 0], [0, 1]], [[0, 1], [-1, 0]]], atol=1e-12)
    assert intertwiners(e, e, [0]).shape == (4, 2, 2)
    with pytest.raises(ValueError, match="subgroup must be closed"):
        intertwiners(e, e, [0, 1])


def test_between_permutations_one_value_in_disjoint_places():
    group = site_point_group(square(4).cell)
    star = permutation(group, [[1, 0], [0, 1], [-1, 0], [0, -1]])
    for a, b in product((star, regular(group), star + trivial(group)), repeat=2):
        k = intertwiners(a, b)
        assert ((k != 0).sum(0) == 1).all()
        for each in k:
            assert len(set(each[each != 0].tolist())) == 1 and each.max() > 0


def test_schur(group):
    for a, b in product(irreps(group), repeat=2):
        assert intertwiner_dim(a, b) == (a.endomorphism_dim if a is b else 0)
    for a in irreps(group):
        assert len(intertwiners(a, a)) == a.endomorphism_dim


@pytest.mark.parametrize("name", ["C4", "D4", "-4", "23"])
def test_bilinear_maps(crystal, name):
    group = crystal(name)
    found = [*irreps(group)[:5], vector(group)]
    for a, b, c in product(found, repeat=3):
        tensors = clebsch_gordan(a, b, c)
        assert tensors.shape == (intertwiner_dim(a * b, c), c.dim, a.dim, b.dim)
        moved = np.einsum("nkij,gia,gjb->gnkab", tensors, a.matrices, b.matrices, optimize=True)
        np.testing.assert_allclose(
            moved, np.einsum("gkl,nlab->gnkab", c.matrices, tensors), atol=1e-12
        )
        flat = tensors.reshape(len(tensors), c.dim * a.dim * b.dim)
        np.testing.assert_allclose(flat @ flat.T, np.eye(len(tensors)), atol=1e-12)


def test_scalar_vector_and_axial_products_of_vectors():
    group = site_point_group(cubic(4).cell)
    v = vector(group)
    (dot,) = clebsch_gordan(v, v, trivial(group))
    np.testing.assert_allclose(dot[0], np.eye(3) / 3**0.5)
    (cross,) = clebsch_gordan(v, v, axial(group))
    x, y = np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.5, 2.0])
    np.testing.assert_allclose(
        np.einsum("kij,i,j", cross, x, y) * 6**0.5, np.cross(x, y), atol=1e-12
    )
    assert len(clebsch_gordan(v, v, v)) == 0


def test_of_different_groups_is_refused():
    a, b = vector(site_point_group(square(4).cell)), vector(site_point_group(cubic(4).cell))
    with pytest.raises(ValueError, match="one group"):
        intertwiners(a, b)
    with pytest.raises(ValueError, match="one group"):
        clebsch_gordan(a, a, b)
    with pytest.raises(ValueError, match="one group"):
        clebsch_gordan(a, b, a)
