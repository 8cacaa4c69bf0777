"""Properties of all rebuilt networks: sizes, symmetry, gradients, any batch and extent."""

import pytest
import torch

from lattgnn.graph import Operators, apply_operation
from lattgnn.lattice import (
    kagome,
    site_permutations,
    square,
    translation_permutation,
    triangular,
)
from lattgnn.nn import ForceNetwork, SparseMap, baselines
from lattgnn.nn.baselines.site_patch import patch_table
from lattgnn.nn.bond_operators import neighbor_sum
from lattgnn.serialize import build, describe

COUNTS = {
    baselines.EnergyMPNN: 7_355_909,
    baselines.IrrepsFCNN: 143_135,  # 143 thousand
    # The published network has 45 inputs (10.75 million parameters). With the power spectrum and
    # the bispectrum there are 58 inputs.
    baselines.BehlerParrinello: 10_753_763 + 13 * 4096,
    baselines.GroupAveragedMLP: 110_593,
}

PATCH_NETWORKS = (baselines.IrrepsFCNN, baselines.BehlerParrinello, baselines.GroupAveragedMLP)


def symmetry_error(net, lattice, field, graph):
    """Largest violation of F(gQ) = g F(Q) and E(gQ) = E(Q), with g followed by a translation."""
    shift = torch.from_numpy(translation_permutation(lattice, (3, 2)))
    energy, forces = net(field, graph)
    errors = []
    for permutation in torch.from_numpy(site_permutations(lattice)):
        operation = shift[permutation]
        moved_energy, moved_forces = net(apply_operation(field, operation), graph)
        errors.append((moved_forces - apply_operation(forces, operation)).abs().max())
        if energy is not None:
            errors.append((moved_energy - energy).abs().max() / lattice.n_sites)
    return float(torch.stack(errors).detach().max())


def test_parameters_are_as_many_as_published(network):
    with torch.device("meta") if network not in PATCH_NETWORKS else torch.device("cpu"):
        net = network(square(8))
    assert sum(parameter.numel() for parameter in net.parameters()) == COUNTS[network]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
def test_equivariance(network, dtype, make_network, make_fields, float32_symmetry_bound):
    lattice = square(8)
    net, field = make_network(network, lattice, dtype), make_fields(lattice).to(dtype)
    assert net(field, net.graph(lattice))[1][0].std() > 1e-2  # the forces are not all equal
    bound = 1e-10
    if dtype == torch.float32:
        bound = float32_symmetry_bound(net, lattice, "trivial", field)
    assert symmetry_error(net, lattice, field, net.graph(lattice)) < bound < 1e-4


@pytest.mark.parametrize("lattice", [triangular(6), kagome(4)], ids=lambda lattice: lattice.name)
@pytest.mark.parametrize("bond_network", [baselines.EnergyMPNN])
def test_networks_on_bonds_are_equivariant_on_any_lattice(
    bond_network, lattice, make_network, make_fields
):
    net = make_network(bond_network, lattice)
    assert symmetry_error(net, lattice, make_fields(lattice), net.graph(lattice)) < 1e-10


@pytest.mark.parametrize("patch_network", PATCH_NETWORKS, ids=lambda network: network.__name__)
def test_networks_on_patches_follow_the_point_group_of_the_lattice(
    patch_network, make_network, make_fields
):
    lattice = triangular(6)  # 12 operations, two kinds of doublets
    net = make_network(patch_network, lattice, cutoff=7**0.5)
    assert symmetry_error(net, lattice, make_fields(lattice), net.graph(lattice)) < 1e-10


def test_a_broken_neighborhood_fails_the_same_check(network, make_network, make_fields):
    """Two exchanged positions of the patch, or missing bonds at one site, are detected."""
    lattice = square(8)
    net, field = make_network(network, lattice), make_fields(lattice)
    graph = net.graph(lattice)
    # A private copy of the graph's operators, with one of them replaced.
    graph.__dict__["operators"] = Operators(graph.operators)
    broken = graph
    if network in PATCH_NETWORKS:
        table = patch_table(graph, net.patch_radius)
        exchanged = [0, 2, 5, *range(3, 5), 1, *range(6, table.shape[1])]
        graph.operators[patch_table.__wrapped__, net.patch_radius] = table[:, exchanged]
    else:
        dense = neighbor_sum(graph).matrix.to_dense()
        dense[:, :8] = 0
        graph.operators[(neighbor_sum.__wrapped__,)] = SparseMap(dense.to_sparse_csr())
    if network is baselines.GroupAveragedMLP:
        net.permutations = net.permutations[:-1]  # relabeling leaves an average unchanged
    assert symmetry_error(net, lattice, field, broken) > 1e-4


def test_forces_are_minus_the_gradient_of_the_energy(energy_network, make_network, make_fields):
    lattice, h = square(8), 1e-5
    net, field = make_network(energy_network, lattice), make_fields(lattice)[:1]
    graph = net.graph(lattice)
    forces = net(field, graph)[1][0]
    for site in (0, 7, 20):
        step = torch.zeros_like(field)
        step[0, site] = h
        slope = (net(field + step, graph)[0] - net(field - step, graph)[0]) / (2 * h)
        torch.testing.assert_close(-slope[0], forces[site], rtol=1e-7, atol=1e-9)


def test_training_through_the_force_reaches_every_weight_and_leaves_no_graph_without_grad(
    network, make_network, make_fields
):
    lattice = square(8)
    net, field = make_network(network, lattice), make_fields(lattice)
    graph = net.graph(lattice)
    net(field, graph)[1].square().sum().backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.ndim > 1}
    assert all(
        g is not None and g.isfinite().all() and g.abs().sum() > 0 for g in gradients.values()
    )
    with torch.no_grad():
        energy, forces = net(field, graph)
    assert not forces.requires_grad and (energy is None or not energy.requires_grad)


def test_samples_do_not_see_each_other(network, make_network, make_fields):
    lattice = square(8)
    net, field = make_network(network, lattice), make_fields(lattice)
    graph = net.graph(lattice)
    forces = net(field, graph)[1]
    changed = net(torch.cat([field[:1], 2 * field[1:]]), graph)[1]
    torch.testing.assert_close(changed[:1], forces[:1], rtol=0, atol=1e-12)
    torch.testing.assert_close(net(field[:1], graph)[1], forces[:1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("extent", [8, 6])
def test_same_parameters_on_every_extent(network, extent, make_network, make_fields):
    """A field tiled 2 × 2 has tiled forces and four times the energy, also for a wider patch."""
    small, large = square(extent), square(2 * extent)
    net, field = make_network(network, small), make_fields(small)
    tiled = field.view(-1, extent, extent).repeat(1, 2, 2).flatten(1)
    energy, forces = net(field, net.graph(small))
    tiled_energy, tiled_forces = net(tiled, net.graph(large))
    expected = forces.view(-1, extent, extent).repeat(1, 2, 2).flatten(1)
    torch.testing.assert_close(tiled_forces, expected, rtol=0, atol=1e-12)
    if energy is not None:
        torch.testing.assert_close(tiled_energy, 4 * energy, rtol=1e-12, atol=1e-12)


def test_a_description_rebuilds_the_network(network, make_network, make_fields):
    lattice = square(8)
    net, field = make_network(network, lattice), make_fields(lattice)
    again = build(describe(net), ForceNetwork, lattice).double()
    again.load_state_dict(net.state_dict())
    assert type(again) is network and describe(again) == describe(net)
    graph = net.graph(lattice)
    torch.testing.assert_close(again(field, graph), net(field, graph), rtol=0, atol=0)


def test_bad_arguments_are_told_in_one_line(network):
    for channels in ([], [8, 0]):
        with pytest.raises(ValueError, match="channels must be one or more widths of at least 1"):
            network(square(8), channels=channels)


@pytest.mark.parametrize("patch_network", PATCH_NETWORKS, ids=lambda network: network.__name__)
def test_lattices_that_a_patch_cannot_serve_are_told_in_one_line(patch_network):
    with pytest.raises(ValueError, match=r"lattice must .* got kagome"):
        patch_network(kagome(4))
    with pytest.raises(ValueError, match="field_scale must be positive, got 0"):
        patch_network(square(8), field_scale=0)
    open_lattice = square(extent=[8, 8], periodic=[True, False])
    with pytest.raises(ValueError, match="periodic along all axes"):
        patch_network(open_lattice, channels=[4]).graph(open_lattice)
