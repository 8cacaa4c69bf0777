"""Margins are as wide as the solver looks, and patches small enough to be solved at once."""

import pytest
import torch

from lattgnn.audit import PatchShape, patch_shape
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import chain, cubic, honeycomb, kagome, square, triangular
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization, GreenFunction
from lattgnn.solvers.reach import solver_reach

EXACT = ExactDiagonalization(kT=0.1, mu=0.0)
DOMAINS = DomainDiagonalization(kT=0.1, mu=0.0, core=6, buffer=4)


@pytest.mark.parametrize("lattice", [chain(500), square(60), kagome(40), cubic(16)])
@pytest.mark.parametrize("model", [Holstein, DoubleExchange])
def test_a_patch_for_exact_diagonalization_has_about_600_states(lattice, model):
    shape = patch_shape(model(lattice), EXACT)
    n_states = shape.patch_lattice.n_sites * model.n_orbitals
    # Twice as many only where the smallest margin needs them, in three dimensions.
    assert n_states <= (600 if lattice.dim < 3 else 1024)
    assert lattice.dim == 1 or n_states >= 200
    margins = {(e - c) // 2 for e, c in zip(shape.extent, shape.core, strict=True)}
    assert min(margins) >= 3
    assert min(shape.core) >= 2


def test_a_patch_for_domains_is_one_domain():
    model = Holstein(square(40))
    shape = patch_shape(model, DOMAINS)
    assert (shape.core, shape.extent) == ((6, 6), (14, 14))
    small, field = Holstein(shape.patch_lattice), torch.ones(196, dtype=torch.float64)
    _, whole = ExactForceField(small, EXACT)(field)
    assert torch.allclose(ExactForceField(small, DOMAINS)(field)[1], whole)


@pytest.mark.parametrize("lattice", [square(20), triangular(18), honeycomb(14)])
def test_the_margin_of_a_green_function_holds_all_that_it_sees(lattice, rng):
    solver = GreenFunction(kT=0.1, mu=0.0, schedule=("ring1:2", "ring0:1", "mean"))
    model = Holstein(lattice)
    field = 3 * torch.randn(lattice.n_sites, generator=rng, dtype=torch.float64)
    _, right = ExactForceField(model, solver)(field)
    reach = solver_reach(solver, model)
    assert reach is not None
    shape = PatchShape.of(lattice, 2, reach)
    assert not shape.is_whole
    patch = shape.cut((5, 3))
    _, found = ExactForceField(Holstein(shape.patch_lattice), solver)(field[patch.sites])
    # The poles follow the bounds of the spectrum, which are those of the patch.
    assert torch.allclose(found[patch.core], right[patch.core_sites], atol=1e-4)


def test_messages_on_a_chain_have_no_end():
    solver = GreenFunction(kT=0.1, mu=0.0, block=0)
    assert solver_reach(solver, Holstein(chain(40))) is None


def test_core_and_halo_can_be_given():
    shape = patch_shape(Holstein(square(40)), EXACT, core=5, halo=2)
    assert (shape.core, shape.extent) == ((5, 5), (9, 9))
