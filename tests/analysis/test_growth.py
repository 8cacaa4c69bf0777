"""Exponents and local slopes of planted power laws."""

import numpy as np
import pytest

from lattgnn.analysis import growth_exponent, local_slope
from lattgnn.analysis.log_fits import jackknife_error


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
    assert fit.interval[1] - fit.interval[0] < 0.08
    np.testing.assert_allclose(fit(times)[-1], lengths.mean(1)[-1], rtol=0.05)
    assert fit.window[0] >= 10.0 and fit.n_replicas == 8


def test_interval_covers_as_often_as_it_says():
    fits = [growth_exponent(*planted(0.4, 5, seed), window=(1.0, 1000.0)) for seed in range(200)]
    covered = np.mean([fit.interval[0] < 0.4 < fit.interval[1] for fit in fits])
    assert 0.90 <= covered <= 0.99


def test_the_schedule_of_the_frames_does_not_matter():
    """A bent curve, sampled evenly in t and evenly in ln t: every decade has the same weight."""

    def curve(t):
        return np.outer(t**0.5 / (1 + t) ** 0.2, [1.0, 1.0, 1.0])

    even, logarithmic = np.linspace(1, 1000, 4000), np.geomspace(1, 1000, 400)
    one, other = (growth_exponent(t, curve(t), (1, 1000)) for t in (even, logarithmic))
    assert one.exponent == pytest.approx(other.exponent, abs=2e-3)
    assert one.drift == pytest.approx(other.drift, abs=5e-3)


def test_a_bend_widens_the_interval():
    """Slope 0.5 that turns into 0.25 in the middle: halves differ, and the interval spans them."""
    times = np.geomspace(1, 1000, 60)
    curve = np.where(times < 31.6, times**0.5, 31.6**0.25 * times**0.25)
    fit = growth_exponent(times, np.outer(curve, [0.99, 1.0, 1.01]), (1, 1000))
    assert fit.sensitivity["early half"] == pytest.approx(0.5, abs=0.01)
    assert fit.sensitivity["late half"] == pytest.approx(0.25, abs=0.01)
    assert fit.statistical_error < 1e-6 < fit.window_error
    assert fit.interval[0] < 0.25 and fit.interval[1] > 0.5 and fit.drift < -0.2


def test_local_slope_is_the_derivative():
    """L = t^0.5 (1 + t)^-0.3 has the slope 0.5 − 0.3 t / (1 + t)."""
    times = np.geomspace(0.01, 100, 161)
    lengths = np.outer(times**0.5 / (1 + times) ** 0.3, [1.0, 1.0, 1.0])
    curve = local_slope(times, lengths)
    expected = 0.5 - 0.3 * curve.times / (1 + curve.times)
    np.testing.assert_allclose(curve.slope, expected, atol=2e-3)
    assert curve.times[0] > 0.01 * 10**0.24 and curve.times[-1] < 100 / 10**0.24
    assert local_slope(times[:3], lengths[:3]).slope.shape == (0,)


def test_local_slope_has_an_interval():
    rng = np.random.default_rng(1)
    times = np.geomspace(1, 100, 41)
    inside = []
    for _ in range(100):
        lengths = times[:, None] ** 0.4 * np.exp(0.03 * rng.normal(size=(41, 5)))
        curve = local_slope(times, lengths)
        inside.append(np.abs(curve.slope - 0.4) < curve.error)
    assert 0.92 <= np.mean(inside) <= 0.98
    assert np.isnan(local_slope(times, times[:, None]).error).all()


def test_jackknife_error_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(2).normal(size=7)
    without = (values.sum() - values) / 6
    samples = np.concatenate([[values.mean()], without])
    assert jackknife_error(samples) == pytest.approx(values.std(ddof=1) / np.sqrt(7))


def test_one_replica_has_no_interval_and_bad_windows_are_refused():
    times, lengths = planted(0.5, 1, seed=2)
    assert np.isnan(growth_exponent(times, lengths, window=(1.0, 1000.0)).interval).all()
    with pytest.raises(ValueError, match="at least 3 frames"):
        growth_exponent(times, lengths, window=(1.0, 1.1))
    lengths[-1] = np.nan
    with pytest.raises(ValueError, match="single domain"):
        growth_exponent(times, lengths, window=(1.0, 1000.0))
