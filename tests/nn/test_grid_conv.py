"""Dense convolutions on the grid of cells give the same map as the kernels of all bonds."""

import pytest
import torch
from torch import nn

from lattgnn.graph import lattice_graph
from lattgnn.lattice import chain, cubic, honeycomb, square, triangular
from lattgnn.nn import SPIN, OrbitConv, features
from lattgnn.nn.grid_conv import fits_grid
from lattgnn.nn.kernel_operators import block_rows

CASES = [
    (square(6, 5), 1.5),
    (square(6, 5, periodic=(False, True)), 1.0),
    (square(7), 2.0),
    (triangular(5), 1.0),
    (chain(8, periodic=False), 2.0),
    (cubic(4, periodic=(True, False, True)), 1.5),
]


def frozen(lattice, cutoff, other=SPIN):
    """A layer with regular, invariant and spin channels, its inputs and its graph."""
    torch.manual_seed(0)
    blocks = features(lattice, "regular", 3, 2, other)
    conv = OrbitConv(lattice, blocks, blocks, cutoff).double()
    for parameter in conv.parameters():
        nn.init.normal_(parameter)
    graph = lattice_graph(lattice, cutoff, torch.float64)
    rows = [(block_rows(graph, b.type), 2 * b.internal.dim, b.channels) for b in blocks]
    x = [torch.randn(shape, dtype=torch.float64) for shape in rows]
    conv.requires_grad_(False).is_frozen = True
    return conv, x, graph


@pytest.mark.parametrize("lattice, cutoff", CASES)
def test_the_same_map_and_gradient(lattice, cutoff):
    """Several samples, spins, open boundaries, one to three dimensions."""
    conv, x, graph = frozen(lattice, cutoff)
    conv.expands = True
    assert fits_grid(conv, graph)
    x = [value.requires_grad_() for value in x]
    results = conv(x, graph), conv.by_bond_kernels(x, graph)
    weights = [torch.randn_like(y) for y in results[0]]
    gradients = [
        torch.autograd.grad(
            torch.stack([(w * y).sum() for w, y in zip(weights, result, strict=True)]).sum(), x
        )
        for result in results
    ]
    for found, expected in zip(
        (*results[0], *gradients[0]), (*results[1], *gradients[1]), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_where_it_serves():
    """The dense form is not used while weights are fitted, nor if most of the box is empty."""
    conv, x, graph = frozen(square(6), 1.5)
    assert conv.expands and fits_grid(conv, graph)
    conv.is_frozen = False
    assert not fits_grid(conv, graph)
    for lattice in (honeycomb(4), cubic(4)):
        conv, x, graph = frozen(lattice, 1.0)
        conv.expands = True
        assert not fits_grid(conv, graph)
