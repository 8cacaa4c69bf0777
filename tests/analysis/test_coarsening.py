import numpy as np
import pytest

from lattgnn.analysis import (
    domain_length,
    growth_exponent,
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


def planted(exponent, n_replicas, seed, noise=0.05):
    times = np.geomspace(1, 1000, 40)
    rng = np.random.default_rng(seed)
    slopes = exponent + noise * rng.normal(size=n_replicas)
    lengths = 1.3 * times[:, None] ** slopes * np.exp(0.02 * rng.normal(size=(40, n_replicas)))
    return times, lengths


def test_planted_exponent_comes_back():
    times, lengths = planted(0.5, n_replicas=8, seed=0, noise=0.02)
    fit = growth_exponent(times, lengths, window=(10.0, 1000.0))
    assert fit.interval[0] < 0.5 < fit.interval[1]
    assert fit.interval[1] - fit.interval[0] < 0.06
    np.testing.assert_allclose(fit(times)[-1], lengths.mean(1)[-1], rtol=0.05)
    assert fit.window[0] >= 10.0 and fit.n_replicas == 8


def test_interval_covers_as_often_as_it_says():
    fits = [
        growth_exponent(*planted(0.4, 5, seed), window=(1.0, 1000.0), n_resamples=200)
        for seed in range(200)
    ]
    covered = np.mean([fit.interval[0] < 0.4 < fit.interval[1] for fit in fits])
    assert 0.90 <= covered <= 0.99


def test_one_replica_has_no_interval_and_bad_windows_are_refused():
    times, lengths = planted(0.5, 1, seed=2)
    assert np.isnan(growth_exponent(times, lengths, window=(1.0, 1000.0)).interval).all()
    with pytest.raises(ValueError, match="at least 3 frames"):
        growth_exponent(times, lengths, window=(1.0, 1.1))
    lengths[-1] = np.nan
    with pytest.raises(ValueError, match="single domain"):
        growth_exponent(times, lengths, window=(1.0, 1000.0))
    with pytest.raises(ValueError, match="fraction"):
        domain_length(times, lengths.T, fraction=1.0)
    with pytest.raises(ValueError, match="moment"):
        structure_factor_length(np.ones((4, 4)), square(4), moment=3)
