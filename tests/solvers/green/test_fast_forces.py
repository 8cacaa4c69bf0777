"""Compiled forces of a `GreenFunction`, as a force field uses them."""

import pytest
import torch

from lattgnn import native
from lattgnn.dynamics import Regular, VerletLangevin, initial_state, simulate
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein, Peierls
from lattgnn.lattice import chain, square
from lattgnn.run_records import RunRecord, describe_force_field
from lattgnn.solvers import ExactDiagonalization, GreenFunction

pytestmark = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")

# The kinds of poles of `test_programs`, so that the library is compiled only once.
SOLVER = GreenFunction(
    kT=0.1, mu=0.3, schedule=("ring1:2", "ring0:1", "ring0:0", "mean"), tolerance=1e-7
)


def test_forces_without_an_energy_are_those_of_the_solver():
    model = Holstein(square(6))
    field = torch.randn(3, 36, generator=torch.Generator().manual_seed(3))
    field[1] *= 50  # other poles than the rest of the batch
    fast, plain = ExactForceField(model, SOLVER, energy=False), ExactForceField(model, SOLVER)
    assert fast.writes_in_place and not plain.writes_in_place
    energy, forces = fast(field)
    _, expected = plain(field.double())
    assert energy is None and forces.dtype == torch.float32
    assert (forces - expected).abs().max() < 1e-5 * expected.abs().max()
    out = torch.empty_like(field)
    assert fast(field, out=out)[1] is out and torch.equal(out, forces)
    assert torch.equal(fast(field[1])[1], forces[1])


def test_other_solvers_and_models_give_forces_without_an_energy_too():
    field = torch.randn(16, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    force_field = ExactForceField(Holstein(square(4)), solver, energy=False)
    assert not force_field.writes_in_place
    energy, forces = force_field(field)
    assert energy is None
    assert torch.equal(forces, ExactForceField(Holstein(square(4)), solver)(field)[1])
    out = torch.empty_like(field)
    assert torch.equal(force_field(field, out=out)[1], forces) and torch.equal(out, forces)


def test_a_run_without_energies_is_described_and_made_again():
    force_field = ExactForceField(Holstein(square(6)), SOLVER, energy=False)
    described = describe_force_field(force_field)
    assert described["init_args"]["energy"] is False
    assert (
        "energy"
        not in describe_force_field(ExactForceField(Holstein(square(6)), SOLVER))["init_args"]
    )
    state = initial_state(force_field, n_replicas=2, field_std=2.0, seed=1)
    integrator = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)
    run = simulate(force_field, integrator, state, 4, Regular(2), config=described)
    assert "energy" not in run.arrays
    again = RunRecord(run).force_field()
    assert again.writes_in_place and not again.energy  # pyright: ignore[reportAttributeAccessIssue]


def test_where_there_are_no_compiled_forces():
    assert SOLVER.fast_forces(Peierls(square(6))) is None
    assert SOLVER.fast_forces(Holstein(chain(20))) is None  # messages alone, many rounds
    assert SOLVER.fast_forces(Holstein(square(6, periodic=False))) is None
    assert GreenFunction(kT=0.1, filling=0.5, block=1).fast_forces(Holstein(square(6))) is None


def test_bad_fields_are_refused():
    force_field = ExactForceField(Holstein(square(6)), SOLVER, energy=False)
    field = torch.zeros(36)
    with pytest.raises(InputError, match="out must be"):
        force_field(field, out=torch.empty(36, dtype=torch.float64))
    field[3] = torch.inf
    with pytest.raises(InputError, match="finite"):
        force_field(field)
    with pytest.raises(InputError, match="shape"):
        force_field(torch.zeros(35))
