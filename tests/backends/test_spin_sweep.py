"""Compiled code for spins: the forces of the network, and the same bits for any tiles."""

import copy

import numpy as np
import pytest
import torch

from lattgnn.backends import NativeForces, stencil_network
from lattgnn.dynamics import HeunLLG, Regular, initial_spins, simulate
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import DoubleExchange
from lattgnn.lattice import Lattice, chain, cubic, kagome, lieb, square, triangular
from lattgnn.native import library
from lattgnn.solvers import ExactDiagonalization
from tests.orbit_networks import orbit_network

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")

BOUND = 3.5
SPINS = {"field": "3 trivial", "is_spin": True, "channels": 4, "spin_channels": 3}
ENERGY = {"conservative": True, "nonlinearity": "square"}
CASES = [
    (square(6, 7), {}),
    (square(6), {"tangent": True}),
    (square(6), {"channels": 13, "n_layers": 1}),  # more outputs than one set of registers holds
    (square(6), {"conservative": False}),
    (square(6), {"conservative": False, "tangent": True, "nonlinearity": "gate"}),
    (square(6), {"representation": "regular", "channels": 1, "spin_channels": 1, "n_layers": 1}),
    (triangular(5, 6), {"cutoff": 1.75}),
    (kagome(3, 4), {}),
    (lieb(4, 3), {}),
    (lieb(4, 3), {"conservative": False}),
    (chain(30), {"cutoff": 2.0}),
    (cubic(3, 4, 5), {"n_layers": 1, "cutoff": 1.0}),
]


@pytest.fixture
def make_network(randomized):
    def make(lattice, bound=BOUND, std=0.3, **options):
        return randomized(orbit_network(lattice, bound, **SPINS | ENERGY | options), std)

    return make


def strip(*extent, periodic):
    plane = square(4)
    return Lattice(plane.primitive_vectors, plane.basis, extent, periodic, "square")


def spins(lattice, rng, n=2):
    """Random spins of many lengths, except in the last field, where all are parallel."""
    field = torch.nn.functional.normalize(torch.randn(n, lattice.n_sites, 3, generator=rng), dim=-1)
    field[-1] = torch.tensor([0.6, 0.0, -0.8])
    return field * (0.5 + torch.rand(n, lattice.n_sites, 1, generator=rng))


def compiled(net, lattice, **options):
    network = stencil_network(net, lattice)
    assert network is not None
    return NativeForces(network, lattice, **options)


def check(net, lattice, rng, float32_bound):
    """Against the network in double precision."""
    field = spins(lattice, rng)
    energy, forces = compiled(net, lattice)(field)
    exact = copy.deepcopy(net).double()
    with torch.no_grad():
        right_energy, right = exact(field.double(), exact.graph(lattice))
    assert right.abs().max() > 0.01
    energy_bound, force_bound = float32_bound(net, lattice, field)
    torch.testing.assert_close(forces.double(), right, rtol=0, atol=force_bound)
    assert (energy is None) == (right_energy is None)
    if energy is not None:
        assert ((energy - right_energy).abs() < energy_bound).all()


@pytest.mark.parametrize(
    ("lattice", "options"), CASES, ids=lambda x: getattr(x, "name", str(x).replace(" ", ""))
)
def test_forces_and_energies_are_those_of_the_network(
    lattice, options, make_network, rng, float32_bound
):
    check(make_network(lattice, **options), lattice, rng, float32_bound)


@pytest.mark.parametrize("conservative", [True, False])
@pytest.mark.parametrize("periodic", [(True, False), (False, True), (False, False)], ids=str)
def test_open_boundaries(periodic, conservative, make_network, rng, float32_bound):
    """Functions of bonds that do not exist are absent, also those that do not vanish for S = 0."""
    lattice = strip(6, 7, periodic=periodic)
    check(make_network(lattice, conservative=conservative), lattice, rng, float32_bound)


def test_without_a_bound(make_network, rng, float32_bound):
    for conservative in (True, False):
        net = make_network(square(6), bound=None, conservative=conservative)
        check(net, square(6), rng, float32_bound)


@pytest.mark.parametrize("conservative", [True, False])
@pytest.mark.parametrize("make", [square, kagome])
def test_the_same_bits_in_any_tiles_threads_and_batch(make, conservative, make_network, rng):
    lattice = make(*{square: (9, 150), kagome: (7, 140)}[make])
    net = make_network(lattice, channels=2, spin_channels=1, n_layers=1, conservative=conservative)
    field = spins(lattice, rng, n=3)
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


def test_a_learned_run_uses_the_compiled_code_and_keeps_the_length(make_network):
    lattice = square(6)
    net, model = make_network(lattice, std=0.1), DoubleExchange(lattice)
    learned = LearnedForceField(net, model, ExactDiagonalization(kT=0.1, mu=-3.5))
    own = LearnedForceField(net, model, learned.solver, fast=False)
    assert learned.is_compiled and not own.is_compiled
    state = initial_spins(learned, seed=0, dtype=torch.float32)
    runs = [
        simulate(force_field, HeunLLG(dt=0.05, kT=0.0, alpha=0.1), state, 4, Regular(4))
        for force_field in (learned, own)
    ]
    learned_spins, own_spins = (run.fields[-1] for run in runs)
    np.testing.assert_allclose(learned_spins, own_spins, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(learned_spins, axis=-1), 1, rtol=0, atol=1e-6)


def test_nan_and_infinity_are_refused(make_network, rng):
    lattice = square(6)
    forces, field = compiled(make_network(lattice), lattice), spins(lattice, rng)
    for number in (torch.nan, torch.inf):
        wrong = field.clone()
        wrong[1, 7, 2] = number
        with pytest.raises(ValueError, match=f"got {number} at index .1, 7, 2"):
            forces(wrong)
    assert forces(field)[1].isfinite().all()
