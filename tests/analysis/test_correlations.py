import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattgnn.analysis import (
    nearest_neighbor_correlation,
    pair_correlation,
    radial_correlation,
    relative_deviation,
)
from lattgnn.lattice import Lattice, chain, cubic, honeycomb, kagome, lieb, square, triangular


def brute_force(field, lattice, max_distance):
    """Average over all pairs of sites, by rounding distances to the nearest image."""
    vectors = np.asarray(lattice.primitive_vectors, dtype=float)
    separation = lattice.positions[None] - lattice.positions[:, None]
    distance = np.full(separation.shape[:2], np.inf)
    for shift in np.ndindex(*(5 if wraps else 1 for wraps in lattice.periodic)):
        steps = [(s - 2 if wraps else 0) for s, wraps in zip(shift, lattice.periodic, strict=True)]
        image = separation + (np.array(steps) * lattice.extent) @ vectors
        distance = np.minimum(distance, np.linalg.norm(image, axis=-1))
    distance = np.round(distance, 6)
    shells = np.unique(distance[distance <= max_distance + 1e-6])
    products = field[:, None] * field[None, :]
    return shells, np.array([products[distance == shell].mean() for shell in shells])


@pytest.mark.parametrize(
    "lattice",
    [
        chain(9),
        square(6, 5),
        triangular(6, 5),
        honeycomb(4),
        kagome(3, 4),
        lieb(4, 3),
        cubic(4),
        square(extent=[6, 5], periodic=False),
        kagome(extent=[4, 4], periodic=[True, False]),
        Lattice(((1.0, 0.0), (0.1234567, np.e)), ((0, 0),), (5, 4), (True, True), "oblique"),
    ],
    ids=lambda x: f"{x.name}-{x.periodic}",
)
def test_equals_the_sum_over_pairs(lattice):
    field = np.random.default_rng(1).normal(size=(2, lattice.n_sites))
    r, values = radial_correlation(field, lattice)
    for row, result in zip(field, values, strict=True):
        shells, expected = brute_force(row, lattice, r[-1])
        np.testing.assert_allclose(r, shells, atol=1e-6)
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_shells_are_those_of_the_lattice():
    lattice = triangular(12)
    r, _ = radial_correlation(np.ones(lattice.n_sites), lattice)
    np.testing.assert_allclose(r[1:6], [distance for distance, _ in lattice.shells(5)])


def test_open_boundaries_do_not_wrap():
    lattice = chain(extent=[8], periodic=False)
    field = np.zeros(8)
    field[0] = field[7] = 1.0  # the two ends: neighbors on a ring, strangers on a segment
    assert nearest_neighbor_correlation(field, lattice) == pytest.approx(0.0, abs=1e-15)
    assert nearest_neighbor_correlation(field, chain(8)) == pytest.approx(0.5)
    np.testing.assert_allclose(pair_correlation(np.ones(8), lattice), 1.0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), shift=st.tuples(st.integers(0, 5), st.integers(0, 6)))
def test_translation_changes_nothing(seed, shift):
    lattice = square(6, 7)
    field = np.random.default_rng(seed).normal(size=(6, 7))
    moved = np.roll(field, shift, axis=(0, 1)).ravel()
    np.testing.assert_allclose(
        radial_correlation(field.ravel(), lattice)[1],
        radial_correlation(moved, lattice)[1],
        atol=1e-13,
    )


def test_checkerboard_neighbors():
    lattice = square(8)
    assert nearest_neighbor_correlation(2.0 * lattice.bipartite_signs, lattice) == pytest.approx(
        -1.0
    )
    raw = nearest_neighbor_correlation(2.0 * lattice.bipartite_signs, lattice, normalized=False)
    assert raw == pytest.approx(-4.0)
    np.testing.assert_allclose(relative_deviation(np.full((3, 2), 1.01), np.ones((3, 2))), 0.01)
