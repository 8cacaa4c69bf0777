"""The code for GPUs, run on a pretended one: no waits, no transfers, and the numbers of the CPU."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from lattgnn.backends import TiledForces
from lattgnn.dynamics import (
    BAOAB,
    HeunLLG,
    MidpointLLG,
    OverdampedLangevin,
    Regular,
    RunawayFieldError,
    VerletLangevin,
    initial_spins,
    initial_state,
    runaway,
    simulate,
)
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import chain, square
from lattgnn.nn import OrbitNetwork
from lattgnn.solvers import ExactDiagonalization
from lattgnn.training import LitForceField
from tests.pretended_gpu import GPU, PretendedGPU

SHIPPED = ("holstein-square-small", "holstein-square-energy", "peierls-square", "kondo-square")
LANGEVIN = VerletLangevin(dt=0.05, kT=0.1, gamma=0.1, mass=1.0)
LLG = HeunLLG(dt=0.05, kT=0.1, alpha=0.1)
# The fields of these tests are not those of any training.
pytestmark = pytest.mark.filterwarnings("ignore:the run leaves the fields")


def start_of(force_field, device, dtype=torch.float32):
    """A random state, and an integrator that suits it."""
    if force_field.hamiltonian.field_type.is_spin:
        return initial_spins(force_field, 1, dtype=dtype, device=device), LLG
    return initial_state(force_field, 1, field_std=0.1, dtype=dtype, device=device), LANGEVIN


@pytest.fixture
def gpu():
    with PretendedGPU() as mode:
        yield mode


@pytest.mark.parametrize("name", [*SHIPPED[:3], pytest.param(SHIPPED[3], marks=pytest.mark.slow)])
def test_a_step_makes_the_host_wait_for_nothing_and_sends_nothing(gpu, name):
    force_field = LearnedForceField.pretrained(name, square(8), device=GPU)
    state, integrator = start_of(force_field, GPU)
    simulate(force_field, integrator, state, 2, Regular(2))  # tables are sent at the first use

    def counts(n_steps):
        gpu.reset()
        simulate(force_field, integrator, state, n_steps, Regular(n_steps))
        return gpu.waits, gpu.uploads

    few, many = counts(2), counts(5)
    assert few == many and not many[1]


@pytest.mark.parametrize(
    "integrator", [LANGEVIN, replace(LANGEVIN, gamma=0.0), BAOAB(0.05, 0.1, 0.1, 1.0),
                   OverdampedLangevin(0.05, 0.1, 1.0)], ids=repr)  # fmt: skip
def test_langevin_steps_wait_for_nothing(gpu, integrator):
    force_field = LearnedForceField.pretrained("holstein-square-small", square(8), device=GPU)
    state, _ = start_of(force_field, GPU)
    integrator.step(force_field, state)
    gpu.reset()
    integrator.step(force_field, state)
    assert not gpu.waits and not gpu.uploads


@pytest.mark.parametrize("integrator", [LLG, MidpointLLG(0.05, 0.1, 0.1)], ids=repr)
def test_spin_steps_wait_for_nothing(gpu, integrator):
    force_field = LearnedForceField.pretrained("kondo-square", square(8), device=GPU)
    state, _ = start_of(force_field, GPU)
    integrator.step(force_field, state)
    gpu.reset()
    integrator.step(force_field, state)
    assert not gpu.waits and not gpu.uploads


@pytest.mark.parametrize("name", ["holstein-square-small", "peierls-square"])
def test_tiles_wait_for_nothing_and_give_the_forces_of_the_whole_lattice(gpu, name):
    lattice = square(30, 20)
    force_field = LearnedForceField.pretrained(name, lattice)
    state, _ = start_of(force_field, "cpu", torch.float64)
    field, net = torch.cat([state.field, 2 * state.field]), force_field.net.double()
    _, exact = net(field, net.graph(lattice))
    tiles, on_gpu = TiledForces(net.to(GPU), lattice, core=10, batch=4), field.to(GPU)
    tiles(on_gpu)
    gpu.reset()
    _, found = tiles(on_gpu)
    assert not gpu.waits and not gpu.uploads
    torch.testing.assert_close(found.cpu(), exact.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [*SHIPPED[:3], pytest.param(SHIPPED[3], marks=pytest.mark.slow)])
def test_trajectories_are_those_of_the_cpu(gpu, name):
    frames = []
    for device in ("cpu", GPU):
        force_field = LearnedForceField.pretrained(name, square(8), device=device)
        state, integrator = start_of(force_field, device, torch.float64)
        frames.append(simulate(force_field, integrator, state, 6, Regular(3)).fields[:])
    # The networks are in float32, whose rounding depends on the order of the operations.
    torch.testing.assert_close(*map(torch.as_tensor, frames), rtol=1e-5, atol=1e-5)


class Explosive:
    """A force that grows with the field: |field| doubles about every step."""

    lattice = chain(6)
    field_shape = (6,)

    def __call__(self, field):
        return None, 400 * field


@pytest.mark.parametrize("interval", [1, 7, 100])
def test_a_runaway_field_is_found_at_the_same_step_and_site(gpu, monkeypatch, interval):
    monkeypatch.setattr(runaway, "CHECK_INTERVAL", interval)
    errors = []
    for device in ("cpu", GPU):
        state = initial_state(Explosive(), 1, field_std=0.1, device=device)
        with pytest.raises(RunawayFieldError) as caught:
            simulate(Explosive(), replace(LANGEVIN, kT=0.0), state, 200, Regular(50))
        errors.append((caught.value.step, caught.value.site, caught.value.value))
    assert errors[0][:2] == errors[1][:2]
    assert errors[0][2] == pytest.approx(errors[1][2])


def test_checks_do_not_change_the_bits(gpu, monkeypatch):
    force_field = LearnedForceField.pretrained("holstein-square-small", square(8), device=GPU)
    state, integrator = start_of(force_field, GPU)
    runs = []
    for interval in (1, 3, 100):
        monkeypatch.setattr(runaway, "CHECK_INTERVAL", interval)
        runs.append(simulate(force_field, integrator, state, 8, Regular(4)).fields[:])
    assert (runs[0] == runs[1]).all() and (runs[0] == runs[2]).all()


def test_steps_on_a_gpu_use_deterministic_algorithms_and_restore_the_setting(gpu):
    """Sums by atomic additions have another order each time, and a restart would lose its bits."""
    seen = []

    class Watching(Explosive):
        def __call__(self, field):
            seen.append(torch.are_deterministic_algorithms_enabled())
            return None, -field

    state = initial_state(Watching(), 1, device=GPU)
    seen.clear()
    simulate(Watching(), LANGEVIN, state, 3, Regular(3))
    assert seen == [True] * 3
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_errors_of_a_validation_batch_make_the_host_wait_for_nothing(gpu):
    batch = {
        name: torch.zeros(4, 16, device=GPU, dtype=torch.float32) for name in ("field", "forces")
    }
    batch["window"] = torch.tensor([0, 1, 2, 0], device=GPU)
    model = Holstein(square(4))
    module = LitForceField(
        partial(OrbitNetwork, cutoff=1.0, n_layers=1),
        model,
        ExactDiagonalization(kT=0.1, mu=0.0),
    ).to(GPU)
    module._evaluate("val", batch)
    gpu.reset()
    module._evaluate("val", batch)
    assert not gpu.waits and not gpu.uploads
