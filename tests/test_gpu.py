"""The package on a real GPU: `pytest -m gpu`, two minutes.

Without a GPU one line says that all of it is skipped. What can be tested without one is in
`test_gpu_paths.py`.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
import yaml

from lattgnn.cli import main
from lattgnn.dynamics import (
    BAOAB,
    HeunLLG,
    MidpointLLG,
    OverdampedLangevin,
    Regular,
    RunawayFieldError,
    Trajectory,
    VerletLangevin,
    initial_spins,
    initial_state,
    philox,
    simulate,
)
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, Peierls
from lattgnn.lattice import kagome, square
from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.solvers import Chebyshev, DomainDiagonalization, ExactDiagonalization

if not torch.cuda.is_available():
    pytest.skip("there is no GPU here", allow_module_level=True)

pytestmark = [
    pytest.mark.gpu,
    # The fields of these tests are not those of any training.
    pytest.mark.filterwarnings("ignore:the run leaves the fields"),
]

DEVICE = "cuda"
LANGEVIN = VerletLangevin(dt=0.05, kT=0.1, gamma=0.1, mass=1.0)
EXACT = ExactDiagonalization(kT=0.1, mu=0.0)
SHIPPED = ("holstein-square", "holstein-square-energy", "peierls-square", "kondo-square")


def start(force_field, device, dtype=torch.float64):
    """A random state and an integrator that suits it."""
    if force_field.hamiltonian.field_type.is_spin:
        state = initial_spins(force_field, 1, dtype=dtype, device=device)
        return state, HeunLLG(dt=0.05, kT=0.1, alpha=0.1)
    return initial_state(force_field, 1, field_std=1.0, dtype=dtype, device=device), LANGEVIN


def test_the_noise_is_that_of_the_cpu():
    shape = (3, 1000, 2)
    expected = philox.noise(7, 2**40, shape, first_replica=5, first_site=2**32)
    found = philox.noise(7, 2**40, shape, first_replica=5, first_site=2**32, device=DEVICE)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SHIPPED)
def test_trajectories_are_those_of_the_cpu(name, dtype):
    frames = []
    for device in ("cpu", DEVICE):
        force_field = LearnedForceField.pretrained(name, square(16), device=device)
        state, integrator = start(force_field, device, dtype)
        run = simulate(force_field, integrator, state, 20, Regular(10))
        frames.append(torch.as_tensor(run.fields[:]))
    torch.testing.assert_close(*frames, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("integrator", [
    replace(LANGEVIN, gamma=1e-5), replace(LANGEVIN, gamma=0.0), BAOAB(0.05, 0.1, 0.1, 1.0),
    OverdampedLangevin(0.05, 0.1, 1.0)], ids=repr)  # fmt: skip
def test_integrators_of_displacements(integrator):
    force_field = ExactForceField(Holstein(square(4)), EXACT)
    compare(force_field, integrator, partial(initial_state, field_std=1.0))


@pytest.mark.parametrize("make", [HeunLLG, MidpointLLG])
def test_integrators_of_spins(make):
    force_field = ExactForceField(DoubleExchange(square(4)), EXACT)
    compare(force_field, make(0.05, 0.1, 0.1), initial_spins)


def compare(force_field, integrator, make):
    """Run on both devices with exact forces in double precision."""
    runs = [
        simulate(force_field, integrator, make(force_field, 1, device=device), 10, Regular(5))
        for device in ("cpu", DEVICE)
    ]
    torch.testing.assert_close(
        *(torch.as_tensor(run.fields[:]) for run in runs), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("model", [Holstein(kagome(4)), Peierls(square(6))], ids=repr)
@pytest.mark.parametrize("solver", [
    EXACT, ExactDiagonalization(0.1, filling=0.4),
    DomainDiagonalization(0.2, mu=0.1, core=2, buffer=2),
    Chebyshev(0.4, filling=0.4, distance=3)], ids=repr)  # fmt: skip
def test_solvers(model, solver, rng):
    field = torch.randn(8, *model.field_shape, generator=rng, dtype=torch.float64)
    force_field = ExactForceField(model, solver)
    for one, other in zip(force_field(field), force_field(field.to(DEVICE)), strict=True):
        assert other.device.type == torch.device(DEVICE).type
        torch.testing.assert_close(other.cpu(), one, rtol=1e-9, atol=1e-9)


def test_a_restarted_run_has_the_same_bits(tmp_path):
    force_field = LearnedForceField.pretrained("holstein-square-small", square(32), device=DEVICE)
    state, integrator = start(force_field, DEVICE, torch.float32)
    whole = simulate(force_field, integrator, state, 200, Regular(50))
    simulate(force_field, integrator, state, 100, Regular(50), tmp_path / "run")
    longer = simulate(force_field, integrator, state, 200, Regular(50), tmp_path / "run")
    assert (whole.fields[:] == longer.fields[:]).all()


def test_a_runaway_field_names_its_step_and_site():
    force_field = ExactForceField(Holstein(square(4), k0=-300.0), EXACT)
    found = []
    for device in ("cpu", DEVICE):
        state = initial_state(force_field, 1, field_std=0.1, device=device)
        with pytest.raises(RunawayFieldError) as caught:
            simulate(force_field, LANGEVIN, state, 300, Regular(100))
        found.append((caught.value.step, caught.value.site))
    assert found[0] == found[1]


@pytest.mark.parametrize("conservative", [False, True])
def test_gradients_of_a_fit_are_those_of_the_cpu(conservative):
    gradients = []
    for device in ("cpu", DEVICE):
        torch.manual_seed(0)
        net = OrbitNetwork(
            square(8),
            Holstein(square(8)).field_type,
            n_layers=2,
            hidden=HiddenChannels(4),
            conservative=conservative,
        )
        net = net.double().to(device)
        field = torch.linspace(-3, 3, 128, dtype=torch.float64).view(2, 64).to(device)
        net(field, net.graph(square(8)))[1].square().mean().backward()
        parts = [p.grad.flatten().cpu() for p in net.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_the_verb_runs_on_a_gpu(tmp_path):
    config = {
        "lattice": {"class_path": "lattgnn.lattice.square", "init_args": {"extent": [8, 8]}},
        "force_field": {"checkpoint": "holstein-square-small"},
        "integrator": {
            "class_path": "lattgnn.dynamics.VerletLangevin",
            "init_args": {"dt": 0.05, "kT": 0.1, "gamma": 0.2, "mass": 5.0},
        },
        "initial": {"seed": 0, "field_std": 5.0},
        "save": {"class_path": "lattgnn.dynamics.Regular", "init_args": {"every": 2}},
        "n_steps": 4,
        "progress": False,
        "out": str(tmp_path / "run"),
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    assert main(["simulate", f"--config={tmp_path / 'run.yaml'}", f"--device={DEVICE}"]) == 0
    assert Trajectory.open(tmp_path / "run").complete
