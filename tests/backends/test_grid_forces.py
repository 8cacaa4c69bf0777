"""Torch form of a network: its forces, symmetry, gradient and free extent."""

import subprocess
import sys

import pytest
import torch

from lattgnn.backends import linear_classical, stencil_network
from lattgnn.backends.grid_forces import BondSums, GridForces
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import (
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    site_permutations,
    square,
    translation_permutation,
    triangular,
)
from lattgnn.nn import OrbitNetwork
from tests.orbit_networks import orbit_network
from tests.patience import PATIENCE

BOUND = 1.75
LATTICES = [chain(6), square(4, 6), triangular(4), honeycomb(4), kagome(3), lieb(3), cubic(4)]
OPEN = [square(5, 6, periodic=(True, False)), honeycomb(4, periodic=(False, False))]
KINDS = [{"conservative": False}, {"conservative": True}]


def name(lattice) -> str:
    return f"{lattice.name}-{'x'.join(map(str, lattice.extent))}"


def make_network(lattice, bound: float | None = BOUND, std: float = 0.2, **options) -> OrbitNetwork:
    options = {"cutoff": 1.5 if lattice.dim < 3 else 1.0, "channels": 4, "n_layers": 2, **options}
    net = orbit_network(lattice, bound, **options).double()
    torch.manual_seed(1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return net


def grid_forces(net, lattice, classical=()) -> GridForces:
    network = stencil_network(net, lattice)
    assert network is not None
    return GridForces(network, lattice.periodic, classical)


def check_like_network(lattice, rng, **options):
    net = make_network(lattice, **options)
    field = 2 * torch.randn(3, lattice.n_sites, dtype=torch.float64, generator=rng)
    energy, forces = net(field, net.graph(lattice))
    grid_energy, found = grid_forces(net, lattice).on_sites(field, lattice.extent)
    scale = max(1.0, float(forces.detach().abs().max()))
    torch.testing.assert_close(found, forces.detach(), rtol=0, atol=1e-10 * scale)
    if energy is None:
        assert grid_energy is None
    else:
        torch.testing.assert_close(grid_energy, energy.detach(), rtol=1e-12, atol=1e-10 * scale)


@pytest.mark.parametrize("kind", KINDS, ids=["direct", "energy"])
@pytest.mark.parametrize("lattice", [*LATTICES, *OPEN], ids=name)
def test_like_the_network(lattice, kind, rng):
    """The hand-written gradient agrees with autograd, also at open boundaries."""
    check_like_network(lattice, rng, **kind)


@pytest.mark.parametrize("kind", KINDS, ids=["direct", "energy"])
@pytest.mark.parametrize(
    "options",
    [{"representation": "regular"}, {"odd": True}, {"bound": None}, {"field_scale": 0.3}],
    ids=["regular", "odd", "unbounded", "scale"],
)
def test_like_every_kind_of_network(options, kind, rng):
    for lattice in (square(4), lieb(3)):
        check_like_network(lattice, rng, **kind, **options)


@pytest.mark.parametrize("lattice", [square(4, 6), kagome(3), OPEN[1]], ids=name)
def test_forces_are_central_differences(lattice, rng):
    classical = linear_classical(Holstein(lattice))
    assert classical is not None
    forces = grid_forces(make_network(lattice, conservative=True), lattice, classical)
    field = 2 * torch.randn(1, lattice.n_sites, dtype=torch.float64, generator=rng)
    steps = 1e-5 * torch.eye(lattice.n_sites, dtype=torch.float64)
    up, down = (forces.on_sites(field + sign * steps, lattice.extent)[0] for sign in (1, -1))
    found = forces.on_sites(field, lattice.extent)[1][0]
    assert up is not None and down is not None
    scale = float(found.abs().max())
    torch.testing.assert_close(found, (down - up) / 2e-5, rtol=0, atol=1e-7 * scale)


def everywhere(field, sources):
    """[operations * batch, n_sites]: fields, site i from sources[:, i]."""
    return field[:, sources].transpose(0, 1).flatten(0, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=["direct", "energy"])
@pytest.mark.parametrize("lattice", [*LATTICES, OPEN[0]], ids=name)
def test_equivariance(lattice, kind, dtype, rng, float32_bound):
    """Every operation times a translation, for random, uniform and zero fields."""
    net = make_network(lattice, **kind)
    forces = grid_forces(net, lattice).to(dtype)
    random = 2 * torch.randn(lattice.n_sites, dtype=torch.float64, generator=rng)
    field = torch.stack([random, torch.full_like(random, 0.7), torch.zeros_like(random)]).to(dtype)
    energy, found = forces.on_sites(field, lattice.extent)
    tolerance = 1e-10 * max(1.0, float(found.abs().max()))
    energy_tolerance = 1e-10 * (1 + energy.abs()) if energy is not None else None
    if dtype == torch.float32:  # two evaluations, each within the bound
        energy_bound, bound = float32_bound(net, lattice, field)
        tolerance = 2 * bound
        energy_tolerance = None if energy_bound is None else 2 * energy_bound
    along = tuple(n + 1 if periodic else 0 for n, periodic in enumerate(lattice.periodic))
    shift = torch.tensor(translation_permutation(lattice, along))
    sources = shift[torch.tensor(site_permutations(lattice))].argsort(1)
    moved_energy, moved = forces.on_sites(everywhere(field, sources), lattice.extent)
    torch.testing.assert_close(moved, everywhere(found, sources), rtol=0, atol=tolerance)
    if energy is not None and moved_energy is not None and energy_tolerance is not None:
        assert ((moved_energy.view(-1, 3) - energy).abs() < energy_tolerance).all()


def test_a_kernel_that_lacks_one_bond_fails_the_same_check(rng):
    lattice = square(6)
    forces = grid_forces(make_network(lattice, std=0.4), lattice)
    conv = forces.get_submodule("layers.1.conv")
    assert isinstance(conv, BondSums)
    longest = max(conv.bonds[0], key=len)
    conv.bonds[0][conv.bonds[0].index(longest)] = longest[1:]
    field = torch.randn(1, 36, dtype=torch.float64, generator=rng)
    sources = torch.tensor(site_permutations(lattice)).argsort(1)
    found = everywhere(forces.on_sites(field, (6, 6))[1], sources)
    moved = forces.on_sites(everywhere(field, sources), (6, 6))[1]
    assert (moved - found).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS, ids=["direct", "energy"])
def test_one_module_serves_every_extent(kind, rng):
    net = make_network(honeycomb(4), **kind)
    forces = grid_forces(net, honeycomb(4))
    for extent in ((5, 7), (9, 4)):
        lattice = honeycomb(*extent)
        field = torch.randn(2, lattice.n_sites, dtype=torch.float64, generator=rng)
        expected = net(field, net.graph(lattice))[1].detach()
        torch.testing.assert_close(forces.on_sites(field, extent)[1], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("lattice", "cutoff", "small"),
    [
        (chain(12), 3.5, (1,)),
        (chain(12), 3.5, (2,)),
        (square(12), 2.5, (1, 3)),
        (kagome(6), 4.1, (1, 2)),
    ],
    ids=["chain1", "chain2", "square", "kagome"],
)
@pytest.mark.parametrize("kind", KINDS, ids=["direct", "energy"])
def test_a_torus_smaller_than_a_bond_is_a_periodic_field_on_a_larger_one(
    lattice, cutoff, small, kind, rng
):
    net = make_network(lattice, cutoff=cutoff, **kind)
    forces = grid_forces(net, lattice)
    assert max(forces.reach) > min(small)
    field = torch.randn(1, *small, lattice.n_sublattices, dtype=torch.float64, generator=rng)
    repeats = (1, *(big // n for big, n in zip(lattice.extent, small, strict=True)), 1)
    energy, found = forces(field)
    big_energy, big = forces(field.repeat(repeats))
    torch.testing.assert_close(found.repeat(repeats), big, rtol=0, atol=1e-10)
    if energy is not None and big_energy is not None:
        n_copies = torch.tensor(repeats).prod()
        torch.testing.assert_close(energy * n_copies, big_energy, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS, ids=["direct", "energy"])
@pytest.mark.parametrize("lattice", [square(4, 6), honeycomb(4), *OPEN], ids=name)
def test_the_classical_part(lattice, kind, rng):
    model = Holstein(lattice, k0=0.7, k1=0.3)
    classical = linear_classical(model)
    assert classical is not None
    net = make_network(lattice, **kind)
    field = torch.randn(2, lattice.n_sites, dtype=torch.float64, generator=rng)
    energy, forces = grid_forces(net, lattice).on_sites(field, lattice.extent)
    total_energy, total = grid_forces(net, lattice, classical).on_sites(field, lattice.extent)
    torch.testing.assert_close(total, forces + model.classical_forces(field), rtol=0, atol=1e-10)
    if energy is not None:
        torch.testing.assert_close(
            total_energy, energy + model.classical_energy(field), rtol=0, atol=1e-10
        )


def test_samples_of_a_batch_are_independent_and_the_field_is_left_alone(rng):
    forces = grid_forces(make_network(square(4), conservative=True), square(4))
    field = torch.randn(3, 4, 5, 1, dtype=torch.float64, generator=rng)
    before = field.clone()
    energy, found = forces(field)
    assert energy is not None and energy.dtype == torch.float64 and not found.requires_grad
    one_energy, one = forces(field[1:2])
    torch.testing.assert_close(found[1:2], one, rtol=0, atol=1e-12)
    torch.testing.assert_close(energy[1:2], one_energy, rtol=0, atol=1e-12)
    assert torch.equal(field, before) and found.is_contiguous()


COMPILED = """
import torch
from lattgnn.backends import stencil_network
from lattgnn.backends.grid_forces import GridForces
from lattgnn.lattice import square
from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.symmetry import FieldType

torch.manual_seed(0)
for conservative in (False, True):
    kind, hidden = FieldType(force_bound=1.75), HiddenChannels(channels=4)
    net = OrbitNetwork(square(8), kind, hidden=hidden, conservative=conservative)
    forces = GridForces(stencil_network(net, square(8)), (True, True)).float()
    compiled = torch.compile(forces, fullgraph=True, dynamic=True)
    for extent in ((8, 8), (12, 10)):
        field = 3 * torch.randn(2, *extent, 1)
        torch.testing.assert_close(compiled(field)[1], forces(field)[1], rtol=0, atol=1e-6)
"""


@pytest.mark.slow
def test_compiled_forces_are_the_same():
    """Run in a subprocess, because the shape checks of these tests cannot be traced."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], check=True, timeout=PATIENCE)
