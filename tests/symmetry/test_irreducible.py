import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattgnn.lattice import cubic
from lattgnn.symmetry import (
    PointGroup,
    axial,
    irreps,
    parse_representation,
    pseudoscalar,
    site_point_group,
    vector,
)
from lattgnn.symmetry import irreducible as irreducible_module
from lattgnn.symmetry.irreducible import irreducible_matrices

# Names of the irreps from the tables in C. J. Bradley and A. P. Cracknell, The Mathematical Theory
# of Symmetry in Solids (Oxford, 1972). Pairs of complex conjugate irreps are joined.
NAMES = {
    "C1": "A",
    "C2": "A B",
    "C3": "A E",
    "C4": "A B E",
    "C6": "A B E1 E2",
    "D1": "A' A''",
    "D2": "A1 A2 B1 B2",
    "D3": "A1 A2 E",
    "D4": "A1 A2 B1 B2 E",
    "D6": "A1 A2 B1 B2 E1 E2",
    "line C1": "A",
    "line D1": "Ag Au",
    "1": "A",
    "-1": "Ag Au",
    "2": "A B",
    "m": "A' A''",
    "2/m": "Ag Bg Au Bu",
    "222": "A B1 B2 B3",
    "mm2": "A1 A2 B1 B2",
    "mmm": "Ag B1g B2g B3g Au B1u B2u B3u",
    "4": "A B E",
    "-4": "A B E",
    "4/m": "Ag Bg Eg Au Bu Eu",
    "422": "A1 A2 B1 B2 E",
    "4mm": "A1 A2 B1 B2 E",
    "-42m": "A1 A2 B1 B2 E",
    "4/mmm": "A1g A2g B1g B2g Eg A1u A2u B1u B2u Eu",
    "3": "A E",
    "-3": "Ag Eg Au Eu",
    "32": "A1 A2 E",
    "3m": "A1 A2 E",
    "-3m": "A1g A2g Eg A1u A2u Eu",
    "6": "A B E1 E2",
    "-6": "A' E' A'' E''",
    "6/m": "Ag Bg E1g E2g Au Bu E1u E2u",
    "622": "A1 A2 B1 B2 E1 E2",
    "6mm": "A1 A2 B1 B2 E1 E2",
    "-6m2": "A1' A2' E' A1'' A2'' E''",
    "6/mmm": "A1g A2g B1g B2g E1g E2g A1u A2u B1u B2u E1u E2u",
    "23": "A E T",
    "m-3": "Ag Eg Tg Au Eu Tu",
    "432": "A1 A2 E T1 T2",
    "-43m": "A1 A2 E T1 T2",
    "m-3m": "A1g A2g Eg T1g T2g A1u A2u Eu T1u T2u",
}
# Irreps in a vector and in an axial vector. Character tables list them as x, y, z and Rx, Ry, Rz.
VECTORS = {
    "D1": ("A' + A''", "A''"),
    "D2": ("B1 + B2", "A2"),
    "D3": ("E", "A2"),
    "D4": ("E", "A2"),
    "C4": ("E", "A"),
    "D6": ("E1", "A2"),
    "line D1": ("Au", "Au"),
    "m": ("2 A' + A''", "A' + 2 A''"),
    "2": ("A + 2 B", "A + 2 B"),
    "222": ("B1 + B2 + B3", "B1 + B2 + B3"),
    "mm2": ("A1 + B1 + B2", "A2 + B1 + B2"),
    "mmm": ("B1u + B2u + B3u", "B1g + B2g + B3g"),
    "-4": ("B + E", "A + E"),
    "422": ("A2 + E", "A2 + E"),
    "4mm": ("A1 + E", "A2 + E"),
    "-42m": ("B2 + E", "A2 + E"),
    "4/mmm": ("A2u + Eu", "A2g + Eg"),
    "3m": ("A1 + E", "A2 + E"),
    "-3m": ("A2u + Eu", "A2g + Eg"),
    "-6": ("E' + A''", "A' + E''"),
    "-6m2": ("E' + A2''", "A2' + E''"),
    "6mm": ("A1 + E1", "A2 + E1"),
    "6/mmm": ("A2u + E1u", "A2g + E1g"),
    "23": ("T", "T"),
    "432": ("T1", "T1"),
    "-43m": ("T2", "T1"),
    "m-3m": ("T1u", "T1g"),
}

ROOT = 3**0.5 / 2


def test_schur_and_orthogonality_of_characters(group):
    found = irreps(group)
    assert sum(i.dim**2 // i.endomorphism_dim for i in found) == group.order
    assert len(found) == len(
        {frozenset(c) | frozenset(group.inverse[list(c)].tolist()) for c in group.classes}
    )
    characters = np.stack([i.character for i in found])
    expected = np.diag([i.endomorphism_dim for i in found])
    np.testing.assert_allclose(characters @ characters.T / group.order, expected, atol=1e-12)
    for c in group.classes:
        np.testing.assert_allclose(np.ptp(characters[:, list(c)], axis=1), 0, atol=1e-12)
    assert found[0].is_trivial and not any(i.is_trivial for i in found[1:])


def test_matrices_are_orthogonal_and_a_homomorphism(group):
    for irrep in irreps(group):
        rho = irrep.matrices
        identity = np.broadcast_to(np.eye(irrep.dim), rho.shape)
        np.testing.assert_allclose(rho @ rho.swapaxes(1, 2), identity, atol=1e-12)
        np.testing.assert_allclose(rho[:, None] @ rho, rho[group.table], atol=1e-12)
        assert not rho.flags.writeable


def test_names(named_group):
    name, group = named_group
    assert " ".join(i.name for i in irreps(group)) == NAMES[name]


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_in_terms_of_irreps(crystal, name):
    group = crystal(name)
    for representation, text in zip((vector(group), axial(group)), VECTORS[name], strict=True):
        assert representation.irreps() == parse_representation(text, group).irreps()


@pytest.mark.parametrize("name", ["D2", "D3", "D4", "D6"])
def test_even_and_odd_irreps_of_the_plane(crystal, name):
    group = crystal(name)
    x_mirror = group.index(np.diag([1.0, -1.0]))
    for irrep in irreps(group):
        if irrep.dim == 1:
            assert irrep.character[x_mirror] == (1 if irrep.name[1] == "1" else -1)
    assert irreps(group)[1] == pseudoscalar(group)


def test_orthorhombic_axes_are_counted_from_z(crystal):
    group = crystal("222")
    for name, axis in (("B1", 2), ("B2", 1), ("B3", 0)):
        signs = [-1.0, -1.0, -1.0]
        signs[axis] = 1.0
        assert parse_representation(name, group).character[group.index(np.diag(signs))] == 1


def test_basis_of_the_square_is_x_and_y(crystal):
    group = crystal("D4")
    np.testing.assert_array_equal(parse_representation("E", group).matrices, group.rotations)
    quarter, diagonal = group.index([[0, -1], [1, 0]]), group.index([[0, 1], [1, 0]])
    np.testing.assert_array_equal(
        parse_representation("E", group).matrices[quarter], [[0, -1], [1, 0]]
    )
    np.testing.assert_array_equal(
        parse_representation("B1", group).matrices[[quarter, diagonal]].ravel(), [-1, -1]
    )
    np.testing.assert_array_equal(
        parse_representation("B2", group).matrices[[quarter, diagonal]].ravel(), [-1, 1]
    )


def test_basis_of_the_hexagon_is_x_y_and_quadrupoles(crystal):
    group = crystal("D6")
    sixth, mirror = group.index([[0.5, -ROOT], [ROOT, 0.5]]), group.index([[1, 0], [0, -1]])
    e1, e2 = parse_representation("E1", group).matrices, parse_representation("E2", group).matrices
    np.testing.assert_array_equal(e1, group.rotations)
    # (x² − y², 2xy) turns by twice the angle.
    np.testing.assert_array_equal(e2[sixth], [[-0.5, -ROOT], [ROOT, -0.5]])
    np.testing.assert_array_equal(e2[mirror], [[1, 0], [0, -1]])
    twice = group.rotations[group.index(group.rotations[sixth] @ group.rotations[sixth])]
    np.testing.assert_array_equal(e2[sixth], twice)


@pytest.mark.parametrize("name", ["C3", "C4", "D3", "D4"])
def test_the_only_plane_irrep_is_the_vector(crystal, name):
    assert parse_representation("E", crystal(name)) == vector(crystal(name))


def test_basis_of_the_prism(crystal):
    """Doublets of a six-fold axis along z are those of the plane, with or without det R."""
    group, plane = crystal("6/mmm"), crystal("D6")
    flat = group.rotations[:, :2, :2]
    signs = group.determinants[:, None, None]
    np.testing.assert_array_equal(parse_representation("E1u", group).matrices, flat)
    np.testing.assert_array_equal(parse_representation("E1g", group).matrices, signs * flat)
    quadrupole = parse_representation("E2", plane).matrices[[plane.index(r) for r in flat]]
    np.testing.assert_array_equal(parse_representation("E2g", group).matrices, quadrupole)
    np.testing.assert_array_equal(parse_representation("E2u", group).matrices, signs * quadrupole)


def test_basis_of_the_cube():
    group = site_point_group(cubic(4).cell)
    assert parse_representation("T1u", group) == vector(group) and parse_representation(
        "T1g", group
    ) == axial(group)
    third = group.index([[0, 0, 1], [1, 0, 0], [0, 1, 0]])  # x → y → z → x
    # (xy, xz, yz) → (yz, xy, xz), and (2x² − y² − z², y² − z²) by 120° in its plane
    np.testing.assert_array_equal(
        parse_representation("T2g", group).matrices[third], [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    )
    np.testing.assert_array_equal(
        parse_representation("Eg", group).matrices[third], [[-0.5, -ROOT], [ROOT, -0.5]]
    )


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_basis_does_not_depend_on_the_order_of_operations(seed):
    group = site_point_group(cubic(4).cell)
    order = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(group.order - 1)])
    shuffled = PointGroup.from_rotations(group.rotations[order])
    for (name, rho), (other, sigma) in zip(
        irreducible_matrices(group), irreducible_matrices(shuffled), strict=True
    ):
        assert name == other
        np.testing.assert_allclose(rho[order], sigma, atol=1e-14)


def test_basis_does_not_depend_on_linear_algebra(group, monkeypatch):
    """An eigensolver may return any sign, order or mixture of equal eigenvalues."""
    expected = irreducible_matrices(group)
    generator = np.random.default_rng(0)

    def eigh(matrix):
        values, vectors = solver(matrix)
        start = 0
        for stop in range(1, len(values) + 1):
            if stop == len(values) or values[stop] - values[stop - 1] > 1e-9:
                mixture, _ = np.linalg.qr(generator.normal(size=(stop - start, stop - start)))
                vectors[:, start:stop] = vectors[:, start:stop] @ mixture
                start = stop
        return values + 1e-15 * generator.normal(size=len(values)), vectors

    solver = np.linalg.eigh
    monkeypatch.setattr(irreducible_module.np.linalg, "eigh", eigh)
    again = irreducible_matrices.__wrapped__(group)
    for (name, rho), (other, sigma) in zip(expected, again, strict=True):
        assert name == other
        np.testing.assert_allclose(rho, sigma, atol=1e-14)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.dot(q, q) > 0.1))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_names_and_matrices_of_a_turned_cube(quaternion):
    a, b, c, d = np.array(quaternion) / np.linalg.norm(quaternion)
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d],
        ]
    )
    group = site_point_group(cubic(4).cell)
    turned = PointGroup.from_rotations(turn @ group.rotations @ turn.T)
    for irrep, other in zip(irreps(group), irreps(turned), strict=True):
        assert irrep.name == other.name
        np.testing.assert_allclose(irrep.character, other.character, atol=1e-9)


def test_groups_of_no_crystal():
    angle = 2 * np.pi / 5
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    powers = [np.linalg.matrix_power(turn, n) for n in range(5)]
    mirror = np.diag([1.0, -1.0])
    pentagon = PointGroup.from_rotations([*powers, *(p @ mirror for p in powers)])
    assert [i.name for i in irreps(pentagon)] == ["A1", "A2", "E1", "E2"]
    golden = (1 + 5**0.5) / 2
    five = 0.5 * np.array(
        [[1, -golden, golden - 1], [golden, golden - 1, -1], [golden - 1, 1, golden]]
    )
    three = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    icosahedron = [np.eye(3)]
    for element in icosahedron:  # the list grows during the loop
        for generator in (five, three):
            product = element @ generator
            if min(np.abs(product - other).max() for other in icosahedron) > 1e-9:
                icosahedron.append(product)
    group = PointGroup.from_rotations(icosahedron)
    assert group.order == 60
    assert [(i.name, i.dim) for i in irreps(group)] == [
        ("A", 1),
        ("T1", 3),
        ("T2", 3),
        ("G", 4),
        ("H", 5),
    ]
    assert parse_representation("T1", group) == vector(group)


@pytest.mark.parametrize("name", [n for n in NAMES if n[0] not in "CDl"])
def test_characters_agree_with_spgrep(integer_rotations, crystal, name):
    spgrep = pytest.importorskip("spgrep")
    group = crystal(name)
    theirs = spgrep.get_crystallographic_pointgroup_irreps_from_symmetry(
        integer_rotations(name), real=True
    )
    # Our group has the identity first and keeps the order of the others.
    first = int((integer_rotations(name) == np.eye(3)).all((1, 2)).argmax())
    order = [first, *(k for k in range(group.order) if k != first)]
    rows = {tuple(np.round(np.trace(m, axis1=1, axis2=2).real[order], 6) + 0.0) for m in theirs}
    assert rows == {tuple(i.character.round(6) + 0.0) for i in irreps(group)}
