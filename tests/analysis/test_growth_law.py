"""The window of a growth exponent, and when there is none, on synthetic curves."""

import re

import numpy as np
import pytest

from lattgnn.analysis import find_growth_law
from lattgnn.errors import InputError

TIMES = np.geomspace(0.5, 1000, 60)
POWER = 1.3 * TIMES**0.4
LOGARITHM = 2 + np.log(TIMES + 1)
# Slope 0.6 that turns into 0.25 around t = 10, within less than a decade.
CROSSOVER = (TIMES / 10) ** 0.25 * (1 + (10 / TIMES) ** 4) ** (-0.35 / 4)


def noisy(curve, n_replicas, noise, seed):
    """Replicas with noise that is correlated over half a unit of ln t, as domains are."""
    rng = np.random.default_rng(seed)
    memory = np.exp(-np.log(TIMES[1] / TIMES[0]) / 0.5)
    x = rng.normal(size=(len(TIMES), n_replicas))
    for k in range(1, len(TIMES)):
        x[k] = memory * x[k - 1] + np.sqrt(1 - memory**2) * x[k]
    return curve[:, None] * np.exp(noise * x)


def laws(curve, n_replicas, noise, n_sets=25):
    return [find_growth_law(TIMES, noisy(curve, n_replicas, noise, k)) for k in range(n_sets)]


def coverage(found, exponent):
    fits = [law.fit for law in found if law.fit is not None]
    inside = [fit.interval[0] < exponent < fit.interval[1] for fit in fits]
    return np.mean(inside), len(fits) / len(found)


@pytest.mark.parametrize(("n_replicas", "noise"), [(4, 0.02), (12, 0.01)])
def test_intervals_of_a_power_law_cover_it(n_replicas, noise):
    inside, given = coverage(laws(POWER, n_replicas, noise), 0.4)
    assert inside >= 0.88 and given > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("n_replicas", "noise"), [(4, 0.02), (12, 0.01)])
def test_intervals_cover_as_often_as_they_say(n_replicas, noise):
    for curve, exponent in ((POWER, 0.4), (CROSSOVER, 0.25)):
        inside, given = coverage(laws(curve, n_replicas, noise, n_sets=300), exponent)
        assert inside >= 0.94 and given > 0.6


def test_the_crossover_is_left_out():
    found = laws(CROSSOVER, 8, 0.01)
    inside, given = coverage(found, 0.25)
    assert inside >= 0.88 and given > 0.85
    assert np.median([law.fit.window[0] for law in found if law.fit is not None]) > 9


def test_a_logarithm_has_no_exponent():
    for n_replicas, noise in ((4, 0.02), (16, 0.002)):
        found = laws(LOGARITHM, n_replicas, noise)
        assert sum(law.fit is not None for law in found) <= 1, "1 or 2 % of the sets"
        assert any("Not a power law" in law.reason for law in found)


def test_frames_after_the_finite_size_do_not_count():
    """The length saturates at 12 a; frames above 8 a are left out."""
    curve = np.minimum(POWER, 12.0)
    law = find_growth_law(TIMES, noisy(curve, 6, 0.005, 0), largest_length=8.0)
    assert law.fit is not None
    assert law.fit.interval[0] < 0.4 < law.fit.interval[1]
    assert 1.3 * law.fit.window[1] ** 0.4 < 8.2


def test_frames_before_the_order_do_not_count():
    lengths = noisy(POWER, 6, 0.005, 0)
    lengths[:10] = np.nan
    lengths[4] = 3.0  # a chance value among frames without order
    law = find_growth_law(TIMES, lengths)
    assert law.fit is not None and law.fit.window[0] == pytest.approx(TIMES[10])


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        (POWER[:, None] * [1.0, 1.01], "Too few replicas: .* there are 2"),
        (np.full((60, 4), np.nan), "No frame has domains"),
        (np.where(TIMES[:, None] > 700, POWER[:, None], np.nan) * np.ones(4), "Too short"),
        (np.full((60, 4), np.inf), "No frame .* before L exceeds 100"),
        (noisy(np.full(60, 5.0), 4, 0.01, 0), "No growth"),
        (noisy(POWER, 4, 0.6, 0), "Too noisy|No growth"),
        (np.exp(0.05 * np.log(TIMES) ** 2)[:, None] * np.ones(4), "Not a power law"),
    ],
)
def test_no_exponent_says_why(lengths, reason):
    law = find_growth_law(TIMES, lengths, largest_length=100.0)
    assert law.fit is None
    assert re.match(reason, law.reason), law.reason


def test_a_given_window_is_used_and_doubted():
    law = find_growth_law(TIMES, noisy(CROSSOVER, 8, 0.005, 0), window=(1.0, 1000.0))
    assert law.fit is not None and law.fit.n_frames == (TIMES >= 1).sum()
    assert law.reason.startswith("Not a power law")


@pytest.mark.parametrize(
    ("window", "lengths", "reason"),
    [
        ((20.0, 120.0), np.full((60, 3), np.inf), "every replica must have a length .* in 0"),
        ((999.0, 2000.0), noisy(POWER, 3, 0.01, 0), "at least 3 frames with t > 0, .* contains 1"),
    ],
)
def test_a_given_window_that_cannot_be_fitted_has_a_reason(window, lengths, reason):
    law = find_growth_law(TIMES, lengths, window=window)
    assert law.fit is None and re.search(reason, law.reason), law.reason


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((120.0, 20.0), "two ascending times"),
        ((np.nan, 20.0), "two ascending times"),
        ((20.0, np.inf), "two ascending times"),
        ((1500.0, 2000.0), "The frames are from t = 0.5 to 1000"),
    ],
)
def test_a_window_that_is_wrong_input_is_refused(window, message):
    with pytest.raises(InputError, match=message):
        find_growth_law(TIMES, noisy(POWER, 3, 0.01, 0), window=window)
