"""Compiled forces of a `GreenFunction`, as a force field uses them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lattgnn import native
from lattgnn.dynamics import Regular, VerletLangevin, initial_state, simulate
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import chain, honeycomb, square
from lattgnn.run_records import RunRecord, describe_force_field
from lattgnn.solvers import ExactDiagonalization, GreenFunction
from lattgnn.solvers.green import fast_forces
from lattgnn.solvers.green.density_forces import DensityForces

needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
pytestmark = needs_compiler

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
    assert isinstance(again, ExactForceField)
    assert again.writes_in_place and not again.energy


def test_where_there_are_no_compiled_forces():
    assert SOLVER.fast_forces(Holstein(chain(20))) is None  # messages alone, many rounds
    assert SOLVER.fast_forces(Holstein(square(6, periodic=False))) is None
    conservative = replace(SOLVER, conservative=True)
    assert conservative.fast_forces(Holstein(square(6))) is None


@pytest.mark.parametrize(
    ("model", "ensemble"),
    [
        (Peierls(square(7)), {"mu": 0.3}),
        (JahnTeller(square(6)), {"filling": 0.4}),
        pytest.param(DoubleExchange(square(5)), {"mu": -3.0}, marks=pytest.mark.slow),
    ],
)
def test_other_models_have_forces_in_one_pass_if_no_energy_is_wanted(model, ensemble, monkeypatch):
    monkeypatch.setenv("LATTGNN_NATIVE", "0")  # the compiled programs have tests of their own
    solver = replace(SOLVER, **{"mu": None, **ensemble})
    fast, plain = (ExactForceField(model, solver, energy=energy) for energy in (False, True))
    assert fast.writes_in_place and not ExactForceField(model, solver, energy=None).writes_in_place
    generator = torch.Generator().manual_seed(5)
    field = 0.5 * torch.randn(2, *model.field_shape, generator=generator, dtype=torch.float64)
    expected = plain(field)[1]
    out = torch.empty_like(field)
    assert fast(field, out=out)[0] is None
    assert (out - expected).abs().max() < 1e-7
    single = fast(field.float())[1]
    assert single.dtype == torch.float32 and (single - expected).abs().max() < 5e-5


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("model", [Peierls(square(7)), DoubleExchange(square(5))])
def test_compiled_forces_of_other_models_in_float32(model):
    fast = ExactForceField(model, replace(SOLVER, mu=-1.0), energy=False)
    field = 0.5 * torch.randn(*model.field_shape, generator=torch.Generator().manual_seed(5))
    expected = ExactForceField(model, replace(SOLVER, mu=-1.0))(field.double())[1]
    assert (fast(field)[1] - expected).abs().max() < 5e-5 and fast.is_compiled


@pytest.mark.parametrize(
    ("lattice", "dtype"), [(square(6), torch.float64), (honeycomb(5), torch.float32)]
)
def test_at_fixed_filling_forces_have_the_number_of_electrons(lattice, dtype, monkeypatch):
    monkeypatch.setenv("LATTGNN_NATIVE", "0")  # nothing to compile for another lattice
    model = Holstein(lattice, k1=0.1)
    generator = torch.Generator().manual_seed(5)
    field = 2 * torch.randn(2, model.n_states, generator=generator).to(dtype)
    solver = replace(SOLVER, mu=None, filling=0.4)
    fast, plain = (ExactForceField(model, solver, energy=energy) for energy in (False, True))
    forces = fast(field)[1]
    expected = plain(field.double())[1]
    assert fast.writes_in_place and forces.dtype == dtype
    assert (forces - expected).abs().max() < (1e-8 if dtype == torch.float64 else 2e-5)
    density = (forces - model.classical_forces(field)).double() / model.g + 0.5
    n_wrong = density.sum(1) - 0.4 * model.n_states
    assert n_wrong.abs().max() < (1e-7 if dtype == torch.float64 else 1e-4)
    assert torch.equal(fast(field[1])[1], forces[1])


def test_a_run_at_fixed_filling_starts_from_the_last_chemical_potential(tmp_path, monkeypatch):
    solver = replace(SOLVER, mu=None, filling=0.4)
    force_field = ExactForceField(Holstein(square(6)), solver, energy=False)
    state = initial_state(force_field, n_replicas=2, field_std=2.0, seed=1)
    integrator = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)
    whole = simulate(force_field, integrator, state, 6, Regular(3))
    simulate(force_field, integrator, state, 3, Regular(3), path=tmp_path / "run")
    longer = simulate(force_field, integrator, state, 6, Regular(3), path=tmp_path / "run")
    assert np.array_equal(whole.arrays["field"][-1], longer.arrays["field"][-1])
    calls, compute = [], DensityForces.__call__

    def counted(*arguments):
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(DensityForces, "__call__", counted)
    with force_field.warm_start():
        force_field(state.field)
        cold = len(calls)
        force_field(state.field)
    assert len(calls) - cold < cold / 2


def test_float32_is_compared_with_float64_at_the_first_call(monkeypatch):
    force_field = ExactForceField(Holstein(square(6)), SOLVER, energy=False)
    field = torch.randn(36, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(fast_forces, "ROUNDING", -1.0)
    with pytest.raises(InputError, match="in float32 are not accurate enough"):
        force_field(field)
    assert torch.isfinite(force_field(field.double())[1]).all()
    monkeypatch.undo()
    force_field(field)
    monkeypatch.setattr(fast_forces, "ROUNDING", -1.0)
    force_field(field)  # no second time


def test_without_a_compiler_forces_run_as_tensor_operations(monkeypatch):
    field = torch.randn(2, 36, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    compiled = ExactForceField(Holstein(square(6)), SOLVER, energy=None)
    monkeypatch.setenv("LATTGNN_NATIVE", "0")
    tensors = ExactForceField(Holstein(square(6)), SOLVER, energy=None)
    assert compiled.is_compiled and tensors.writes_in_place and not tensors.is_compiled
    assert (tensors(field)[1] - compiled(field)[1]).abs().max() < 1e-12


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
