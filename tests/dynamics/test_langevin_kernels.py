"""The compiled kernels against their twins in PyTorch."""

import pytest
import torch

from lattgnn.dynamics import noise, philox
from lattgnn.dynamics.langevin_kernels import Update
from lattgnn.dynamics.philox import noise_request
from lattgnn.dynamics.update import advance

pytestmark = pytest.mark.skipif(philox.kernels() is None, reason="no compiler here")


def test_noise_is_that_of_pytorch(monkeypatch) -> None:
    arguments = [(3, 2**40 + 1, (2, 40_000)), (2**63 + 5, 0, (5, 33, 3), 2, 7, 1001)]
    compiled = [noise(*some) for some in arguments]
    monkeypatch.setattr(philox, "kernels", lambda: None)
    for one, some in zip(compiled, arguments, strict=True):
        # Radius up to 6.77. In both forms the radius, the cosine and their product have about three
        # roundings of 2⁻⁵³, and that of the angle up to π counts as much as two: 8e-15 in all.
        torch.testing.assert_close(one, noise(*some), rtol=0, atol=1e-14)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_noise_does_not_depend_on_threads(n_threads) -> None:
    expected = noise(3, 5, (3, 100_003), first_site=2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        assert torch.equal(noise(3, 5, (3, 100_003), first_site=2), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(1, 5), (3, 1037), (2, 341, 3)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("friction", [0.0, 3e-7])
def test_updates_are_those_of_pytorch(monkeypatch, rng, shape, dtype, friction) -> None:
    forces, momentum, field = torch.randn((3, *shape), generator=rng, dtype=torch.float64).to(dtype)
    for n_draws in (0, 1, 2):
        numbers = noise_request(3, 2**40, shape, 2, first_replica=4, first_site=7, n_draws=n_draws)
        decay = 0.9 if friction == 0 else 1 - friction
        coefficients = {"decay": decay} if friction == 0 else {"decay": 1.0, "friction": friction}
        update = Update(kick=0.3, drift=0.2, noise=0.5, drift_after=-0.4, **coefficients)
        results = []
        for compiled in (True, False):
            with monkeypatch.context() as patch:
                if not compiled:
                    patch.setattr(philox, "kernels", lambda: None)
                    patch.setattr("lattgnn.dynamics.update.kernels", lambda: None)
                both, alone = (torch.empty_like(field), torch.empty_like(field)), momentum.clone()
                advance(update, numbers, forces, (momentum, both[0]), (field, both[1]))
                advance(update, numbers, forces, (alone, alone))  # in place, without a field
                results.append((*both, alone))
        assert torch.equal(results[0][0], results[0][2])
        kicked = decay * (momentum.double() + 0.3 * forces.double())
        numbers = torch.zeros_like(kicked)
        for step in range(n_draws):
            numbers += noise(3, 2**40 + step, shape, 2, 4, 7)
        # Elementwise: at most eight roundings of each term, in any order and with or without fused
        # multiply-adds, and what two forms of the noise may differ by in float64, 1e-14 each.
        terms = decay * (momentum.double().abs() + 0.3 * forces.double().abs())
        of_momentum = terms + 0.5 * numbers.abs()
        of_field = field.double().abs() + 0.2 * terms / decay + 0.4 * of_momentum
        eps = torch.finfo(dtype).eps
        sizes = (of_momentum, of_field, of_momentum)
        for one, other, size in zip(*results, sizes, strict=True):
            assert ((one - other).abs() <= 8 * eps * size + n_draws * 1e-14).all()
        expected = kicked + 0.5 * numbers
        off = (results[0][0].double() - expected).abs()
        assert (off <= 8 * eps * of_momentum + n_draws * 1e-14).all()


def test_friction_below_the_rounding_has_the_bits_of_pytorch(monkeypatch, rng) -> None:
    """Without a kick, which the two may round differently."""
    momentum = torch.randn(3, 1037, generator=rng)
    numbers = noise_request(3, 2**40, momentum.shape, first_replica=2**31, first_site=9, n_draws=0)
    update, results = Update(decay=1, friction=2e-8), []
    for compiled in (True, False):
        if not compiled:
            monkeypatch.setattr("lattgnn.dynamics.update.kernels", lambda: None)
        results.append(torch.empty_like(momentum))
        advance(update, numbers, torch.zeros_like(momentum), (momentum, results[-1]))
    assert torch.equal(*results)
    assert 0.1 < (results[0] != momentum).double().mean() < 0.4  # some of them, not all
