"""The one-operation layer of scalars agrees with its parts, forward and backward."""

from typing import cast

import pytest
import torch

from lattgnn.lattice import (
    Lattice,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    square,
    staggered_square,
    triangular,
)
from lattgnn.native import library
from lattgnn.nn import scalar_layer
from tests.orbit_networks import orbit_network

CHAIN = Lattice([[1.0]], [[0], ["1/3"]], 6)  # bonds whose reverse belongs to another orbit
EPS = torch.finfo(torch.float32).eps
LATTICES = [square(6), triangular(5), honeycomb(4), kagome(4), chain(7), cubic(4), CHAIN]
# Two classes of sites each, of equal and of different size.
LATTICES += [staggered_square(4), lieb(3, 4), lieb(3, periodic=False)]


def parts_and_whole(lattice, dtype, rng, batch=10):
    """Outputs and gradients of a network computed by parts and with one-operation layers."""
    torch.manual_seed(0)
    net = orbit_network(lattice, channels=5, n_layers=2).to(dtype)
    graph = net.graph(lattice)
    field = torch.randn(batch, lattice.n_sites, generator=rng, dtype=torch.float64).to(dtype)
    found = []
    for first_order in (False, True):
        net.zero_grad()
        x = [part.clone().requires_grad_() for part in net.basis(field, graph)]
        y = net.embed(x, graph, first_order=first_order)
        for block in net.blocks:
            y = block(y, graph, residual=True, first_order=first_order)
        y = net.readout(y, graph, first_order=first_order)
        squares = [(k + 1) * part.square().sum() for k, part in enumerate(y)]
        torch.stack(squares).sum().backward()
        gradients = [cast(torch.Tensor, tensor.grad) for tensor in (*x, *net.parameters())]
        found.append([part.detach() for part in y] + [gradient.clone() for gradient in gradients])
    return found


@pytest.mark.parametrize(
    "lattice", LATTICES, ids=lambda lattice: f"{lattice.name}-{lattice.n_sublattices}"
)
def test_the_same_output_and_gradients(lattice, rng):
    parts, whole = parts_and_whole(lattice, torch.float64, rng)
    for right, value in zip(parts, whole, strict=True):
        torch.testing.assert_close(value, right, rtol=0, atol=1e-12 * float(1 + right.abs().max()))


def check_float32(lattice, rng):
    """Check that the result is as close to float64 as that of the separate float32 operations.

    Both errors have the same conditioning. Because the order of sums and the instructions differ,
    either error may be larger by chance, or zero to the last place. This is why the tolerance is a
    factor of 8 plus 8 units in the last place, of 1 or of the largest number.
    """
    state = rng.get_state()
    exact, _ = parts_and_whole(lattice, torch.float64, rng)
    rng.set_state(state)
    for right, part, value in zip(
        exact, *parts_and_whole(lattice, torch.float32, rng), strict=True
    ):
        rounding = (part - right).abs().max() + EPS * right.abs().max().clamp(min=1)
        torch.testing.assert_close(value.double(), right, rtol=0, atol=8 * float(rounding))


@pytest.mark.parametrize(
    "lattice", LATTICES, ids=lambda lattice: f"{lattice.name}-{lattice.n_sublattices}"
)
def test_as_near_to_float64_as_its_parts(lattice, rng):
    check_float32(lattice, rng)


def test_the_same_without_a_compiler(monkeypatch, rng):
    monkeypatch.setattr(scalar_layer, "library", lambda: None)
    check_float32(square(6), rng)


@pytest.mark.skipif(library() is None, reason="no C++ compiler")
def test_the_same_on_any_threads(rng):
    lattice = square(40)
    net = orbit_network(lattice, channels=16)
    graph, layer = net.graph(lattice), net.blocks[0]
    x = torch.randn(lattice.n_sites, 11, 16, generator=rng)
    try:
        torch.set_num_threads(3)
        three = layer([x], graph, first_order=True)[0]
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(three, layer([x], graph, first_order=True)[0], rtol=0, atol=1e-6)


def test_which_layers_are_plain():
    for lattice in (kagome(4), lieb(3)):
        assert all(block.is_scalar for block in orbit_network(lattice).blocks)
    lattice = square(4)
    others = [orbit_network(lattice, odd=True), orbit_network(lattice, nonlinearity="product")]
    others += [orbit_network(lattice, representation=hidden) for hidden in ("A1 + E", "regular")]
    assert not any(block.is_scalar for net in others for block in net.blocks)
