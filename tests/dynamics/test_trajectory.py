import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from lattgnn.dynamics import Regular, Trajectory, VerletLangevin, initial_state, simulate


@pytest.fixture
def run(harmonic, tmp_path) -> Path:
    """Five frames of two replicas of eight sites, with all that can be saved."""
    force_field = harmonic(8)
    state = initial_state(force_field, 3, 2, 1.0, 1.0)
    integrator = VerletLangevin(dt=0.1, kT=0.5, gamma=0.3, mass=2.0)
    save = Regular(2, momenta=True, forces=True)
    simulate(force_field, integrator, state, 8, save, tmp_path / "run", config={"name": "harmonic"})
    return tmp_path / "run"


def test_the_store_is_plain_zarr_v3(run) -> None:
    group: Any = zarr.open_group(run, mode="r", zarr_format=3)
    assert group["field"].shape == (5, 2, 8) and group["field"].chunks == (1, 1, 8)
    assert group["field"].metadata.dimension_names == ("frame", "replica", "site")
    assert group["step"][:].tolist() == [0, 2, 4, 6, 8]
    assert group.attrs["format_version"] == 1
    assert group.attrs["config"]["force_field"] == {"name": "harmonic"}
    assert group.attrs["config"]["integrator"]["init_args"]["dt"] == 0.1
    assert "torch" in group.attrs["versions"]


def test_open(run, harmonic) -> None:
    trajectory = Trajectory.open(run)
    assert trajectory.lattice == harmonic(8).lattice
    assert trajectory.complete
    assert trajectory.times.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    state = trajectory.state(2)
    assert (state.step, state.seed, state.first_replica) == (4, 3, 0)
    assert trajectory.energies is not None
    assert trajectory.energies.shape == (5, 2)


def test_frames_index_like_numpy(run) -> None:
    frames = Trajectory.open(run).fields
    whole = np.asarray(frames)
    assert whole.shape == frames.shape == (5, 2, 8) and len(frames) == 5 and frames.ndim == 3
    assert whole.dtype == frames.dtype == np.float64
    for key in (
        0,
        -1,
        slice(None),
        slice(1, 4),
        slice(None, None, -2),
        slice(9, 9),
        [0, -1],
        ...,
        (..., 3),
        (1, 0),
    ):
        assert np.array_equal(frames[key], whole[key]), key
    mask = np.array([True, False, True, False, False])
    assert np.array_equal(frames[mask], whole[mask])
    assert np.array_equal(frames[1:3, 1, ::2], whole[1:3, 1, ::2])
    with pytest.raises(IndexError):
        frames[5]


def test_unwritten_frames_are_not_there(run) -> None:
    group: Any = zarr.open_group(run, mode="r+")
    group["step"][3:] = -1
    trajectory = Trajectory.open(run)
    assert trajectory.steps.tolist() == [0, 2, 4] and not trajectory.complete
    assert trajectory.fields.shape == (3, 2, 8)
    assert trajectory.state().step == 4
    with pytest.raises(IndexError):
        trajectory.fields[3]


def test_to_xarray(run) -> None:
    trajectory = Trajectory.open(run)
    data = trajectory.to_xarray()
    assert data.field.dims == ("time", "replica", "site")
    assert np.array_equal(data.field.sel(time=0.4, method="nearest"), trajectory.fields[2])
    assert data.energy.shape == (5, 2)
    assert data.step.values.tolist() == [0, 2, 4, 6, 8]
    lattice = trajectory.lattice
    assert data.x.dims == data.sublattice.dims == ("site",)
    positions = np.stack([data[axis] for axis in "xyz"[: lattice.dim]], axis=1)
    assert np.array_equal(positions, lattice.positions)
    assert np.array_equal(data.sublattice, lattice.sublattices)
    assert set("xyz"[lattice.dim :]).isdisjoint(data.coords)


def break_version(path: Path) -> None:
    zarr.open_group(path, mode="r+").attrs["format_version"] = 99


def break_format(path: Path) -> None:
    zarr.open_group(path, mode="r+").attrs["format"] = "something else"


def break_json(path: Path) -> None:
    (path / "zarr.json").write_text((path / "zarr.json").read_text()[:100])


def lose_config(path: Path) -> None:
    metadata = json.loads((path / "zarr.json").read_text())
    del metadata["attributes"]["config"]
    (path / "zarr.json").write_text(json.dumps(metadata))


def lose_steps(path: Path) -> None:
    shutil.rmtree(path / "step" / "c")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "does not exist"),
        (lambda path: shutil.rmtree(path / "momentum"), r"is truncated: \['momentum'\] missing"),
        (break_version, "must have format version 1, got 99"),
        (break_format, "must hold a lattgnn trajectory, got format 'something else'"),
        (break_json, "is not a readable trajectory"),
        (lose_config, "is truncated: .*config"),
        (lose_steps, "is truncated: it holds no whole frame"),
    ],
)
def test_damage_is_one_clear_line(run, damage, message) -> None:
    damage(run)
    with pytest.raises(ValueError, match=message) as caught:
        Trajectory.open(run)
    assert "\n" not in str(caught.value)


def test_a_lost_or_torn_chunk_is_noticed_when_read(run) -> None:
    (run / "field" / "c" / "1" / "0" / "0").unlink()
    chunk = run / "field" / "c" / "2" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    trajectory = Trajectory.open(run)
    assert np.isfinite(trajectory.fields[0]).all()
    for frame in (1, 2):
        with pytest.raises(ValueError, match=r"(truncated|damaged).* Run the simulation again"):
            trajectory.fields[frame]
