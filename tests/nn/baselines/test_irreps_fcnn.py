"""The gate of the irreps network, and the faults of the published one."""

import torch

from lattgnn.nn.baselines.irreps_fcnn import _gate

TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


def published_gate(v, bias):
    """σ(|v| + b) v/|v| for doublets v [2, ...]."""
    length = v.norm(dim=0)
    return torch.sigmoid(length + bias) * v / length


def unequal_gate(v, bias):
    """σ(|v| + b)/|v| on the first component alone."""
    length = v.norm(dim=0)
    return torch.stack([torch.sigmoid(length + bias) * v[0] / length, v[1]])


def our_gate(v, bias):
    return v * _gate((v * v).sum(0), bias)


def test_unequal_scaling_of_a_doublet_breaks_the_fourfold_rotation(rng):
    v = torch.randn(2, 50, dtype=torch.float64, generator=rng)

    def violation(gate):
        return float((gate(TURN @ v, 0.3) - TURN @ gate(v, 0.3)).abs().max())

    assert violation(our_gate) < 1e-14 and violation(published_gate) < 1e-14
    assert violation(unequal_gate) > 0.1


def test_the_published_gate_is_undefined_at_symmetric_sites_and_ours_smooth():
    zero = torch.zeros(2, 1, dtype=torch.float64)
    assert published_gate(zero, 0.3).isnan().all()
    assert our_gate(zero, 0.3).abs().max() == 0
    # Just beside it the published gate jumps by twice its value.
    step = torch.tensor([[1e-9], [0.0]], dtype=torch.float64)
    assert (published_gate(step, 0.3) - published_gate(-step, 0.3)).abs().max() > 1
    assert (our_gate(step, 0.3) - our_gate(-step, 0.3)).abs().max() < 1e-8


def test_both_gates_agree_for_long_vectors():
    v = torch.tensor([[300.0], [400.0]], dtype=torch.float64)
    torch.testing.assert_close(our_gate(v, 0.3), published_gate(v, 0.3), rtol=1e-5, atol=0)
