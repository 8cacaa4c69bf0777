"""The time loop: saved frames, runs that are resumed or made longer, and runs that are refused."""

import dataclasses
import math
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from lattgnn.dynamics import (
    BAOAB,
    HeunLLG,
    LogSpaced,
    OverdampedLangevin,
    Regular,
    State,
    Trajectory,
    VerletLangevin,
    initial_spins,
    initial_state,
    simulate,
)
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization
from tests.mortal_force_field import Mortal, Stopped

INTEGRATORS = (
    VerletLangevin(dt=0.1, kT=0.5, gamma=0.3, mass=2.0),
    BAOAB(dt=0.1, kT=0.5, gamma=0.3, mass=2.0),
    OverdampedLangevin(dt=0.1, kT=0.5, gamma=0.8),
)


def same(one: State, other: State) -> bool:
    names = [field.name for field in dataclasses.fields(State)]
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_frames_are_the_states_of_a_bare_loop(harmonic, tmp_path, integrator, dtype) -> None:
    force_field = harmonic(6, 1.0, 0.3)
    state = initial_state(force_field, 1, 2, 1.0, 1.0, dtype)
    save = Regular(6, momenta=True, forces=True)
    in_memory = simulate(force_field, integrator, state, 20, save)
    on_disk = simulate(force_field, integrator, state, 20, save, tmp_path / "run")
    for frame, step in enumerate([0, 6, 12, 18, 20]):
        while state.step < step:
            state = integrator.step(force_field, state)
        assert same(in_memory.state(frame), state)
        assert same(on_disk.state(frame), state)
        assert on_disk.fields[frame].dtype == state.field.numpy().dtype
    assert on_disk.complete and in_memory.complete
    assert np.allclose(on_disk.times, 0.1 * on_disk.steps)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_half_and_half_is_the_whole(harmonic, integrator) -> None:
    force_field = harmonic(6, 1.0, 0.3)
    state = initial_state(force_field, 1, 2, 1.0, 1.0, torch.float32)
    whole = simulate(force_field, integrator, state, 20, Regular(5))
    half = simulate(force_field, integrator, state, 10, Regular(5)).state()
    rest = simulate(force_field, integrator, half, 10, Regular(5))
    assert rest.steps.tolist() == [10, 15, 20]
    assert same(rest.state(), whole.state())


@pytest.mark.parametrize("n_calls", [0, 1, 7, 8, 19])
def test_a_stopped_run_goes_on_from_its_last_frame(harmonic, tmp_path, n_calls) -> None:
    force_field, integrator = harmonic(6, 1.0, 0.3), INTEGRATORS[0]
    state = initial_state(force_field, 1, 2, 1.0, 1.0)
    simulate(force_field, integrator, state, 20, LogSpaced(8), tmp_path / "whole")
    with pytest.raises(Stopped):
        simulate(
            Mortal(force_field, n_calls), integrator, state, 20, LogSpaced(8), tmp_path / "parts"
        )
    partial = Trajectory.open(tmp_path / "parts")
    assert not partial.complete and partial.steps[-1] <= n_calls
    simulate(force_field, integrator, state, 20, LogSpaced(8), tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_torn_frame_is_written_again(harmonic, tmp_path) -> None:
    """Killed after field and momentum of frame 2, before its step."""
    force_field, integrator = harmonic(6), INTEGRATORS[0]
    state = initial_state(force_field, 1, 2, 1.0, 1.0)
    simulate(force_field, integrator, state, 20, Regular(5), tmp_path / "whole")
    simulate(force_field, integrator, state, 20, Regular(5), tmp_path / "torn")
    group: Any = zarr.open_group(tmp_path / "torn", mode="r+")
    group["step"][2:] = -1
    group["field"][2, 1] = 7.0
    (tmp_path / "torn" / "field" / "c" / "2" / "0" / "0.abc.partial").write_bytes(b"half")
    assert Trajectory.open(tmp_path / "torn").steps.tolist() == [0, 5]
    simulate(force_field, integrator, state, 20, Regular(5), tmp_path / "torn")
    assert contents(tmp_path / "torn") == contents(tmp_path / "whole")


def test_a_finished_run_returns_at_once(harmonic, tmp_path) -> None:
    force_field, integrator = harmonic(), INTEGRATORS[0]
    state = initial_state(force_field, 1)
    simulate(force_field, integrator, state, 10, Regular(5), tmp_path / "run")
    before = contents(tmp_path / "run")
    again = simulate(Mortal(force_field, 0), integrator, state, 10, Regular(5), tmp_path / "run")
    assert again.steps.tolist() == [0, 5, 10]
    assert contents(tmp_path / "run") == before


def test_a_run_can_be_made_longer(harmonic, tmp_path) -> None:
    force_field, integrator = harmonic(), INTEGRATORS[0]
    state = initial_state(force_field, 1, 2, 1.0)
    simulate(force_field, integrator, state, 10, Regular(5), tmp_path / "run")
    longer = simulate(force_field, integrator, state, 20, Regular(5), tmp_path / "run")
    assert same(longer.state(), simulate(force_field, integrator, state, 20, Regular(5)).state())
    assert longer.steps.tolist() == [0, 5, 10, 15, 20]
    assert longer.config["n_steps"] == 20
    with pytest.raises(ValueError, match=r"differs in n_steps\..* n_steps of at least 20, because"):
        simulate(force_field, integrator, state, 10, Regular(5), tmp_path / "run")


def test_a_run_of_another_dtype_names_that_of_its_directory(harmonic, tmp_path) -> None:
    force_field, integrator = harmonic(), INTEGRATORS[0]
    single = initial_state(force_field, 1, 1, 1.0, dtype=torch.float32)
    simulate(force_field, integrator, single, 2, Regular(1), tmp_path / "run")
    double = initial_state(force_field, 1, 1, 1.0)
    with pytest.raises(ValueError, match=r"directory, or --dtype=float32, that of its run\.$"):
        simulate(force_field, integrator, double, 2, Regular(1), tmp_path / "run")


def test_another_run_is_refused(harmonic, tmp_path) -> None:
    force_field, integrator, path = harmonic(), INTEGRATORS[0], tmp_path / "run"
    state = initial_state(force_field, 1, 1, 1.0)
    simulate(force_field, integrator, state, 10, LogSpaced(5), path, config={"g": 1.0})
    others = {
        r"integrator\.init_args\.dt": (
            dataclasses.replace(integrator, dt=0.2),
            state,
            10,
            {"g": 1.0},
        ),
        r"start\.sha256, start\.seed\.|start\.seed, start\.sha256": (
            integrator,
            initial_state(force_field, 2, 1, 1.0),
            10,
            {"g": 1.0},
        ),
        "n_steps": (integrator, state, 5, {"g": 1.0}),
        r"force_field\.g": (integrator, state, 10, {"g": 2.0}),
    }
    before = contents(path)
    for difference, (other, start, n_steps, config) in others.items():
        with pytest.raises(
            ValueError, match=rf"differs in ({difference})\. Use another directory"
        ) as caught:
            simulate(force_field, other, start, n_steps, LogSpaced(5), path, config=config)
        assert "\n" not in str(caught.value)
    assert contents(path) == before


def test_a_run_with_other_noise_is_refused(harmonic, tmp_path) -> None:
    """As those are that were begun before the generator had a name."""
    force_field, integrator, path = harmonic(), INTEGRATORS[0], tmp_path / "run"
    state = initial_state(force_field, 1, 1, 1.0)
    assert (
        simulate(force_field, integrator, state, 4, Regular(2), path).config["noise"]
        == "philox4x32-10"
    )
    group = zarr.open_group(path, mode="r+")
    config: Any = group.attrs["config"]
    group.attrs["config"] = {name: value for name, value in config.items() if name != "noise"}
    del group.attrs["config_sha256"]  # which those did not have either
    assert Trajectory.open(path).complete  # still read
    with pytest.raises(ValueError, match=r"differs in noise\. Use another directory"):
        simulate(force_field, integrator, state, 4, Regular(2), path)


def test_no_store_appears_if_its_creation_fails(harmonic, tmp_path, monkeypatch) -> None:
    def fail(*_, **__):
        raise Stopped

    monkeypatch.setattr("lattgnn.dynamics.store.new_arrays", fail)
    with pytest.raises(Stopped):
        simulate(
            harmonic(),
            INTEGRATORS[0],
            initial_state(harmonic(), 1),
            3,
            Regular(1),
            tmp_path / "run",
        )
    assert not list(tmp_path.iterdir())


def test_an_integrator_for_another_kind_of_field_is_refused(tmp_path) -> None:
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    spins = ExactForceField(DoubleExchange(square(4)), solver)
    scalars = ExactForceField(Holstein(square(4)), solver)
    spin_state, scalar_state = initial_spins(spins, 0), initial_state(scalars, 0)
    path = tmp_path / "run"
    with pytest.raises(
        InputError, match=r"must suit .* DoubleExchange, got Verlet.* Use .*HeunLLG"
    ):
        simulate(spins, INTEGRATORS[0], spin_state, 3, Regular(1), path)
    with pytest.raises(InputError, match=r"must suit .* Holstein, got HeunLLG.* Use .*Verlet"):
        simulate(scalars, HeunLLG(0.1, 0.1, 0.1), scalar_state, 3, Regular(1), path)
    assert not path.exists()


def test_a_force_field_without_energy(harmonic, tmp_path) -> None:
    force_field = Mortal(harmonic(), 0, lambda field: (None, -field))
    state = initial_state(force_field, 1, 2, 1.0)
    for path in (None, tmp_path / "run"):
        trajectory = simulate(force_field, INTEGRATORS[0], state, 4, Regular(2), path)
        assert trajectory.energies is None
        assert trajectory.state().energy is None


def test_several_components_per_site(harmonic, tmp_path) -> None:
    class Vector:
        lattice, field_shape = harmonic(5).lattice, (5, 3)

        def __call__(self, field):
            return None, -field if field.abs().max() < 5 else field.new_full(field.shape, math.nan)

    state = initial_state(Vector(), 1, 2, 1.0)
    trajectory = simulate(Vector(), INTEGRATORS[1], state, 4, Regular(2), tmp_path / "run")
    assert trajectory.fields.shape == (3, 2, 5, 3)
    assert trajectory.arrays["field"].chunks == (1, 1, 5, 3)


def test_nothing_is_printed_unless_asked(harmonic, capfd) -> None:
    state = initial_state(harmonic(), 1)
    simulate(harmonic(), INTEGRATORS[0], state, 5, Regular(1))
    assert capfd.readouterr() == ("", "")
    simulate(harmonic(), INTEGRATORS[0], state, 5, Regular(1), progress=True)
    out, err = capfd.readouterr()
    assert out == "" and "step 5/5" in err and "site-steps/s" in err and "\x1b" not in err


@pytest.mark.slow
def test_kill_9_and_again_is_the_uninterrupted_run(tmp_path) -> None:
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import Polynomial
from lattgnn.lattice import chain
from lattgnn.dynamics import *
force_field = Polynomial(chain(30), 1.0, 0.2)
state = initial_state(force_field, 4, 3, 1.0, 1.0)
print("ready", flush=True)
simulate(force_field, BAOAB(0.1, 0.5, 0.3, 2.0), state, 3000, Regular(10), sys.argv[1])
"""
    run = [sys.executable, "-c", script]
    subprocess.run([*run, str(tmp_path / "whole")], check=True, capture_output=True)
    kills = 0
    for delay in (0.02, 0.2, 0.5):
        with subprocess.Popen([*run, str(tmp_path / "parts")], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
    partial = Trajectory.open(tmp_path / "parts")
    assert kills >= 1 and not partial.complete
    assert len(partial.fields[:]) == len(partial.steps)  # every frame with a step can be read
    subprocess.run([*run, str(tmp_path / "parts")], check=True, capture_output=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
