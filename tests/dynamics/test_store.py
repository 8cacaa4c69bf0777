"""What a run keeps on disk, and what becomes of damage."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from lattgnn.dynamics import (
    BAOAB,
    HeunLLG,
    LogSpaced,
    Regular,
    Trajectory,
    VerletLangevin,
    initial_spins,
    initial_state,
    simulate,
)
from lattgnn.errors import InputError, StoppedRunError
from lattgnn.files import run_lock
from lattgnn.lattice import chain

INTEGRATOR = VerletLangevin(dt=0.1, kT=0.5, gamma=0.3, mass=2.0)


@pytest.fixture
def again(harmonic, tmp_path):
    """Call `simulate` for the same run, in the directory of the given name."""
    force_field = harmonic(6, 1.0, 0.3)
    state = initial_state(force_field, 1, 2, 1.0, 1.0)

    def call(name: str, n_steps: int = 20, save=None, integrator=INTEGRATOR) -> Trajectory:
        save = Regular(4) if save is None else save
        return simulate(force_field, integrator, state, n_steps, save, tmp_path / name)

    return call


def contents(path: Path) -> dict[str, bytes]:
    files = [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def chunk(run: Trajectory, name: str, frame: int, replica: int = 1) -> Path:
    assert run.path is not None
    return run.path / name / "c" / str(frame) / str(replica) / "0"


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def test_momenta_and_forces_are_kept_for_the_first_and_the_last_frames_only(again) -> None:
    run = again("run")
    everything = again("all", save=Regular(4, momenta=True, forces=True))
    for frame in (0, 4, 5):
        kept, full = run.state(frame), everything.state(frame)
        assert kept.momentum.equal(full.momentum) and kept.forces.equal(full.forces)
    for frame in (1, 2, 3):
        with pytest.raises(InputError, match="momenta of frame .* not saved.*momenta=true"):
            run.state(frame)
        assert not chunk(run, "momentum", frame).exists()
    assert np.array_equal(run.fields[:], everything.fields[:])
    assert set(run.to_xarray()) == {"field", "energy", "kinetic_energy"}
    assert set(everything.to_xarray()) >= {"momentum", "forces"}


def test_only_what_is_asked_for_is_saved(again) -> None:
    run = again("run", save=LogSpaced(6, momenta=True))
    assert run.momenta[:].shape == (6, 2, 6)
    with pytest.raises(InputError, match=r"forces of frame 1 were not saved.*--save\.init_args\."):
        run.forces[:]
    with pytest.raises(InputError, match=r"differs in save\.init_args\.momenta"):
        again("run", save=LogSpaced(6))


def test_kinetic_energy_is_saved(again, tmp_path) -> None:
    run = again("run", save=Regular(4, momenta=True, forces=True))
    expected = (run.momenta[:] ** 2).sum(-1) / (2 * 2.0)
    assert run.kinetic_energies == pytest.approx(expected, rel=1e-14)
    shutil.rmtree(tmp_path / "run" / "kinetic_energy")  # as in runs of older versions
    assert Trajectory.open(tmp_path / "run").kinetic_energies == pytest.approx(expected, rel=1e-14)


def test_a_run_of_an_older_version_is_read_and_resumed(again, tmp_path) -> None:
    whole = again("whole", save=Regular(4, momenta=True, forces=True))
    again("old", save=Regular(4, momenta=True, forces=True))
    old = tmp_path / "old"
    shutil.rmtree(old / "kinetic_energy")
    group: Any = zarr.open_group(old, mode="r+")
    config = group.attrs["config"]
    config["save"]["init_args"] = {"every": 4}
    group.attrs["config"] = config
    del group.attrs["config_sha256"]
    group["step"][3:] = -1
    group["momentum"][3:] = np.nan
    assert Trajectory.open(old).steps.tolist() == [0, 4, 8]
    run = again("old")
    assert run.complete and run.config["save"]["init_args"] == {"every": 4}
    assert np.array_equal(run.momenta[:], whole.momenta[:])
    assert again("old", n_steps=24).steps.tolist() == [0, 4, 8, 12, 16, 20, 24]


@pytest.mark.parametrize("name", ["field", "momentum", "forces", "energy", "kinetic_energy"])
def test_a_flipped_bit_is_found_and_the_frame_computed_again(again, name) -> None:
    run = again("run")
    whole = contents(run.path)
    for frame in (0, 4, 5) if name in ("momentum", "forces") else (0, 2, 5):
        is_scalar = name in ("energy", "kinetic_energy")
        flip_a_bit(run.path / name / "c" / str(frame) / ("0" if is_scalar else "1/0"))
        with pytest.raises(InputError, match=rf"{name} of frame {frame} is damaged.* same command"):
            Trajectory.open(run.path).frames(name)[frame:]
        assert again("run").complete
        assert contents(run.path) == whole


def test_many_kinds_of_damage_at_once_are_mended(again) -> None:
    run = again("run")
    whole = contents(run.path)
    chunk(run, "field", 1).write_bytes(b"")
    chunk(run, "field", 3).unlink()
    chunk(run, "forces", 5).write_bytes(chunk(run, "forces", 5).read_bytes()[:20])
    again("run")
    assert contents(run.path) == whole
    flip_a_bit(run.path / "step" / "c" / "0")
    with pytest.raises(InputError, match="the steps of .* are damaged.* same command"):
        Trajectory.open(run.path)
    again("run")
    assert contents(run.path) == whole


def test_a_damaged_last_frame_falls_back_one_frame(harmonic, again, tmp_path) -> None:
    run = again("run")
    whole = contents(run.path)
    for name in ("field", "momentum", "forces"):
        flip_a_bit(chunk(run, name, 5))
    force_field = harmonic(6, 1.0, 0.3)
    state = initial_state(force_field, 1, 2, 1.0, 1.0)
    steps_done = 0

    def counted(field):
        nonlocal steps_done
        steps_done += 1
        return force_field(field)

    counting: Any = type("Counting", (), {"__call__": lambda self, field: counted(field)})()
    counting.lattice, counting.field_shape = force_field.lattice, force_field.field_shape
    simulate(counting, INTEGRATOR, state, 20, Regular(4), run.path)
    assert steps_done == 4
    assert contents(run.path) == whole


def test_a_changed_configuration_is_found(again) -> None:
    run = again("run")
    file = run.path / "zarr.json"
    file.write_text(file.read_text().replace('"dt": 0.1', '"dt": 0.3'))
    with pytest.raises(InputError, match="is damaged: its configuration was changed. Remove"):
        Trajectory.open(run.path)
    metadata = json.loads((run.path / "field" / "zarr.json").read_text())
    metadata["shape"][2] = 7
    (run.path / "field" / "zarr.json").write_text(json.dumps(metadata))
    file.write_text(file.read_text().replace('"dt": 0.3', '"dt": 0.1'))
    with pytest.raises(InputError, match=r"field has shape \[6, 2, 7\], which contradicts"):
        Trajectory.open(run.path)


def test_an_empty_folder_is_as_good_as_none(again, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    assert again("empty").complete
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not a run of"):
        again("full")
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("n_steps", [(20, 50), (20, 50, 51, 200)])
def test_a_log_spaced_run_can_be_made_longer(again, n_steps) -> None:
    """The old frames stay, and those of the new schedule follow."""
    save = LogSpaced(8)
    for n in n_steps:
        run = again("run", n_steps=n, save=save)
        assert again("run", n_steps=n, save=save).steps.tolist() == run.steps.tolist()
    expected = save.steps(n_steps[0]).tolist()
    for old, new in zip(n_steps, n_steps[1:], strict=False):
        expected += [step for step in save.steps(new).tolist() if step > old]
    assert run.steps.tolist() == expected and run.complete
    assert run.state(-1).field.equal(again("whole", n_steps=n_steps[-1], save=save).state(-1).field)
    for name in ("momentum", "forces"):  # those of the old last frames are no longer needed
        kept = {int(folder.name) for folder in (run.path / name / "c").iterdir()}
        assert kept == {0, len(expected) - 2, len(expected) - 1}
    with pytest.raises(InputError, match="differs in n_steps"):
        again("run", n_steps=n_steps[-2], save=save)


def test_a_regular_run_can_end_between_two_frames_and_be_made_longer(again) -> None:
    again("run", n_steps=10)
    assert again("run", n_steps=20).steps.tolist() == [0, 4, 8, 10, 12, 16, 20]


def test_one_process_at_a_time_writes_a_run(again, tmp_path) -> None:
    with run_lock(tmp_path / "run"), pytest.raises(InputError, match="is being written by process"):
        again("run")
    assert not (tmp_path / "run").exists()
    assert again("run").complete
    assert not list(tmp_path.glob(".*"))


def test_the_lock_of_a_dead_process_is_free(again, tmp_path) -> None:
    script = """
import os, sys
from lattgnn.files import run_lock
from lattgnn.lattice import chain
lock = run_lock(sys.argv[1])
lock.__enter__()
os.kill(os.getpid(), 9)
"""
    process = subprocess.run([sys.executable, "-c", script, str(tmp_path / "run")], check=False)
    assert process.returncode == -9 and list(tmp_path.glob(".run.lock"))
    assert again("run").complete


def test_frames_that_vanish_during_the_run_are_noticed(harmonic, tmp_path) -> None:
    """As they did when two processes wrote to one run, whose last step then won."""
    force_field, n_calls = harmonic(6), 0

    def vandal(field):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 18:
            group: Any = zarr.open_group(tmp_path / "run", mode="r+")
            group["step"][2] = -1
        return force_field(field)

    broken: Any = type("Vandal", (), {"__call__": lambda self, field: vandal(field)})()
    broken.lattice, broken.field_shape = force_field.lattice, force_field.field_shape
    state = initial_state(force_field, 1, 2, 1.0, 1.0)
    with pytest.raises(StoppedRunError, match="lacks frames at its end"):
        simulate(broken, INTEGRATOR, state, 20, Regular(4), tmp_path / "run")


def test_records_lie_beside_the_arrays(harmonic, tmp_path) -> None:
    force_field, path = harmonic(6), tmp_path / "run"
    state = initial_state(force_field, 1)

    def run(n_steps: int, text: str) -> None:

        def records(config):
            return {"config.yaml": f"{text} {config['n_steps']}"}

        simulate(
            force_field,
            BAOAB(0.1, 0.5, 0.3, 2.0),
            state,
            n_steps,
            Regular(2),
            path,
            records=records,
        )

    run(4, "one")
    run(4, "two")
    assert (path / "config.yaml").read_text() == "one 4"
    run(8, "three")  # the run is longer, and so is its configuration
    assert (path / "config.yaml").read_text() == "three 8"


def test_components_have_their_own_kinetic_energy(tmp_path) -> None:
    force_field = Spins(chain(4))
    state = initial_state(force_field, 3, 2, 1.0, 1.0)
    save = Regular(2, momenta=True)
    run = simulate(force_field, INTEGRATOR, state, 4, save, tmp_path / "run")
    expected = (run.momenta[:] ** 2).sum(2) / (2 * 2.0)
    assert run.kinetic_energies == pytest.approx(expected, rel=1e-14)
    assert expected.shape == (3, 2, 3)
    assert run.to_xarray().kinetic_energy.dims == ("time", "replica", "component")


def test_spins_have_no_kinetic_energy() -> None:
    force_field = Spins(chain(4))
    run = simulate(
        force_field, HeunLLG(0.1, 0.1, 0.1), initial_spins(force_field, 3), 4, Regular(2)
    )
    assert run.kinetic_energies is None


class Spins:
    """Free spins in a field along z."""

    def __init__(self, lattice) -> None:
        self.lattice, self.field_shape = lattice, (lattice.n_sites, 3)

    def __call__(self, field):
        forces = field.new_zeros(field.shape)
        forces[..., 2] = 1.0
        return -field[..., 2].sum(-1), forces


def test_only_what_zarr_left_half_written_is_removed_from_a_run(again, tmp_path) -> None:
    run = again("run")
    left = chunk(run, "field", 1).with_suffix(f".{'0123456789abcdef' * 2}.partial")
    mine = [tmp_path / "run" / "movie.mp4.partial", tmp_path / "run" / "notes" / "a.partial"]
    for file in [left, *mine]:
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
    again("run")
    assert not left.exists() and all(file.exists() for file in mine)
