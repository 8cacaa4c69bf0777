import numpy as np
import pytest

from lattgnn.analysis import (
    domain_length,
    radial_correlation,
    structure_factor,
    structure_factor_length,
    wavevectors,
)
from lattgnn.lattice import square


def gaussian_field(lattice, xi, n_replicas, seed=0):
    """Random field with C(r) = exp(−r²/2ξ²): white noise filtered by √S, S = 2πξ² exp(−k²ξ²/2)."""
    white = np.random.default_rng(seed).normal(size=(n_replicas, *lattice.extent))
    k = np.linalg.norm(wavevectors(lattice), axis=-1)
    amplitude = np.sqrt(2 * np.pi * xi**2) * np.exp(-((k * xi) ** 2) / 4)
    return np.fft.ifft2(np.fft.fft2(white) * amplitude).real.reshape(n_replicas, -1)


@pytest.mark.parametrize("xi", [2.0, 4.0])
def test_planted_correlation_length_comes_back(xi):
    lattice = square(96)
    field = gaussian_field(lattice, xi, n_replicas=40)
    r, values = radial_correlation(field, lattice)
    near = r < 2.5 * xi
    np.testing.assert_allclose(
        values.mean(0)[near], np.exp(-(r[near] ** 2) / (2 * xi**2)), atol=0.03
    )
    assert domain_length(r, values.mean(0)) == pytest.approx(xi * np.sqrt(2 * np.log(2)), rel=0.02)
    assert domain_length(r, values, fraction=float(np.exp(-0.5))).mean() == pytest.approx(
        xi, rel=0.02
    )
    structure = structure_factor(field, lattice).mean(0)
    assert structure_factor_length(structure, lattice) == pytest.approx(
        2 * xi * np.sqrt(2 * np.pi), rel=0.02
    )
    second = structure_factor_length(structure, lattice, moment=2)
    assert second == pytest.approx(xi * np.pi * np.sqrt(2), rel=0.02)


def test_crossing_is_interpolated_and_absent_crossing_is_nan():
    r = np.array([0.0, 1.0, 2.0])
    np.testing.assert_allclose(
        domain_length(r, np.array([[2.0, 1.2, 0.4], [1.0, 0.9, 0.8]])), [1.25, np.nan]
    )


def test_stripes():
    lattice = square(32)
    stripes = np.where(lattice.cells[:, 0] % 16 < 8, 1.0, -1.0)
    structure = structure_factor(stripes, lattice)
    assert 8.0 < structure_factor_length(structure, lattice) < 16.0, (
        "at most the period of 16 sites"
    )
    low_pass = structure_factor_length(structure, lattice, max_wavenumber=0.5)
    assert low_pass == pytest.approx(16.0)


def test_bad_fractions_and_moments_are_refused():
    with pytest.raises(ValueError, match="fraction"):
        domain_length(np.arange(3.0), np.ones((1, 3)), fraction=1.0)
    with pytest.raises(ValueError, match="moment"):
        structure_factor_length(np.ones((4, 4)), square(4), moment=3)
