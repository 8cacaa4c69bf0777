"""The published graph convolutions: what a site cannot tell when it is blind to direction."""

import math

import torch

from lattgnn.lattice import square
from lattgnn.nn.baselines import IrrepsFCNN, PublishedGCN


def response(net, lattice, wave_vector):
    """Linear response of a uniform state to a wave, Σ_j ∂F_0/∂Q_j cos(k·r_j)."""
    uniform = torch.full((1, lattice.n_sites), 0.6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(uniform, net.graph(lattice))[1][0, 0], uniform)
    phase = torch.from_numpy(lattice.cells.copy()).double() @ torch.tensor(
        wave_vector, dtype=torch.float64
    )
    return float(gradient[0] @ torch.cos(phase))


def test_the_response_depends_on_cos_kx_plus_cos_ky_alone(make_network):
    lattice = square(8)
    net = make_network(PublishedGCN, lattice)
    same = (
        response(net, lattice, (math.pi, 0.0)),
        response(net, lattice, (math.pi / 2, math.pi / 2)),
    )
    assert abs(same[0] - same[1]) < 1e-12
    assert abs(response(net, lattice, (math.pi, math.pi)) - same[0]) > 1e-3
    aware = make_network(IrrepsFCNN, lattice)
    assert (
        abs(response(aware, lattice, (math.pi, 0.0)) - response(aware, lattice, (math.pi / 2,) * 2))
        > 1e-3
    )


def test_a_layer_is_the_mean_over_neighbours_on_a_regular_lattice(make_network, rng):
    lattice = square(6)
    net = make_network(PublishedGCN, lattice, channels=[3])
    layer, x = net.layers[1], torch.randn(36, 2, 3, dtype=torch.float64, generator=rng)
    grid = x.view(6, 6, 2, 3)
    mean = (
        torch.stack([grid.roll(step, axis) for step in (1, -1) for axis in (0, 1)])
        .mean(0)
        .view_as(x)
    )
    own, neighbours = layer.linear.weight.chunk(2, dim=1)
    expected = x @ own.T + mean @ neighbours.T + layer.linear.bias
    torch.testing.assert_close(layer(x, net.graph(lattice)), expected, rtol=1e-12, atol=1e-12)
