import numpy as np
import pytest
from numpy.polynomial import chebyshev

from lattgnn.solvers.chebyshev.expansion import (
    Interval,
    converged_order,
    damping_factors,
    series,
)

INTERVAL = Interval(-1.5, 4.0)
X = np.linspace(-1, 1, 2001)
E = INTERVAL.center + INTERVAL.half_width * X


def fermi(mu, kT):
    return 0.5 * (1 - np.tanh((E - mu) / (2 * kT))) if kT else np.where(E < mu, 1.0, 0.0)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-10])
@pytest.mark.parametrize("kT", [0.5, 0.05, 0.01])
def test_the_order_of_a_tolerance_is_the_smallest_one(kT, tolerance):
    order = converged_order(kT, INTERVAL.half_width, tolerance)

    def error(n):
        return max(
            np.abs(
                chebyshev.chebval(X, series(mu, kT, INTERVAL, n).occupation) - fermi(mu, kT)
            ).max()
            for mu in (-1.5, 0.3, 2.0)
        )

    assert error(order) < 1.1 * tolerance < 3 * error(max(order - 4, 2))


@pytest.mark.parametrize("kT", [0.2, 0.03])
def test_the_potential_of_a_level(kT):
    for mu in (-9.0, -1.7, 0.4, 6.0):
        found = series(mu, kT, INTERVAL, converged_order(kT, 4.0, 1e-11))
        exact = -kT * np.logaddexp(0, (mu - E) / kT)
        np.testing.assert_allclose(chebyshev.chebval(X, found.potential), exact, atol=1e-10)


@pytest.mark.parametrize("kT", [0.3, 0.01, 1e-5, 0.0])
def test_the_occupation_is_the_derivative_of_the_potential_term_by_term(kT):
    """Damped or not, so that forces at fixed filling are derivatives too."""
    h, mu = 1e-5, 0.37
    up, down = (series(mu + sign * h, kT, INTERVAL, 60).potential for sign in (1, -1))
    np.testing.assert_allclose(
        series(mu, kT, INTERVAL, 60).occupation, -(up - down) / (2 * h), atol=1e-7
    )


def test_zero_temperature_is_the_limit():
    for mu in (-8.0, -5.3, -1.0, 2.3, 3.0):
        cold, warm = (series(mu, kT, INTERVAL, 200) for kT in (0.0, 0.0003))
        for limit, found in zip(cold, warm, strict=True):
            np.testing.assert_allclose(limit, found, atol=2e-5)


def test_a_kernel_only_where_it_helps():
    """None where the series converges; at kT = 0, occupations stay between 0 and 1."""
    assert np.all(damping_factors(0.01, converged_order(0.01, 1.0, 1e-4)) == 1)
    assert np.all(damping_factors(0.01, 60) == 1)
    assert damping_factors(0.01, 50)[-1] < 1e-2
    occupation = chebyshev.chebval(X, series(0.2, 0.0, INTERVAL, 300).occupation)
    assert occupation.min() > 0 and occupation.max() < 1
    far = np.abs(E - 0.2) > 0.3
    assert np.abs(occupation - fermi(0.2, 0.0))[far].max() < 2e-3
