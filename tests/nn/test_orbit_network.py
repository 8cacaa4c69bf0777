"""The orbit network: exact symmetry, forces that are gradients, bounds, independence of batch and extent."""

import pytest
import torch
from torch import nn

from lattgnn.graph import apply_operation
from lattgnn.lattice import kagome, site_permutations, square, translation_permutation, triangular
from lattgnn.nn import OrbitNetwork

BOUND = 1.75


def make_network(lattice=None, dtype=torch.float64, **options):
    torch.manual_seed(1)
    net = OrbitNetwork(square(8) if lattice is None else lattice, BOUND, channels=6, **options).to(dtype)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.4)  # far from the small weights of a fresh network
    return net


def fields(lattice, rng):
    """A random field, a uniform one and a perfect charge-density wave."""
    checkerboard = torch.from_numpy((-1.0) ** lattice.cells.sum(1))
    random = 2 * torch.randn(lattice.n_sites, generator=rng, dtype=torch.float64)
    return torch.stack([random, torch.full_like(random, 0.7), 1.4 * checkerboard])


def operations(lattice):
    """Every operation of the group followed by a translation."""
    shift = torch.from_numpy(translation_permutation(lattice, (3, 2)))
    return [shift[torch.from_numpy(permutation)] for permutation in site_permutations(lattice)]


def symmetry_error(net, lattice, field, graph):
    """Largest violation of F(gQ) = g F(Q) and E(gQ) = E(Q) over the group times a translation."""
    energy, forces = net(field, graph)
    errors = []
    for operation in operations(lattice):
        moved_energy, moved_forces = net(apply_operation(field, operation), graph)
        errors.append((moved_forces - apply_operation(forces, operation)).abs().max())
        if energy is not None:
            errors.append((moved_energy - energy).abs().max() / lattice.n_sites)
    return float(torch.stack(errors).detach().max())


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
@pytest.mark.parametrize("conservative", [False, True], ids=["direct", "energy"])
@pytest.mark.parametrize("lattice", [square(8), triangular(6), kagome(4)], ids=lambda lattice: lattice.name)
def test_equivariance(lattice, conservative, dtype, tolerance, rng):
    net = make_network(lattice, dtype, conservative=conservative, cutoff=2.1)
    assert symmetry_error(net, lattice, fields(lattice, rng).to(dtype), net.graph(lattice)) < tolerance


def test_a_broken_layer_fails_the_same_check(rng):
    """One orbit that holds three of its four bonds is enough to be seen."""
    lattice = square(8)
    net = make_network(lattice)
    graph = net.graph(lattice)
    dense = graph.matrices[0].to_dense()
    dense[:, :8] = 0
    broken = type(graph)((dense.to_sparse_csr(), *graph.matrices[1:]), graph.reverse)
    assert symmetry_error(net, lattice, fields(lattice, rng), broken) > 1e-3


@pytest.mark.parametrize("conservative", [False, True])
def test_odd_networks_are_odd(conservative, rng):
    lattice = square(8)
    net, field = make_network(lattice, conservative=conservative, odd=True), fields(lattice, rng)
    graph = net.graph(lattice)
    torch.testing.assert_close(net(-field, graph)[1], -net(field, graph)[1], rtol=0, atol=1e-10)
    plain = make_network(lattice, conservative=conservative)
    assert (plain(-field, graph)[1] + plain(field, graph)[1]).abs().max() > 1e-3


@pytest.mark.parametrize("odd", [False, True])
def test_forces_are_minus_the_gradient_of_the_energy(odd, rng):
    lattice = square(6)
    net = make_network(lattice, conservative=True, odd=odd)
    field = fields(lattice, rng)[:1]
    graph, h = net.graph(lattice), 1e-5
    forces = net(field, graph)[1][0]
    for site in (0, 7, 20):
        step = torch.zeros_like(field)
        step[0, site] = h
        slope = (net(field + step, graph)[0] - net(field - step, graph)[0]) / (2 * h)
        torch.testing.assert_close(-slope[0], forces[site], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("conservative", [False, True])
def test_training_through_the_force_reaches_every_parameter_and_leaves_no_graph_without_grad(
    conservative, rng
):
    lattice = square(6)
    net, field = make_network(lattice, conservative=conservative), fields(lattice, rng)
    graph = net.graph(lattice)
    net(field, graph)[1].square().sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The last bias of an energy head only shifts the energy.
    assert without == (["readout.2.bias"] if conservative else [])
    with torch.no_grad():
        energy, forces = net(field, graph)
    assert not forces.requires_grad and (energy is None or not energy.requires_grad)


def test_samples_do_not_see_each_other(rng):
    lattice = square(6)
    net, field = make_network(lattice), fields(lattice, rng).requires_grad_()
    graph = net.graph(lattice)
    forces = net(field, graph)[1]
    torch.testing.assert_close(forces[:1], net(field[:1], graph)[1], rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(forces[0].sum(), field)
    assert gradient[0].abs().sum() > 0 and gradient[1:].abs().max() == 0


@pytest.mark.parametrize("conservative", [False, True])
def test_same_parameters_on_every_extent(conservative, rng):
    """A field tiled 2 × 2 has the tiled forces and four times the energy."""
    small, large = square(6), square(12)
    net, field = make_network(small, conservative=conservative), fields(small, rng)
    tiled = field.view(-1, 6, 6).repeat(1, 2, 2).flatten(1)
    energy, forces = net(field, net.graph(small))
    tiled_energy, tiled_forces = net(tiled, net.graph(large))
    torch.testing.assert_close(
        tiled_forces, forces.view(-1, 6, 6).repeat(1, 2, 2).flatten(1), rtol=0, atol=1e-12
    )
    if conservative:
        torch.testing.assert_close(tiled_energy, 4 * energy, rtol=1e-12, atol=0)


def test_direct_force_is_bounded(rng):
    net, lattice = make_network(), square(8)
    assert net(50 * fields(lattice, rng), net.graph(lattice))[1].abs().max() <= BOUND


def test_bad_arguments_are_told_in_one_line():
    with pytest.raises(ValueError, match="channels and n_layers must be at least 1, got 0 and 2"):
        OrbitNetwork(square(8), BOUND, channels=0)
    with pytest.raises(ValueError, match="odd=True needs a bipartite lattice"):
        OrbitNetwork(triangular(6), BOUND, odd=True)
