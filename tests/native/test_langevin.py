"""The compiled kernels against their twins in PyTorch."""

import pytest
import torch

from lattgnn.dynamics import noise, philox

pytestmark = pytest.mark.skipif(philox.kernels() is None, reason="no compiler here")


def test_noise_is_that_of_pytorch(monkeypatch) -> None:
    arguments = [(3, 2**40 + 1, (2, 40_000)), (2**63 + 5, 0, (5, 33, 3), 2, 7, 1001)]
    compiled = [noise(*some) for some in arguments]
    monkeypatch.setattr(philox, "kernels", lambda: None)
    for one, some in zip(compiled, arguments, strict=True):
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
