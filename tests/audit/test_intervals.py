"""Intervals contain the truth as often as they say, also for heavy tails."""

import numpy as np
import pytest

from lattgnn.audit.intervals import Stratum, ratio_estimate


def coverage(draw, truth, n_patches, n_audits=200, n_strata=1):
    """How often the interval of a sample contains the truth."""
    covered = 0
    for seed in range(n_audits):
        generator = np.random.default_rng(seed)
        strata = []
        for _ in range(n_strata):
            strata.append(Stratum(draw(generator, n_patches), np.ones(n_patches), 1 / n_strata))
        found = ratio_estimate(strata)
        covered += found.low <= truth <= found.high
    return covered / n_audits


def lognormal(generator, n):
    """Patches whose error has a heavy tail."""
    return np.exp(generator.normal(size=n))


def test_intervals_of_a_lognormal_distribution_contain_its_mean():
    assert coverage(lognormal, np.exp(0.5), 100, 50) >= 0.88


@pytest.mark.slow
def test_intervals_of_heavy_tails_few_patches_and_several_strata_contain_the_mean():
    def exponential(generator, n):
        return generator.exponential(size=n)

    assert 0.92 <= coverage(lognormal, np.exp(0.5), 100, 300) <= 0.98
    assert 0.92 <= coverage(exponential, 1.0, 20, 500) <= 0.98
    assert 0.92 <= coverage(exponential, 1.0, 10, 500, n_strata=5) <= 0.98


def test_the_interval_shrinks_with_the_part_that_was_drawn_and_vanishes_with_all():
    above = np.random.default_rng(0).exponential(size=50)
    ends = []
    for sampled in (0.0, 0.75, 1.0):
        found = ratio_estimate([Stratum(above, np.ones(50), sampled=sampled)])
        assert found.value == pytest.approx(above.mean())
        ends.append(np.log(found.high / found.low))
    assert ends[1] == pytest.approx(ends[0] / 2)
    assert ends[2] == 0


def test_a_stratum_that_was_drawn_as_a_whole_may_have_one_patch():
    above = np.random.default_rng(0).exponential(size=20)
    strata = [Stratum(above, np.ones(20), 0.5), Stratum(np.ones(1), np.ones(1), 0.5, sampled=1.0)]
    found = ratio_estimate(strata)
    assert found.low < found.value < found.high


def test_a_ratio_of_sums_weights_strata_by_their_share():
    strata = [Stratum(np.full(4, 2.0), np.full(4, 1.0), 0.25)]
    strata.append(Stratum(np.full(9, 6.0), np.full(9, 3.0), 0.75))
    found = ratio_estimate(strata)
    assert found.value == pytest.approx((0.25 * 2 + 0.75 * 6) / (0.25 * 1 + 0.75 * 3))


def test_few_patches_have_no_interval_and_no_error_has_an_empty_one():
    for n in (1, 4):
        few = ratio_estimate([Stratum(np.linspace(0.5, 1.5, n + 2)[1:-1], np.ones(n))])
        assert few.value == pytest.approx(1)
        assert np.isnan([few.low, few.high]).all()
        assert few.to_dict() == {"value": few.value, "low": None, "high": None}
    none = ratio_estimate([Stratum(np.zeros(5), np.ones(5))])
    assert (none.value, none.low, none.high) == (0, 0, 0)
