"""SOAP whose basis does not depend on rounding."""

import pytest
import torch
from pytorch_optimizer import SOAP

from lattgnn.errors import InputError
from lattgnn.training import ReproducibleSOAP


def fitted(optimizer_class, rounding: float, dtype=torch.float64, **options) -> torch.Tensor:
    """A matrix after 30 steps towards targets of low rank, with errors in the gradients."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.nn.Parameter(torch.randn(12, 8, generator=generator, dtype=torch.float64))
    weights.data = weights.data.to(dtype)
    optimizer = optimizer_class([weights], lr=0.03, **options)
    for _ in range(30):
        x = torch.randn(3, 12, generator=generator, dtype=torch.float64).to(dtype)
        optimizer.zero_grad()
        (x @ weights - x[:, :8].sin()).square().mean().backward()
        assert weights.grad is not None
        noise = torch.randn(12, 8, generator=generator, dtype=torch.float64)
        weights.grad *= 1 + rounding * noise
        optimizer.step()
    return weights.detach()


def test_rounding_of_the_gradients_stays_small():
    change = fitted(ReproducibleSOAP, 4e-16) - fitted(ReproducibleSOAP, 0.0)
    assert 0 < change.abs().max() < 1e-8
    assert (fitted(SOAP, 4e-16) - fitted(SOAP, 0.0)).abs().max() > 1e-4


def test_it_is_soap():
    """Where the gradients leave no freedom, the two differ by the small matrix that is added."""
    many = {"precondition_frequency": 1, "shampoo_beta": 0.5}
    found = fitted(ReproducibleSOAP, 0.0, torch.float64, **many)
    assert (found - fitted(SOAP, 0.0, torch.float64, **many)).abs().max() < 0.5
    assert fitted(ReproducibleSOAP, 0.0, torch.float32).dtype == torch.float32


def test_another_order_of_dimensions_is_refused():
    with pytest.raises(InputError, match="data_format must be 'channels_first'"):
        fitted(ReproducibleSOAP, 0.0, data_format="channels_last")
