import json
from pathlib import Path

import numpy as np
import pytest

from lattgnn.lattice import chain, cubic, honeycomb, kagome, lieb, square, triangular

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
