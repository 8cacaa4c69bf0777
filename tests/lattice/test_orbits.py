import time
from itertools import product

import numpy as np
import pytest

from lattgnn.lattice import (
    Lattice,
    bond_orbits,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    site_permutations,
    square,
    triangular,
)

# Cutoff in units of the length of a primitive vector, number of shells, number of orbits. The
# numbers were counted independently of this code.
COUNTS = {
    square: (3.3, 7, 7),
    triangular: (3.3, 5, 5),
    honeycomb: (3.3, 14, 16),
    kagome: (3.3, 18, 32),
    lieb: (3.3, 21, 47),
    cubic: (1.9, 3, 3),
}
PIECES = [
    chain(7),
    chain(7, periodic=False),
    square(6, 5),
    square(6, 5, periodic=[True, False]),
    square(2, 2, periodic=False),
    triangular(5, 6),
    honeycomb(4, 3, periodic=[False, True]),
    kagome(3, 4),
    lieb(3, 3, periodic=False),
    cubic(5, 5, 2, periodic=[True, True, False]),
]


def brute_force(lattice, cutoff):
    """All bonds (source, destination, vector) of the finite lattice, image by image."""
    box = np.array(lattice.extent)[:, None] * np.array(lattice.primitive_vectors)
    images = product(*[range(-3, 4) if p else (0,) for p in lattice.periodic])
    found = []
    for image in images:
        step = lattice.positions[None] + np.array(image) @ box - lattice.positions[:, None]
        near = np.linalg.norm(step, axis=2)
        for i, j in zip(*np.nonzero((near > 1e-9) & (near <= cutoff + 1e-9)), strict=True):
            found.append((int(i), int(j), *step[i, j].round(9)))
    return found


@pytest.mark.parametrize("named", COUNTS)
def test_numbers_of_orbits(named):
    cutoff, shells, orbits = COUNTS[named]
    lattice = named(4)
    found = bond_orbits(lattice, cutoff * float(np.linalg.norm(lattice.primitive_vectors[0])))
    assert len(found) == orbits
    assert len({orbit.squared_distance for orbit in found.orbits}) == shells


def test_distance_alone_would_merge_bonds_of_the_kagome_lattice():
    first, second = (o for o in bond_orbits(kagome(4), 2.0).orbits if o.distance == 2.0)
    # Along a chain, and across a hexagon.
    assert (first.multiplicity, second.multiplicity) == (4, 2)


def test_direction_is_part_of_an_orbit():
    into_corner, into_edge = (bond_orbits(lieb(4), 1.0).orbits[i] for i in (1, 0))
    assert (into_corner.multiplicity, into_edge.multiplicity) == (4, 2)
    assert into_corner.reverse == into_edge.index and into_edge.reverse == into_corner.index


def test_square_lattice_in_full():
    rows = [
        (o.index, o.offset, o.displacement, o.multiplicity, o.stabilizer_order, o.reverse)
        for o in bond_orbits(square(8), 2.3).orbits
    ]
    assert rows == [
        (0, (1, 0), (1.0, 0.0), 4, 2, 0),
        (1, (1, 1), (1.0, 1.0), 4, 2, 1),
        (2, (2, 0), (2.0, 0.0), 4, 2, 2),
        (3, (2, 1), (2.0, 1.0), 8, 1, 3),
    ]


@pytest.mark.parametrize("named", [honeycomb, kagome, lieb, cubic])
def test_numbering_ignores_extent_boundary_and_cutoff(named):
    short = bond_orbits(named(4), 2.1).orbits
    other = bond_orbits(named(7, periodic=False), 2.1).orbits
    longer = bond_orbits(named(4), 3.2).orbits
    assert short == other == longer[: len(short)]
    assert len(longer) > len(short)


def test_irrational_lengths_do_not_split_a_shell():
    a = 1.2345678901
    vectors = [[a, 0.0], [a / 2, a * 3**0.5 / 2]]
    found = bond_orbits(Lattice(vectors, [[0, 0], ["1/3", "1/3"]], [8, 8]), 3.3 * a)
    assert len(found) == 16
    assert len({o.squared_distance for o in found.orbits}) == 14


def test_close_shells_stay_apart():
    found = bond_orbits(Lattice([[1.0, 0.0], [0.0, 1.0 + 1e-7]], [[0, 0]], [4, 4]), 1.1)
    assert [o.multiplicity for o in found.orbits] == [2, 2]
    assert found.orbits[0].squared_distance < found.orbits[1].squared_distance


def test_cutoff_includes_a_shell_given_by_its_rounded_length():
    assert len(bond_orbits(square(8), 2**0.5)) == 2
    assert len(bond_orbits(square(8), 5**0.5)) == 4
    assert len(bond_orbits(square(8), 1.4142)) == 1
    assert len(bond_orbits(square(8), 0.5)) == 0


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_cutoffs_are_refused(cutoff):
    with pytest.raises(ValueError, match="cutoff must be positive and finite"):
        bond_orbits(square(8), cutoff)


@pytest.mark.parametrize("lattice", PIECES, ids=lambda p: f"{p.name}{p.extent}{p.periodic}")
@pytest.mark.parametrize("cutoff", [1.0, 1.5])
def test_finite_bonds_are_those_of_brute_force(lattice, cutoff):
    bonds = lattice.bonds(cutoff)
    rows = zip(
        bonds.source.tolist(), bonds.destination.tolist(), bonds.displacement.round(9), strict=True
    )
    assert sorted((i, j, *d) for i, j, d in rows) == sorted(brute_force(lattice, cutoff))
    key = list(zip(bonds.destination, bonds.orbit, bonds.source, strict=True))
    assert key == sorted(key)
    table = bond_orbits(lattice, cutoff).orbits
    np.testing.assert_allclose(
        np.linalg.norm(bonds.displacement, axis=1), [table[o].distance for o in bonds.orbit]
    )
    assert bonds.source.dtype == bonds.destination.dtype == bonds.orbit.dtype == np.int64


@pytest.mark.parametrize(
    "lattice", [kagome(4), honeycomb(4), lieb(4, periodic=False), square(6, 8)]
)
def test_every_site_receives_the_multiplicity(lattice):
    found = bond_orbits(lattice, 2.1)
    bonds = found.edges()
    for orbit in found.orbits:
        arrived = np.bincount(
            bonds.destination[bonds.orbit == orbit.index], minlength=lattice.n_sites
        )
        if all(lattice.periodic):
            assert set(arrived) <= {0, orbit.multiplicity}
        assert arrived.max() == orbit.multiplicity


def test_site_permutations_keep_orbits():
    lattice = kagome(4)
    bonds = lattice.bonds(3.0)
    table = np.full((lattice.n_sites,) * 2, -1)
    table[bonds.source, bonds.destination] = bonds.orbit
    for perm in site_permutations(lattice, translations=True)[::7]:
        assert (table[perm[bonds.source], perm[bonds.destination]] == bonds.orbit).all()


@pytest.mark.parametrize(
    ("lattice", "cutoff", "smallest"),
    [
        (square(2), 1.0, "(3, 3)"),
        (chain(1), 1.0, "(3,)"),
        (square(4, 24), 2.3, "(5, 24)"),
        (square(4), 2.3, "(5, 5)"),
        (square(2, 9, periodic=[False, True]), 1.5, None),
        (square(9, 2, periodic=[False, True]), 1.5, "(9, 3)"),
        (honeycomb(2), 1.0, None),
        (honeycomb(1), 1.0, "(1, 2)"),
        (honeycomb(2), 1.8, "(3, 3)"),
        (kagome(1), 1.0, "(1, 2)"),
        (kagome(2), 2.0, "(3, 3)"),
        (cubic(3, 2, 3), 1.0, "(3, 3, 3)"),
        (square(2, periodic=False), 5.0, None),
    ],
)
def test_smallest_extent_is_computed(lattice, cutoff, smallest):
    def works(piece):
        pairs = [bond[:2] for bond in brute_force(piece, cutoff)]
        return len(set(pairs)) == len(pairs) and all(i != j for i, j in pairs)

    if smallest is None:
        assert works(lattice)
        lattice.bonds(cutoff)
        return
    with pytest.raises(ValueError, match="meets its own periodic image") as error:
        lattice.bonds(cutoff)
    message = str(error.value)
    assert "\n" not in message
    named = eval(message.split(" Use ")[1].split(")")[0] + ")")
    fits = [
        extent
        for extent in product(
            *[range(n, max(n, m) + 1) for n, m in zip(lattice.extent, named, strict=True)]
        )
        if works(lattice.with_extent(*extent))
    ]
    assert named in fits
    assert min(np.prod(e) for e in fits) == np.prod(named)
    lattice.with_extent(*named).bonds(cutoff)


def test_many_sites_take_no_time():
    start = time.process_time()
    assert len(square(256).bonds(2.3)) == 20 * 256**2
    assert time.process_time() - start < 5  # about 0.1 s on an idle core
