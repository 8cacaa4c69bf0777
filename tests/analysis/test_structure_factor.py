import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattgnn.analysis import (
    checkerboard_wavevector,
    radial_average,
    structure_factor,
    wavevectors,
)
from lattgnn.lattice import chain, cubic, honeycomb, kagome, square, triangular


@pytest.mark.parametrize("lattice", [chain(8), square(6, 8), cubic(4)], ids=lambda x: x.name)
def test_checkerboard_has_one_peak_of_height_n(lattice):
    center = checkerboard_wavevector(lattice)
    structure = structure_factor(lattice.bipartite_signs, lattice)
    peak = np.unravel_index(structure.argmax(), structure.shape)
    assert structure[peak] == pytest.approx(lattice.n_sites)
    np.testing.assert_allclose(wavevectors(lattice, center)[peak], center)
    structure[peak] = 0.0
    assert structure.max() < 1e-20


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), extent=st.tuples(st.integers(2, 7), st.integers(2, 7)))
def test_parseval(seed, extent):
    for lattice in (
        square(*extent),
        triangular(*extent),
        square(extent=list(extent), periodic=False),
    ):
        field = np.random.default_rng(seed).normal(size=(2, lattice.n_sites))
        np.testing.assert_allclose(
            structure_factor(field, lattice).sum((-1, -2)), (field**2).sum(-1)
        )


@pytest.mark.parametrize(
    "lattice", [honeycomb(4, 5), kagome(3, 4), triangular(5, 4)], ids=lambda x: x.name
)
@pytest.mark.parametrize("center", [(0.0, 0.0), (4.0, 1.0)])
def test_equals_the_sum_over_sites(lattice, center):
    field = np.random.default_rng(3).normal(size=lattice.n_sites)
    q = wavevectors(lattice, center)
    direct = np.abs(np.exp(-1j * q @ lattice.positions.T) @ field) ** 2 / lattice.n_sites
    np.testing.assert_allclose(structure_factor(field, lattice, center), direct, atol=1e-10)


def test_zone_is_the_nearest_one():
    lattice = triangular(6)
    radius = np.linalg.norm(wavevectors(lattice), axis=-1).max()
    assert radius == pytest.approx(4 * np.pi / 3), (
        "the corner of the hexagonal zone is the farthest"
    )
    assert np.linalg.norm(
        wavevectors(square(8), (np.pi, np.pi)) - np.pi, axis=-1
    ).max() == pytest.approx(np.pi * np.sqrt(2))


def test_rings():
    lattice = square(16)
    k, values = radial_average(np.linalg.norm(wavevectors(lattice), axis=-1)[None], lattice)
    np.testing.assert_allclose(values[0], k)
    assert k[0] == 0.0 and (np.diff(k) > 0).all()


def test_colors_that_are_no_plane_wave_are_refused():
    with pytest.raises(ValueError, match="one site per unit cell"):
        checkerboard_wavevector(honeycomb(4))
