import numpy as np
import pytest
from scipy.special import expit

from lattgnn.errors import InputError
from lattgnn.solvers.green.poles import fermi_poles


def largest_error(poles, kT: float, half_width: float) -> float:
    """Largest error of the occupation of levels on a fine grid, close to μ and far from it."""
    x = np.concatenate([np.linspace(0, half_width, 20001), np.geomspace(1e-6, half_width, 5001)])
    frequencies, weights = np.array(poles).T
    fit = 0.5 - (x[:, None] / (x[:, None] ** 2 + frequencies**2)) @ weights
    return np.abs(fit - expit(-x / kT)).max()


@pytest.mark.parametrize(
    ("kT", "half_width", "tolerance"),
    [
        (0.1, 8.0, 1e-6),
        (1.0, 0.1, 1e-12),
        (30.0, 4000.0, 1e-5),
        pytest.param(0.1, 80.0, 1e-10, marks=pytest.mark.slow),
        pytest.param(0.1, 80.0, 1e-12, marks=pytest.mark.slow),
        pytest.param(0.02, 60.0, 1e-6, marks=pytest.mark.slow),
        pytest.param(0.001, 20.0, 1e-8, marks=pytest.mark.slow),
    ],
)
def test_the_sum_over_poles_is_the_fermi_function_to_the_tolerance(kT, half_width, tolerance):
    poles = fermi_poles(kT, half_width, tolerance)
    assert largest_error(poles, kT, half_width) <= tolerance


# One pole more or less than stored is no error, but twice as many would be.
@pytest.mark.parametrize(
    ("half_width", "tolerance", "n_poles"), [(3.2, 1e-10, 7), (12.8, 1e-8, 9), (80.0, 1e-6, 10)]
)
def test_few_poles_are_enough(half_width, tolerance, n_poles):
    assert len(fermi_poles(0.1, half_width, tolerance)) <= n_poles + 1


def test_the_lowest_pole_is_that_of_matsubara_and_the_frequencies_ascend():
    frequencies, weights = np.array(fermi_poles(0.2, 5.0, 1e-8)).T
    assert frequencies[0] == pytest.approx(0.2 * np.pi, rel=1e-6)
    assert weights[0] == pytest.approx(0.4, rel=1e-4)
    assert np.all(np.diff(frequencies) > 0)


def test_half_widths_within_a_power_of_2_have_the_same_poles():
    assert fermi_poles(0.125, 17.0, 1e-6) == fermi_poles(0.125, 32.0, 1e-6)
    assert fermi_poles(0.125, 32.1, 1e-6) != fermi_poles(0.125, 32.0, 1e-6)


def test_a_range_beyond_2_to_the_20_is_refused():
    with pytest.raises(InputError, match="Use a higher kT"):
        fermi_poles(1e-7, 10.0, 1e-4)
    with pytest.raises(InputError, match="Use a higher kT"):
        fermi_poles(0.1, float("nan"), 1e-4)


def test_a_tolerance_below_rounding_errors_is_refused():
    with pytest.raises(InputError, match="larger tolerance"):
        fermi_poles(0.1, 3.0, 1e-18)
