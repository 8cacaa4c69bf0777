import json
from pathlib import Path

import numpy as np
import pytest

from lattgnn.lattice import (
    brick_wall,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    square,
    staggered_square,
    triangular,
)

NAMED = [chain, square, triangular, honeycomb, kagome, lieb, cubic]
SHELLS = json.loads((Path(__file__).parents[1] / "golden" / "shells.json").read_text())["shells"]
# Cartesian primitive vectors and sites, as the independent reference program has them.
GEOMETRY = {
    "chain": ([[1.0]], [[0.0]]),
    "square": ([[1, 0], [0, 1]], [[0, 0]]),
    "triangular": ([[1, 0], [0.5, 3**0.5 / 2]], [[0, 0]]),
    "honeycomb": ([[1.5, 3**0.5 / 2], [1.5, -(3**0.5) / 2]], [[0, 0], [1, 0]]),
    "kagome": ([[2, 0], [1, 3**0.5]], [[0, 0], [1, 0], [0.5, 3**0.5 / 2]]),
    "lieb": ([[2, 0], [0, 2]], [[0, 0], [1, 0], [0, 1]]),
    "cubic": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 0]]),
}


@pytest.mark.parametrize("named", NAMED)
def test_shells_are_the_golden_ones(named):
    lattice = named(4)
    for sublattice, expected in enumerate(SHELLS[lattice.name]):
        shells = lattice.shells(len(expected), sublattice)
        assert [count for _, count in shells] == [count for _, count in expected]
        np.testing.assert_allclose([d for d, _ in shells], [d for d, _ in expected], atol=1e-6)


@pytest.mark.parametrize("named", NAMED)
def test_geometry_is_that_of_the_reference(named):
    lattice = named(2)
    vectors, sites = GEOMETRY[lattice.name]
    np.testing.assert_allclose(lattice.primitive_vectors, vectors, atol=1e-15)
    np.testing.assert_allclose(lattice.positions[: lattice.n_sublattices], sites, atol=1e-15)
    assert lattice.neighbor_distance == 1


def test_ways_of_giving_the_extent():
    assert square(6) == square(6, 6) == square(extent=[6, 6]) == square(extent=(6,))
    assert cubic(2, 3, 4).extent == (2, 3, 4)
    assert square(4, 5, periodic=[True, False]).periodic == (True, False)


@pytest.mark.parametrize("make", [lambda: square(), lambda: square(4, extent=[4, 4])])
def test_the_extent_is_given_once(make):
    with pytest.raises(ValueError, match=r"Use square\(8, 8\)"):
        make()


def test_too_many_numbers_are_refused():
    with pytest.raises(ValueError, match="extent must be 2 positive integers"):
        square(4, 4, 4)


@pytest.mark.parametrize("named", [staggered_square, brick_wall, shastry_sutherland])
def test_labeled_lattices_have_the_sites_of_a_square_lattice(named):
    lattice = named(3)
    np.testing.assert_allclose(lattice.positions, lattice.positions.round(), atol=1e-12)
    volume = abs(np.linalg.det(np.array(lattice.primitive_vectors)))
    assert volume == pytest.approx(lattice.n_sublattices)
    assert lattice.shells(3) == square(6).shells(3)
    with pytest.raises(ValueError, match=rf"Use {named.__name__}\(8, 8\)"):
        named()


def test_staggered_labels_alternate_between_neighbors():
    lattice = staggered_square(4)
    assert (lattice.site_values({"A": 1, "B": -1}) == lattice.bipartite_signs).all()


def test_bonds_of_a_brick_wall_form_hexagons():
    """Three bonds end at each site, and the shortest loops have six bonds, as on the honeycomb."""
    lattice = brick_wall(6)
    bonds = lattice.bonds(label="brick")
    adjacency = np.zeros((lattice.n_sites, lattice.n_sites), dtype=int)
    adjacency[bonds.destination, bonds.source] = 1
    assert (adjacency.sum(1) == 3).all() and (adjacency == adjacency.T).all()
    other = honeycomb(6).bonds(1.0)
    hexagons = np.zeros_like(adjacency)
    hexagons[other.destination, other.source] = 1
    for power in (2, 4, 6):
        walks = [np.diag(np.linalg.matrix_power(m, power)) for m in (adjacency, hexagons)]
        assert (walks[0] == walks[1][0]).all()


def test_dimers_of_the_shastry_sutherland_lattice_are_orthogonal_and_bridge_plaquettes():
    lattice = shastry_sutherland(3)
    dimers, squares = lattice.bonds(label="dimer"), lattice.bonds(label="square")
    assert (np.bincount(dimers.destination) == 1).all()
    assert (np.bincount(squares.destination) == 4).all()
    np.testing.assert_allclose(np.abs(dimers.displacement), 1.0)
    np.testing.assert_allclose(np.linalg.norm(squares.displacement, axis=1), 1.0)
    slope = np.zeros(lattice.n_sites)
    slope[dimers.destination] = dimers.displacement.prod(1)
    # Every neighbor of a dimer belongs to a dimer along the other diagonal: they are orthogonal.
    assert (slope[squares.destination] == -slope[squares.source]).all()
    # Both ends of a dimer share the two neighbors at the other corners of its plaquette.
    neighbors = np.zeros((lattice.n_sites, lattice.n_sites), dtype=int)
    neighbors[squares.destination, squares.source] = 1
    shared = (neighbors[dimers.destination] * neighbors[dimers.source]).sum(1)
    assert (shared == 2).all()
