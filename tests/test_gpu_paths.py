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
from lattgnn.dynamics.state import State
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import chain, square
from lattgnn.nn import OrbitNetwork, baselines
from lattgnn.run_records import describe_force_field
from lattgnn.solvers import Chebyshev, DomainDiagonalization, ExactDiagonalization
from lattgnn.symmetry import FieldType
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


class Springs:
    """Harmonic forces on a chain, for fields of any number of components."""

    def __init__(self, field_shape: tuple[int, ...]) -> None:
        self.field_shape, self.lattice = field_shape, chain(field_shape[0])

    def __call__(self, field):
        return None, -field


SOLVERS = [
    ExactDiagonalization(kT=0.1, mu=0.0),
    ExactDiagonalization(kT=0.1, filling=0.4),
    DomainDiagonalization(kT=0.2, mu=0.1, core=2, buffer=2),
    Chebyshev(kT=0.4, filling=0.4, distance=3),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize("model", [Holstein(square(6)), DoubleExchange(square(6))])
def test_exact_forces_are_computed_on_the_device(gpu, model, solver, rng):
    field = torch.randn(2, *model.field_shape, generator=rng, dtype=torch.float64)
    if model.field_type.is_spin:
        field = torch.nn.functional.normalize(field, dim=-1)
    force_field = ExactForceField(model, solver)
    expected, found = force_field(field), force_field(field.to(GPU))
    for one, other in zip(expected, found, strict=True):
        assert other.device == GPU
        torch.testing.assert_close(other.cpu(), one, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("integrator", [
    VerletLangevin(0.05, kT=(0.1, 0.2), gamma=(0.1, 0.0), mass=(1.0, 2.0)),
    replace(LANGEVIN, gamma=1e-4)], ids=repr)  # fmt: skip
def test_parameters_of_components_and_small_friction_wait_for_nothing(gpu, integrator):
    """Both are done in double precision, by tables that stay on the device."""
    force_field = Springs((6, 2))
    field, momentum, forces = torch.ones(3, 2, 6, 2, dtype=torch.float32).to(GPU)
    state = State(field, momentum, forces)
    integrator.step(force_field, state)
    gpu.reset()
    integrator.step(force_field, state)
    assert not gpu.waits and not gpu.uploads


def test_the_run_of_a_gpu_continues_on_the_cpu(gpu, tmp_path):
    """A store holds no device: a run that was cut off goes on where there is a processor."""
    model, solver = Holstein(square(4)), ExactDiagonalization(kT=0.1, mu=0.0)
    force_field = ExactForceField(model, solver)
    starts = {
        device: initial_state(force_field, 1, field_std=0.1, device=device)
        for device in ("cpu", GPU)
    }
    on_disk = {"path": tmp_path / "run", "config": describe_force_field(force_field)}
    simulate(force_field, LANGEVIN, starts[GPU], 4, Regular(2), **on_disk)
    longer = simulate(force_field, LANGEVIN, starts["cpu"], 8, Regular(2), **on_disk)
    whole = simulate(force_field, LANGEVIN, starts["cpu"], 8, Regular(2))
    torch.testing.assert_close(*(torch.as_tensor(run.fields[:]) for run in (longer, whole)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("make", [
    lambda: LearnedForceField.pretrained("holstein-square-small", device="cuda"),
    lambda: initial_state(Explosive(), 1, device="cuda")])  # fmt: skip
def test_a_missing_gpu_is_one_line(make):
    with pytest.raises(InputError, match=r"^device 'cuda' cannot be used \(.*\)\. Use cpu\.$"):
        make()


def test_products_in_single_precision_are_not_rounded_to_tf32():
    """PyTorch's default, which the package must leave alone: TF32 has 10 bits of 23."""
    assert torch.get_float32_matmul_precision() == "highest"


NETWORKS = [
    partial(OrbitNetwork, cutoff=1.5, n_layers=2),
    partial(OrbitNetwork, cutoff=1.5, n_layers=2, conservative=True),
    partial(baselines.EnergyMPNN, channels=(6, 8)),
    partial(baselines.IrrepsFCNN, channels=(4, 3)),
    partial(baselines.BehlerParrinello, channels=(12, 6)),
    partial(baselines.GroupAveragedMLP, channels=(12, 6)),
]


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.func.__name__)
def test_training_stays_on_the_device_and_reaches_every_weight(gpu, make, rng):
    """DistributedDataParallel waits for the gradient of every weight."""
    lattice, field = square(8), torch.randn(2, 64, generator=rng, dtype=torch.float64)
    gradients = []
    for device in ("cpu", GPU):
        torch.manual_seed(0)
        net = make(lattice, FieldType(force_bound=1.75)).double().to(device)
        energy, forces = net(field.to(device), net.graph(lattice))
        loss = forces.square().mean() + (0.0 if energy is None else energy.square().mean())
        loss.backward()
        missing = [name for name, weight in net.named_parameters() if weight.grad is None]
        assert not missing
        gradients.append(torch.cat([weight.grad.flatten().cpu() for weight in net.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)
