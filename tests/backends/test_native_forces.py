"""Compiled code: forces of the network on any lattice, and the same bits for any tiles."""

import copy

import pytest
import torch

from lattgnn.backends import NativeForces, linear_classical, stencil_network
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import (
    Lattice,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    square,
    staggered_square,
    triangular,
)
from lattgnn.native import library
from tests.orbit_networks import orbit_network

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")

LATTICES = [
    chain(40),
    square(6),
    square(9, 13),
    triangular(5, 6),
    honeycomb(4, 5),
    kagome(3, 4),
    lieb(4, 3),
]
LATTICES += [cubic(4, 5, 6), staggered_square(4, 5), shastry_sutherland(3, 4)]
SQUARE = square(4)


def strip(*extent, periodic):
    return Lattice(SQUARE.primitive_vectors, SQUARE.basis, extent, periodic, "square")


@pytest.fixture
def make_network(randomized):
    def make(lattice, channels=5, **options):
        return randomized(orbit_network(lattice, 1.75, channels=channels, **options), std=0.3)

    return make


def compiled(net, lattice, **options):
    network = stencil_network(net, lattice)
    assert network is not None
    return NativeForces(network, lattice, **options)


def check(net, lattice, rng, float32_bound):
    """Against the network in double precision."""
    field = 3 * torch.randn(2, lattice.n_sites, generator=rng)
    field[1, :] = 0.4  # a uniform field keeps every symmetry
    kernel = compiled(net, lattice)
    energy, forces = kernel(field)
    try:
        torch.set_num_threads(3)  # does not divide the batch of 2: the lattice is swept row by row
        assert torch.equal(kernel(field)[1], forces)
    finally:
        torch.set_num_threads(1)
    exact = copy.deepcopy(net).double()
    with torch.no_grad():
        right_energy, right = exact(field.double(), exact.graph(lattice))
    assert right.abs().max() > 0.01
    energy_bound, force_bound = float32_bound(net, lattice, field)
    torch.testing.assert_close(forces.double(), right, rtol=0, atol=force_bound)
    assert (energy is None) == (right_energy is None)
    if energy is not None:
        assert ((energy - right_energy).abs() < energy_bound).all()


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: f"{lattice.name}{lattice.extent}")
def test_forces_and_energies_are_those_of_the_network(
    lattice, conservative, make_network, rng, float32_bound
):
    check(make_network(lattice, conservative=conservative), lattice, rng, float32_bound)


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"odd": True},
        {"representation": "regular", "channels": 2},
        {"representation": "regular", "channels": 2, "odd": True},
        {"cutoff": 2.3},
        {"channels": 13, "n_layers": 1},  # more outputs than one set of registers holds
        {"channels": 27},
    ],
    ids=str,
)
def test_other_networks_of_scalars(options, conservative, make_network, rng, float32_bound):
    lattice = square(10)
    check(make_network(lattice, conservative=conservative, **options), lattice, rng, float32_bound)


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("periodic", [(True, False), (False, True), (False, False)], ids=str)
def test_open_boundaries(periodic, conservative, make_network, rng, float32_bound):
    lattice = strip(7, 11, periodic=periodic)
    check(make_network(lattice, conservative=conservative), lattice, rng, float32_bound)


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize(
    ("extent", "periodic"),
    [((9, 1), (True, False)), ((1, 9), (False, True)), ((9, 1), False), ((1, 1), False)],
    ids=str,
)
def test_rows_of_one_cell(extent, periodic, conservative, make_network, rng, float32_bound):
    lattice = strip(*extent, periodic=periodic)
    check(make_network(lattice, conservative=conservative), lattice, rng, float32_bound)


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("make", [square, kagome, cubic, chain])
def test_the_same_bits_in_any_tiles_threads_and_batch(
    make, periodic, conservative, make_network, rng
):
    extent = {square: (21, 150), kagome: (10, 140), cubic: (5, 140, 4), chain: (400,)}[make]
    crystal = make(*extent)
    lattice = Lattice(crystal.primitive_vectors, crystal.basis, extent, periodic)
    net = make_network(lattice, channels=3, conservative=conservative)
    field = 3 * torch.randn(3, lattice.n_sites, generator=rng)
    energy, forces = compiled(net, lattice, tile_bytes=10**9)(field)
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            cut = compiled(net, lattice, tile_bytes=1)
            assert cut.n_tiles > 1
            other_energy, other = cut(field)
            assert torch.equal(other, forces)
            if energy is not None:
                torch.testing.assert_close(other_energy, energy, rtol=1e-12, atol=0)
            assert torch.equal(cut(field[1:2].clone())[1], forces[1:2])
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize(
    "lattice", [square(8), triangular(6), honeycomb(4), kagome(4), lieb(4), cubic(4)]
)
def test_equivariance(lattice, conservative, make_network, symmetry_error, float32_symmetry_bound):
    net = make_network(lattice, conservative=conservative)
    forces = compiled(net, lattice)
    error = symmetry_error(lambda q, _: forces(q), lattice, "trivial", graph=0, dtype=torch.float32)
    assert error < float32_symmetry_bound(net, lattice, "trivial") < 1e-4


def test_odd_networks_are_odd(make_network, rng, float32_bound):
    lattice = square(8)
    net = make_network(lattice, odd=True)
    forces = compiled(net, lattice)
    field = torch.randn(1, 64, generator=rng)
    _, bound = float32_bound(net, lattice, field)
    torch.testing.assert_close(forces(-field)[1], -forces(field)[1], rtol=0, atol=2 * bound)


def test_a_network_whose_weights_break_a_symmetry_is_noticed(make_network, symmetry_error):
    lattice = square(8)
    network = stencil_network(make_network(lattice), lattice)
    assert network is not None
    bonds = network.layers[1].kernels[0][1].bonds
    assert len(bonds) == 4
    object.__setattr__(network.layers[1].kernels[0][1], "bonds", bonds[:3])
    forces = NativeForces(network, lattice)
    assert (
        symmetry_error(lambda q, _: forces(q), lattice, "trivial", graph=0, dtype=torch.float32)
        > 1e-3
    )


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("lattice", [square(6, 8), kagome(4), strip(6, 5, periodic=(False, True))])
def test_the_classical_part_is_that_of_the_hamiltonian(lattice, conservative, make_network, rng):
    net, model = (
        make_network(lattice, conservative=conservative),
        Holstein(lattice, k0=1.3, k1=0.21),
    )
    field = torch.randn(2, lattice.n_sites, generator=rng)
    energy, forces = compiled(net, lattice)(field)
    total_energy, total = compiled(net, lattice, classical=linear_classical(model))(field)
    torch.testing.assert_close(total - forces, model.classical_forces(field), rtol=0, atol=1e-5)
    if energy is not None and total_energy is not None:
        elastic = model.classical_energy(field.double())
        torch.testing.assert_close(total_energy - energy, elastic, rtol=1e-5, atol=1e-4)


def test_forces_are_written_where_they_are_wanted_and_nan_does_not_stay(make_network, rng):
    lattice = square(9)
    forces = compiled(make_network(lattice, conservative=True), lattice)
    field, out = torch.randn(2, 81, generator=rng), torch.empty(2, 81)
    right = forces(field)[1]
    assert forces(field, out)[1] is out and torch.equal(out, right)
    for number in (torch.nan, torch.inf):
        with pytest.raises(
            ValueError, match=f"field must be finite, got {number} at index .1, 40.*Use"
        ):
            forces(torch.where(torch.arange(162).view(2, 81) == 121, number, field))
    assert torch.equal(forces(field)[1], right)
