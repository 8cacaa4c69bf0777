"""Tiled networks: the forces and symmetry of the whole lattice, and exact receptive fields."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lattgnn.backends.tiled_forces import TiledForces
from lattgnn.forcefield import LearnedForceField
from lattgnn.graph import apply_operation
from lattgnn.lattice import (
    chain,
    compatible_operations,
    cubic,
    honeycomb,
    kagome,
    lieb,
    site_permutations,
    square,
    translation_permutation,
    triangular,
)
from lattgnn.nn import ConvLayers, GraphNetwork, baselines
from lattgnn.symmetry import FieldType, field_representation
from tests.orbit_networks import orbit_network

SPINS = {"field": "3 trivial", "is_spin": True, "spin_channels": 2, "nonlinearity": "square"}
VECTORS = {"field": "vector", "representation": "trivial + vector"}
MIXED = (False, True)


def randomized(net, std=0.3):
    torch.manual_seed(1)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=std)
    return net.double()


def network(lattice, **options):
    return randomized(orbit_network(lattice, 1.75, **{"channels": 3, "n_layers": 1, **options}))


def sample(lattice, net, rng, batch=2):
    n = field_representation(lattice.cell, net.field_type.representation).n_components
    field = torch.randn(batch, lattice.n_sites, n, generator=rng, dtype=torch.float64)
    return nn.functional.normalize(field, dim=-1) if net.field_type.is_spin else field.squeeze(-1)


def whole(net, lattice, field):
    with torch.no_grad():
        return net(field, net.graph(lattice))


def rms(x):
    return x.square().mean().sqrt()


CASES = [
    (square(14, 11), {}, 5),
    (square(14, 11, periodic=False), {**VECTORS, "representation": "regular", "n_layers": 2}, 5),
    (
        square(14, 12, periodic=MIXED),
        {"conservative": True, "odd": True, "representation": "regular"},
        4,
    ),
    (square(13, periodic=MIXED), {**SPINS, "conservative": True}, 3),
    (triangular(12), {**SPINS, "conservative": True, "tangent": True}, 4),
    (honeycomb(10, 9, periodic=MIXED), {**VECTORS, "conservative": True}, (4, 5)),
    (kagome(8), {**VECTORS, "nonlinearity": "product", "cutoff": 1.0}, 2),
    (lieb(9, periodic=MIXED), {**SPINS, "conservative": True, "cutoff": 1.0}, 3),
    (chain(40, periodic=False), {"cutoff": 2.0, "conservative": True, "n_layers": 3}, 6),
    (cubic(9, periodic=(True, False, True)), {"cutoff": 1.0}, 4),
]


@pytest.mark.parametrize(
    "lattice, options, core", CASES, ids=lambda case: getattr(case, "name", None)
)
def test_tiles_give_the_forces_of_the_whole_lattice(lattice, options, core, rng):
    """Forces and energies to 1e-12, for any number of tiles in a batch."""
    net = network(lattice, **options)
    field = sample(lattice, net, rng)
    tiled = TiledForces(net, lattice, core)
    assert len(tiled.windows) > 1 and tiled.tile.n_sites < lattice.n_sites
    energy, forces = whole(net, lattice, field)
    scale = float(forces.abs().max())
    for batch in (None, 1):
        found, tiled_forces = TiledForces(net, lattice, core, batch)(field)
        torch.testing.assert_close(tiled_forces, forces, rtol=0, atol=1e-12 * scale)
        assert (energy is None) == (found is None)
        if energy is not None:
            torch.testing.assert_close(found, energy, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "kind",
    [GraphNetwork, baselines.EnergyMPNN, baselines.BehlerParrinello],
    ids=lambda k: k.__name__,
)
def test_baselines_in_tiles(kind, rng):
    lattice = square(22)
    if kind is GraphNetwork:
        net = kind(lattice, FieldType(), ConvLayers("torch_geometric.nn.RGCNConv", (4, 3)))
    else:
        net = kind(lattice, channels=(4, 3))
    net = randomized(net)
    field = sample(lattice, net, rng)
    tiled = TiledForces(net, lattice, 7)
    assert len(tiled.windows) == 16
    energy, forces = whole(net, lattice, field)
    found, tiled_forces = tiled(field)
    torch.testing.assert_close(tiled_forces, forces, rtol=0, atol=1e-12 * float(forces.abs().max()))
    if energy is not None:
        torch.testing.assert_close(found, energy, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "lattice, options",
    [
        (square(17), {**VECTORS, "representation": "regular"}),
        (square(17), {"cutoff": 2.0}),
        (square(17), {**SPINS, "conservative": True}),
        (triangular(13), {"conservative": True, "n_layers": 2}),
        (kagome(9), {**VECTORS, "n_layers": 2, "cutoff": 1.0}),
        # A field of type A2 can be read along bonds only.
        (square(17), {"field": "A2", "representation": "A1 + vector"}),
    ],
)
def test_the_receptive_field_is_exact(lattice, options, rng):
    """The output on a site depends on exactly the receptive field, along every axis."""
    net = network(lattice, **options)
    graph, field = net.graph(lattice), sample(lattice, net, rng, 1).requires_grad_()
    cell = tuple(e // 2 for e in lattice.extent)
    center = [lattice.site_index(cell, s) for s in range(lattice.n_sublattices)]
    y = net.site_energies(field, graph) if net.conservative else net(field, graph)[1]
    (gradient,) = torch.autograd.grad(y[0, center].square().sum(), field)
    seen = gradient[0].reshape(lattice.n_sites, -1).abs().amax(1).numpy() > 0
    away = np.abs(lattice.cells - np.array(cell))
    assert net.receptive_field is not None and 2 * max(net.receptive_field) < min(lattice.extent)
    assert tuple(away[seen].max(0)) == net.receptive_field


@pytest.mark.parametrize(
    "options", [{**VECTORS, "representation": "regular"}, {**SPINS, "conservative": True}]
)
def test_tiles_are_as_symmetric_as_the_lattice(options, rng):
    """Every operation of the lattice, followed by a translation that moves the cuts, to 1e-10."""
    lattice = square(10)
    net = network(lattice, cutoff=1.0, **options)
    field, tiled = sample(lattice, net, rng), TiledForces(net, lattice, 3)
    energy, forces = tiled(field)
    representation = field_representation(lattice.cell, net.field_type.representation)
    shift = torch.from_numpy(translation_permutation(lattice, (1, 2)))
    permutations = torch.from_numpy(site_permutations(lattice))
    for operation, permutation in zip(compatible_operations(lattice), permutations, strict=True):
        matrices = representation.site_matrices(operation)
        moved = apply_operation(field, shift[permutation], matrices)
        found, moved_forces = tiled(moved)
        expected = apply_operation(forces, shift[permutation], matrices)
        torch.testing.assert_close(
            moved_forces, expected, rtol=0, atol=1e-10 * float(forces.abs().max())
        )
        if energy is not None:
            torch.testing.assert_close(found, energy, rtol=1e-10, atol=0)
    assert len(tiled.windows) == 16


def test_an_axis_that_a_tile_would_fill_stays_whole(rng):
    lattice = square(30, 8)
    net = network(lattice)
    assert net.receptive_field == (1, 1)
    assert TiledForces(net, lattice, 6).tile.extent == (8, 6)
    assert TiledForces(net, lattice, 30).tile.extent == lattice.extent
    net.receptive_field = None  # unknown receptive field
    assert TiledForces(net, lattice, 6).tile.extent == lattice.extent


@pytest.mark.parametrize("name, scale", [("peierls-square", 0.1), ("kondo-square", 1.0)])
def test_pretrained_networks_in_tiles(name, scale, rng, float32_bound):
    """In single precision, tiles are as accurate as the whole lattice."""
    lattice = square(26)
    net = LearnedForceField.pretrained(name, lattice=lattice).net
    field = scale * sample(lattice, net, rng, 1)
    _, exact = whole(copy.deepcopy(net).double(), lattice, field)
    _, expected = whole(net, lattice, field.float())
    _, forces = TiledForces(net, lattice, 10, 1)(field.float())
    # Sums in another order round differently, so either of the two may be the more accurate one.
    assert rms(forces - exact) < 4 * rms(expected - exact)
    assert (forces - exact).abs().max() < float32_bound(net, lattice, field.float())[1]


def test_a_copy_is_frozen(rng):
    """Later training does not change the tiles, and using the tiles does not change the network."""
    lattice = square(14)
    net = network(lattice, conservative=True)
    tiled, field = TiledForces(net, lattice, 5), sample(lattice, net, rng)
    before = tiled(field)[1]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert all(parameter.requires_grad for parameter in net.parameters())
    torch.testing.assert_close(tiled(field)[1], before, rtol=0, atol=0)


def test_arguments_that_do_not_fit_are_refused():
    lattice = square(14)
    net = network(lattice)
    with pytest.raises(ValueError, match="core must be .* got 0 and None. Use core=64"):
        TiledForces(net, lattice, 0)
    with pytest.raises(ValueError, match="each of 2 axes.*got \\(4,\\)"):
        TiledForces(net, lattice, (4,))
    with pytest.raises(NotImplementedError, match="must be conservative .* OrbitNetwork without"):
        net.site_energies(torch.zeros(1, 196, dtype=torch.float64), net.graph(lattice))
