"""Kinetic temperature, its sampling error, and when it is that of the bath."""

import numpy as np

from lattgnn.analysis import kinetic_temperature, thermalization


def test_components_have_their_own_masses():
    rng = np.random.default_rng(0)
    mass = np.array([1.0, 4.0])
    momentum = rng.normal(size=(2, 3, 20_000)) * np.sqrt(0.3 * mass)[:, None, None]
    found = kinetic_temperature(momentum, mass.tolist())
    assert found.shape == (3, 2)
    np.testing.assert_allclose(found, 0.3, rtol=0.03)


def test_the_sampling_error_is_that_of_gaussian_momenta():
    rng = np.random.default_rng(1)
    momentum = rng.normal(size=(1, 400, 100)) * 0.5**0.5
    values = kinetic_temperature(momentum, 1.0)[None]
    many = thermalization(np.ones(1), values, n_sites=100)
    np.testing.assert_allclose(values.std() / 20, many.sampling_error[0, 0], rtol=0.1)
    np.testing.assert_allclose(many.error, values.std(ddof=1) / 20, rtol=1e-9)


def test_thermalized_means_to_the_end():
    """The first crossing of the bath temperature does not count if T moves away again."""
    times = np.arange(6.0)
    values = np.array([1.0, 0.1, 0.3, 0.1, 0.101, 0.1])[:, None, None]
    bath = np.full((6, 1), 0.1)
    assert thermalization(times, values, 10**6, bath).time == 3.0
    assert np.isnan(thermalization(times, values[::-1], 10**6, bath).time)
    assert np.isnan(thermalization(times, values, 10**6).time)


def test_one_frame_says_nothing_about_thermalization():
    temperature, bath = np.full((2, 3, 1), 0.1), np.full((2, 1), 0.1)
    assert thermalization(np.arange(2.0), temperature, 100, bath).time == 0
    assert np.isnan(thermalization(np.zeros(1), temperature[:1], 100, bath[:1]).time)
