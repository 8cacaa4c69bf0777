"""Labels of sites and bonds lower the symmetry to that of the labeled crystal."""

import pickle
from fractions import Fraction  # noqa: F401, the text of a lattice holds it

import numpy as np
import pytest

from lattgnn.lattice import (
    Lattice,
    bond_orbits,
    compatible_operations,
    site_permutations,
    space_group,
    square,
)
from lattgnn.lattice.labels import normal_bond_labels
from lattgnn.serialize import build, describe

UNIT = [[1.0, 0.0], [0.0, 1.0]]
CHECKERBOARD = [[1.0, 1.0], [1.0, -1.0]]
PLAQUETTE = [[0, 0], ["1/2", 0], [0, "1/2"], ["1/2", "1/2"]]
DIMERS = [[0, 3, [0, 0]], [1, 2, [1, -1]]]  # on every other plaquette, along alternate diagonals
BRICKS = [[0, 1, [0, 0]], [0, 1, [-1, -1]], [0, 1, [0, -1]]]  # right, left, and up from site 0


def staggered(extent=(4, 4), **options):
    """A square lattice whose sites have the labels of a checkerboard."""
    options = {"site_labels": ["A", "B"], **options}
    return Lattice(CHECKERBOARD, [[0, 0], ["1/2", "1/2"]], extent, **options)


def orthogonal_dimers(extent=(3, 3), **options):
    """The bonds of the Shastry–Sutherland lattice on sites of a square lattice."""
    vectors = [[2.0, 0.0], [0.0, 2.0]]
    return Lattice(vectors, PLAQUETTE, extent, bond_labels={"dimer": DIMERS}, **options)


def bricks(extent=(4, 4), **options):
    """The bonds of a brick wall on sites of a square lattice."""
    return staggered(extent, site_labels=None, bond_labels={"brick": BRICKS}, **options)


def alternating_chain(extent=5, **options):
    """A chain whose bonds are strong and weak in turn."""
    labels = {"strong": [[0, 1, [0]]], "weak": [[1, 0, [1]]]}
    return Lattice([[2.0]], [[0], ["1/2"]], extent, bond_labels=labels, **options)


LABELED = [staggered(), orthogonal_dimers(), bricks(), alternating_chain()]


@pytest.mark.parametrize(
    ("lattice", "order", "site_orders", "bare_order"),
    [
        # All operations about a site; the translation that exchanges the labels is no symmetry.
        (staggered(), 8, [8, 8], 16),
        # p4gm: rotations about the empty plaquettes, mirrors through the dimers, glides. A site
        # keeps the mirror along its dimer.
        (orthogonal_dimers(), 8, [2] * 4, 32),
        # c2mm: a site keeps the mirror along its vertical bond; rotations by 180° about the bonds.
        (bricks(), 4, [2, 2], 16),
        # Mirrors at the centers of both kinds of bonds, one modulo translations.
        (alternating_chain(), 2, [1, 1], 4),
        # Two labels in turn on a chain: mirrors at the sites, none at the bonds.
        (Lattice([[2]], [[0], ["1/2"]], 4, site_labels=[0, 1]), 2, [2, 2], 4),
        # One strong direction: rectangular symmetry although the positions are square.
        (Lattice(UNIT, [[0, 0]], (4, 4), bond_labels={"x": [[0, 0, [1, 0]]]}), 4, [4], 8),
        # Labels that are the same everywhere remove nothing.
        (Lattice(UNIT, [[0, 0]], (4, 4), site_labels=["A"]), 8, [8], 8),
    ],
)
def test_group_orders_are_those_of_the_labeled_crystal(lattice, order, site_orders, bare_order):
    group = space_group(lattice.cell)
    assert group.order == order
    assert [len(group.site_group(s)) for s in range(lattice.n_sublattices)] == site_orders
    bare = Lattice(lattice.primitive_vectors, lattice.basis, lattice.extent)
    assert space_group(bare.cell).order == bare_order


@pytest.mark.parametrize("lattice", LABELED)
def test_group_is_all_of_the_operations_that_keep_the_labels(lattice):
    """Found by trying every operation of the bare positions on every labeled site and bond."""
    cell = lattice.cell
    bare = Lattice(lattice.primitive_vectors, lattice.basis, lattice.extent).cell
    labels = {}
    for label, bonds in lattice.bond_labels.items():
        for source, destination, offset in bonds:
            labels[source, destination, offset] = label
            labels[destination, source, tuple(-n for n in offset)] = label
    kept = set()
    for g in space_group(bare).operations:
        keeps_bonds = {g.move_bond(*b): label for b, label in labels.items()} == labels
        species = cell.site_labels or ("",) * cell.n_sublattices
        if keeps_bonds and all(
            species[s] == species[g.sublattices[s]] for s in range(len(species))
        ):
            kept.add((g.rotation, g.translation))
    assert kept == {(g.rotation, g.translation) for g in space_group(cell).operations}


def test_orbits_of_the_shastry_sutherland_bonds():
    """Counted by hand: 1 dimer and 3 empty diagonals end at a site; square bonds are equivalent."""
    orbits = bond_orbits(orthogonal_dimers(), 1.5).orbits
    nearest = [o for o in orbits if o.squared_distance == 1]
    assert sum(o.multiplicity for o in nearest) == 4
    assert {o.label for o in nearest} == {""}
    diagonal = [o for o in orbits if o.squared_distance == 2]
    assert sorted((o.label, o.multiplicity) for o in diagonal if o.label) == [("dimer", 1)]
    assert sum(o.multiplicity for o in diagonal) == 4
    assert sum(o.multiplicity for o in bond_orbits(square(6), 1.5).orbits) == 8


def test_orbits_of_other_labeled_crystals():
    def found(lattice, cutoff):
        return sorted((o.label, o.multiplicity) for o in bond_orbits(lattice, cutoff).orbits)

    # A to B and B to A are two orbits; on the bare square lattice they are one.
    assert found(staggered(), 1.0) == [("", 4), ("", 4)]
    # Left and right bonds are mirror images, upward bonds are of their own orbit.
    assert found(bricks(), 1.0) == [("", 1), ("brick", 1), ("brick", 2)]
    assert found(alternating_chain(), 1.0) == [("strong", 1), ("weak", 1)]


@pytest.mark.parametrize("lattice", LABELED)
def test_no_orbit_has_bonds_of_two_labels(lattice):
    for orbit in bond_orbits(lattice, 2.3).orbits:
        assert {lattice.cell.bond_label.get(bond, "") for bond in orbit.bonds} == {orbit.label}


@pytest.mark.parametrize(
    "lattice",
    [
        *LABELED,
        staggered((4, 3), periodic=[True, False]),
        orthogonal_dimers((2, 3), periodic=False),
        bricks((3, 4), periodic=False),
    ],
)
def test_permutations_keep_labels_of_sites_and_bonds(lattice):
    bonds = lattice.bonds(1.5)
    labels = np.full((lattice.n_sites, lattice.n_sites), "", dtype="<U9")
    labels[bonds.source, bonds.destination] = bonds.label
    kinds = np.array(lattice.site_labels or [""] * lattice.n_sublattices)[lattice.sublattices]
    for permutation in site_permutations(lattice, translations=True):
        assert (kinds[permutation] == kinds).all()
        assert (labels[permutation][:, permutation] == labels).all()


def test_the_checkerboard_of_a_finite_lattice_has_half_of_the_translations():
    lattice, plain = staggered((4, 4)), Lattice(CHECKERBOARD, [[0, 0], ["1/2", "1/2"]], (4, 4))
    assert len(compatible_operations(lattice)) * 2 == len(compatible_operations(plain))


def test_bonds_with_a_label_are_reached_directly():
    lattice = orthogonal_dimers((2, 2))
    dimers = lattice.bonds(label="dimer")
    assert len(dimers) == lattice.n_sites and (dimers.label == "dimer").all()
    assert (np.bincount(dimers.destination) == 1).all()
    everything = lattice.bonds(1.5)
    chosen = everything.label == "dimer"
    assert {*zip(dimers.source, dimers.destination, strict=True)} == {
        *zip(everything.source[chosen], everything.destination[chosen], strict=True)
    }
    np.testing.assert_allclose(np.linalg.norm(dimers.displacement, axis=1), 2**0.5)
    assert (everything.label[~chosen] == "").all()


def test_sites_take_values_by_label():
    lattice = staggered((2, 2))
    signs = lattice.site_values({"A": 0.5, "B": -0.5})
    assert (signs == 0.5 * lattice.bipartite_signs).all()
    with pytest.raises(ValueError, match="one value for each label of the lattice"):
        lattice.site_values({"A": 1.0})
    with pytest.raises(ValueError, match="one value for each label of the lattice"):
        lattice.site_values({"A": 1.0, "B": 0.0, "C": 0.0})
    with pytest.raises(ValueError, match="one value for each label of the lattice"):
        square(4).site_values({"A": 1.0})


@pytest.mark.parametrize("lattice", LABELED)
def test_every_way_of_storing_gives_the_labels_back(lattice):
    for copy in (
        Lattice.from_dict(lattice.to_dict()),
        pickle.loads(pickle.dumps(lattice)),
        build(describe(lattice), Lattice),
        eval(repr(lattice)),
        lattice.with_extent(*lattice.extent),
    ):
        assert copy == lattice and hash(copy) == hash(lattice) and copy.name == lattice.name
        assert copy.site_labels == lattice.site_labels
        assert copy.bond_labels == lattice.bond_labels
    bare = Lattice(lattice.primitive_vectors, lattice.basis, lattice.extent)
    assert bare != lattice and describe(bare) != describe(lattice)


def test_descriptions_without_labels_are_those_from_before_labels():
    expected = ["primitive_vectors", "basis", "extent", "periodic", "name"]
    assert list(square(4).to_dict()) == list(describe(square(4))["init_args"]) == expected


def test_the_order_and_direction_of_bonds_do_not_matter():
    turned = [[d, s, [-n for n in offset]] for s, d, offset in reversed(DIMERS)]
    vectors = [[2.0, 0.0], [0.0, 2.0]]
    other = Lattice(vectors, PLAQUETTE, (3, 3), bond_labels={"dimer": turned + DIMERS})
    assert other == orthogonal_dimers()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"site_labels": ["A"]}, "one label for each of the 2 sites"),
        ({"site_labels": "AB"}, "one label for each of the 2 sites"),
        ({"site_labels": ["A", 0.5]}, "must be texts or integers"),
        ({"site_labels": ["A", ""]}, "must be texts or integers"),
        ({"bond_labels": {"b": [0, 1, [0, 0]]}}, "must be .source, destination, offset."),
        ({"bond_labels": {"b": [[0, 2, [0, 0]]]}}, "must be .source, destination, offset."),
        ({"bond_labels": {"b": [[0, 1, [0]]]}}, "must be .source, destination, offset."),
        ({"bond_labels": {"b": [[0, 1, [0.5, 0]]]}}, "must be .source, destination, offset."),
        ({"bond_labels": {"b": [[1, 1, [0, 0]]]}}, "must be .source, destination, offset."),
        ({"bond_labels": {"b": 3}}, "must be .source, destination, offset."),
        (
            {"bond_labels": {"a": [[0, 1, [0, 1]]], "b": [[1, 0, [0, -1]]]}},
            "a bond must have one label",
        ),
    ],
)
def test_wrong_labels_are_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        Lattice(CHECKERBOARD, [[0, 0], ["1/2", "1/2"]], (4, 4), **options)
    assert "\n" not in str(error.value)


def test_a_bare_list_of_bonds_is_refused():
    with pytest.raises(ValueError, match="bond_labels must be a mapping from labels to lists"):
        normal_bond_labels([[0, 1, [0, 0]]], n_sublattices=2, dim=2)


def test_bonds_need_a_cutoff_or_a_known_label():
    with pytest.raises(ValueError, match="either a cutoff or a label"):
        square(4).bonds()
    with pytest.raises(ValueError, match="either a cutoff or a label"):
        orthogonal_dimers().bonds(1.0, label="dimer")
    with pytest.raises(ValueError, match=r"one of the bond labels \['dimer'\], got 'rung'"):
        orthogonal_dimers().bonds(label="rung")


def test_random_labels_leave_exactly_what_brute_force_finds():
    """On a 2 × 2 cell of the square lattice, with random labels of sites and nearest bonds."""
    rng = np.random.default_rng(0)
    bare = Lattice([[2.0, 0.0], [0.0, 2.0]], PLAQUETTE, (4, 4))
    nearest = [bond for orbit in bond_orbits(bare, 1.0).orbits for bond in orbit.bonds]
    forward = [b for b in nearest if b < (b[1], b[0], tuple(-n for n in b[2]))]
    for _ in range(10):
        sites = rng.integers(0, 2, 4).tolist()
        labels = {}
        for bond in forward:
            labels.setdefault(int(rng.integers(0, 2)), []).append(bond)
        lattice = Lattice(
            bare.primitive_vectors, PLAQUETTE, (4, 4), site_labels=sites, bond_labels=labels
        )
        bonds = lattice.bonds(1.0)
        matrix = np.full((64, 64), "", dtype="<U1")
        matrix[bonds.source, bonds.destination] = bonds.label
        kinds = np.array(lattice.site_labels)[lattice.sublattices]
        expected = 0
        for permutation in site_permutations(bare):
            same = (kinds[permutation] == kinds).all()
            expected += same and (matrix[permutation][:, permutation] == matrix).all()
        assert space_group(lattice.cell).order == len(site_permutations(lattice)) == expected


def test_labels_leave_distances_and_shells_alone():
    """Labels split orbits, not shells: also where the length of a bond is irrational."""
    root3 = 3**0.5
    labels = {"x": [[0, 0, [1, 0]]], "y": [[0, 0, [0, 1]]]}
    for scale in (1.0, 3.905, 1e-9):
        vectors = scale * np.array([[1.0, 0.0], [0.5, root3 / 2]])
        lattice = Lattice(vectors, [[0, 0]], (6, 6), bond_labels=labels)
        assert [count for _, count in lattice.shells(4)] == [6, 6, 6, 12]
        nearest = bond_orbits(lattice, 1.1 * scale).orbits
        assert sorted((o.label, o.multiplicity) for o in nearest) == [("", 2), ("x", 2), ("y", 2)]
        assert len({o.squared_distance for o in nearest}) == 1
