"""The gate of the irreps network, and the faults of the published one."""

import torch

from lattgnn.nn.baselines.irreps_fcnn import Gate

BIAS = 0.3
TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


def published_gate(v):
    """σ(|v| + b) v/|v| for doublets v [..., 2]."""
    length = v.norm(dim=-1, keepdim=True)
    return torch.sigmoid(length + BIAS) * v / length


def unequal_gate(v):
    """The same factor, but applied only to the first component."""
    return torch.stack([published_gate(v)[..., 0], v[..., 1]], dim=-1)


def our_gate(v):
    gate = Gate(1, 1).double()
    torch.nn.init.constant_(gate.bias, BIAS)
    return gate(v).detach()


def violation(gate, v):
    return float((gate(v @ TURN.T) - gate(v) @ TURN.T).abs().max())


def test_unequal_scaling_of_a_doublet_breaks_the_fourfold_rotation(rng):
    v = torch.randn(50, 1, 2, dtype=torch.float64, generator=rng)
    assert violation(our_gate, v) < 1e-14 and violation(published_gate, v) < 1e-14
    assert violation(unequal_gate, v) > 0.1


def test_the_published_gate_is_undefined_at_symmetric_sites_and_ours_smooth():
    zero = torch.zeros(1, 2, dtype=torch.float64)
    assert published_gate(zero).isnan().all()
    assert our_gate(zero).abs().max() == 0
    step = torch.tensor([[1e-9, 0.0]], dtype=torch.float64)  # the published gate jumps near 0
    assert (published_gate(step) - published_gate(-step)).abs().max() > 1
    assert (our_gate(step) - our_gate(-step)).abs().max() < 1e-8


def test_both_gates_agree_for_long_vectors():
    v = torch.tensor([[300.0, 400.0]], dtype=torch.float64)
    torch.testing.assert_close(our_gate(v), published_gate(v), rtol=1e-5, atol=0)
