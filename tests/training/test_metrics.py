"""Errors gathered over batches against numpy on all of them."""

import numpy as np
import pytest
import torch

from lattgnn.training.metrics import ForceErrors, SampleSums


def test_figures_equal_numpy_whatever_the_batches(rng):
    target = torch.randn(40, 50, generator=rng)
    predicted = target + 0.01 * torch.randn(40, 50, generator=rng) ** 3
    elastic = 0.5 - 0.9 * target
    metric = ForceErrors()
    for part in (slice(0, 7), slice(7, 7), slice(7, 40)):  # one of them empty
        metric.update(SampleSums.of(predicted[part], target[part], elastic[part]))
    figures = {name: float(value) for name, value in metric.compute().items()}
    error, exact = (predicted - target).double().numpy(), target.double().numpy()
    np.testing.assert_allclose(figures["mse"], (error**2).mean(), rtol=1e-12)
    np.testing.assert_allclose(figures["mae"], np.abs(error).mean(), rtol=1e-12)
    np.testing.assert_allclose(figures["unexplained"], (error**2).mean() / exact.var(), rtol=1e-9)
    total = (target + elastic).double().numpy().var()
    np.testing.assert_allclose(figures["unexplained_total"], (error**2).mean() / total, rtol=1e-5)
    np.testing.assert_allclose(figures["p99.9"], np.quantile(np.abs(error), 0.999), rtol=0.05)


def test_two_processes_add_up(rng):
    """States are sums, so reducing them is exact."""
    a, b, c = torch.randn(3, 2, 30, 10, generator=rng)
    whole, first, second = ForceErrors(), ForceErrors(), ForceErrors()
    whole.update(SampleSums.of(a, b, c))
    first.update(SampleSums.of(a[0], b[0], c[0]))
    second.update(SampleSums.of(a[1], b[1], c[1]))
    for name in whole._defaults:
        torch.testing.assert_close(
            getattr(whole, name), getattr(first, name) + getattr(second, name)
        )


def test_lattices_of_unequal_size_weigh_as_much_as_they_have_sites(rng):
    """Two processes with batches of other numbers of samples and of sites add up to all sites."""
    parts = [torch.randn(3, *shape, generator=rng) for shape in ((2, 30), (5, 50), (1, 12))]
    whole = torch.cat([part.flatten(1) for part in parts], 1)
    error = (whole[0] - whole[1]).double().numpy()
    ranks = ForceErrors(), ForceErrors()
    for metric, some in zip(ranks, (parts[:2], parts[2:]), strict=True):
        for part in some:
            metric.update(SampleSums.of(*part))
    total = ForceErrors()
    for name in total._defaults:
        setattr(total, name, getattr(ranks[0], name) + getattr(ranks[1], name))
    assert float(total.squares / total.count) == pytest.approx((error**2).mean(), rel=1e-10)
    assert float(total.absolutes / total.count) == pytest.approx(np.abs(error).mean(), rel=1e-10)


def test_nothing_gathered_gives_no_figures():
    metric = ForceErrors()
    metric.update(SampleSums.of(*torch.zeros(3, 0, 5)))
    assert metric.compute() == {}


def test_a_diverged_network_is_reported_not_hidden():
    metric = ForceErrors()
    metric.update(SampleSums.of(torch.tensor([[float("nan"), 1.0]]), *torch.zeros(2, 1, 2)))
    figures = metric.compute()
    assert figures["mse"].isnan() and figures["p99.9"] > 1e3


def test_samples_that_are_not_chosen_leave_no_trace_even_if_they_are_nan(rng):
    target = torch.randn(6, 5, generator=rng)
    predicted = target + 0.1
    predicted[2] = float("nan")
    chosen = torch.tensor([True, False, False, True, True, False])
    masked, selected = ForceErrors(), ForceErrors()
    masked.update(SampleSums.of(predicted, target, -target), chosen)
    selected.update(SampleSums.of(predicted[chosen], target[chosen], -target[chosen]))
    for name in masked._defaults:
        torch.testing.assert_close(getattr(masked, name), getattr(selected, name))
