"""Laws that hold on every lattice, tried on random ones."""

from fractions import Fraction
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lattgnn.lattice import Lattice, bond_orbits, site_permutations, space_group

RANDOM = settings(deadline=None, max_examples=40, derandomize=True)
FRACTIONS = st.sampled_from([Fraction(n, q) for q in (1, 2, 3, 4, 5) for n in range(q)])


@st.composite
def cells(draw, dims=(1, 2, 3)):
    """Primitive vectors and basis of a small cell of any shape with up to three sites."""
    dim = draw(st.sampled_from(dims))
    entry = st.integers(-2, 2)
    rows = draw(
        st.lists(st.lists(entry, min_size=dim, max_size=dim), min_size=dim, max_size=dim).filter(
            lambda rows: abs(np.linalg.det(np.array(rows, float))) > 0.5
        )
    )
    stretch = draw(st.sampled_from([1.0, 1.5, 3**0.5 / 2, 1.2345678]))
    vectors = np.array(rows, float) * np.array([1.0, stretch, 1.0][:dim])
    sites = st.tuples(*[FRACTIONS] * dim)
    return vectors.tolist(), draw(st.lists(sites, min_size=1, max_size=3, unique=True))


def lattice_of(cell, *, periodic=True, extent=1):
    vectors, basis = cell
    return Lattice(vectors, basis, [extent] * len(vectors), periodic)


@given(cells())
@RANDOM
def test_operations_are_a_group_that_keeps_the_lattice(cell):
    lattice = lattice_of(cell)
    group = space_group(lattice.cell)
    gram = np.array(lattice.cell.gram)
    basis = [np.array(site) for site in lattice.basis]
    elements = set()
    for g in group.operations:
        r = np.array(g.rotation)
        assert (np.abs((r.T @ gram @ r - gram).astype(float)) <= 1e-9 * float(gram.max())).all()
        np.testing.assert_allclose(g.cartesian @ g.cartesian.T, np.eye(lattice.dim), atol=1e-8)
        assert sorted(g.sublattices) == list(range(lattice.n_sublattices))
        for site, image, shift in zip(basis, g.sublattices, g.shifts, strict=True):
            assert (r @ site + np.array(g.translation) == basis[image] + np.array(shift)).all()
        elements.add((g.rotation, g.translation))
    assert len(elements) == group.order
    for g, h in product(group.operations, repeat=2):
        rotation = np.array(g.rotation) @ np.array(h.rotation)
        translation = np.array(g.rotation) @ np.array(h.translation) + np.array(g.translation)
        product_ = (tuple(map(tuple, rotation.tolist())), tuple(t % 1 for t in translation))
        assert product_ in elements


@given(cells(), st.integers(0, 2))
@RANDOM
def test_site_group_fixes_the_site(cell, sublattice):
    lattice = lattice_of(cell)
    group = space_group(lattice.cell)
    sublattice %= lattice.n_sublattices
    members = group.site_group(sublattice)
    site = np.array(lattice.basis[sublattice])
    for g in members:
        assert (np.array(g.rotation) @ site + np.array(g.translation) == site).all()
    images = {g.sublattices[sublattice] for g in group.operations}
    assert len(members) * len(images) == group.order


@given(cells(), st.sampled_from([1.0, 1.5, 2.3]))
@RANDOM
def test_orbits_partition_the_bonds_and_reverse_in_pairs(cell, cutoff):
    lattice = lattice_of(cell)
    found = bond_orbits(lattice, cutoff)
    order = space_group(lattice.cell).order
    bonds = [bond for orbit in found.orbits for bond in orbit.bonds]
    assert len(set(bonds)) == len(bonds) == brute_force_bonds(lattice, cutoff)
    for orbit in found.orbits:
        reverse = found.orbits[orbit.reverse]
        assert reverse.reverse == orbit.index
        assert {(d, s, tuple(-n for n in o)) for s, d, o in orbit.bonds} == set(reverse.bonds)
        assert len(orbit.bonds) * orbit.stabilizer_order == order
        arriving = [sum(b[1] == s for b in orbit.bonds) for s in range(lattice.n_sublattices)]
        assert set(arriving) <= {0, orbit.multiplicity}
        assert arriving[orbit.destination_sublattice] == orbit.multiplicity
        lengths = {lattice.cell.squared_length(lattice.cell.separation(*b)) for b in orbit.bonds}
        assert np.ptp([float(x) for x in lengths]) <= 1e-12 * orbit.distance**2


def brute_force_bonds(lattice, cutoff):
    """Directed bonds of one cell, counted in floats over a generous range of cells."""
    vectors = np.array(lattice.primitive_vectors)
    reach = int(np.ceil(cutoff * np.linalg.norm(np.linalg.inv(vectors), axis=0).max())) + 2
    cells = np.array(list(product(range(-reach, reach + 1), repeat=lattice.dim)))
    basis = np.array(lattice.basis, float)
    count = 0
    for a, b in product(basis, repeat=2):
        lengths = np.linalg.norm((cells + b - a) @ vectors, axis=1)
        count += int(((lengths > 1e-9) & (lengths <= cutoff * (1 + 1e-9))).sum())
    return count


@given(cells(dims=(1, 2)), st.data())
@RANDOM
def test_operations_map_bonds_to_bonds_of_the_same_orbit(cell, data):
    periodic = data.draw(st.lists(st.booleans(), min_size=len(cell[0]), max_size=len(cell[0])))
    lattice = lattice_of(cell, periodic=periodic, extent=5)
    try:
        bonds = lattice.bonds(1.2)
    except ValueError:  # five cells along each axis are too few for a very skew cell
        return
    known = dict(
        zip(
            zip(bonds.source.tolist(), bonds.destination.tolist(), strict=True),
            bonds.orbit,
            strict=True,
        )
    )
    assert len(known) == len(bonds)
    for perm in site_permutations(lattice):
        moved = zip(perm[bonds.source].tolist(), perm[bonds.destination].tolist(), strict=True)
        assert [known[pair] for pair in moved] == bonds.orbit.tolist()
