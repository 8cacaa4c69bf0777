"""Writing a run: the store, its frames, and the frames that have to be computed again.

The arrays lie in a zarr v3 group, one chunk per frame and replica. Every chunk ends with a checksum
(crc32c), is written under a temporary name and is renamed. The step of a frame is written after its
other arrays. So after a kill at any moment, every frame that has a step is complete.

Momenta and forces are needed to continue a run, but rarely to analyze it. Unless the schedule asks
for them, they are kept for three frames only: the first, from which the run can be repeated, and
the last two, so that the run can be continued even if the last frame is damaged.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from lattgnn.dynamics.frames import RESTART
from lattgnn.dynamics.state import State
from lattgnn.dynamics.trajectory import FORMAT, FORMAT_VERSION, Trajectory, digest, open_store
from lattgnn.errors import InputError
from lattgnn.files import atomic_directory, atomic_write_text
from lattgnn.serialize import versions


@dataclass(frozen=True)
class FrameWriter:
    """Writes the frames of a run.

    Attributes:
        trajectory: The run, opened for writing.
        steps: The step of each frame.
        mass: Mass per site, or per component, for the kinetic energy. None without momenta.
    """

    trajectory: Trajectory
    steps: np.ndarray
    mass: float | tuple[float, ...] | None = None

    def write(self, frame: int, state: State) -> None:
        """Write a frame, its step last, and drop what its predecessors no longer need.

        Args:
            frame: Index of the frame.
            state: The state at its step.
        """
        arrays = self.trajectory.arrays
        for name, tensor in _tensors(state, self.mass).items():
            if name in arrays:
                arrays[name][frame] = tensor.cpu().numpy()
        self.finish(frame, state.step)

    def finish(self, frame: int, step: int) -> None:
        """Write the step of a frame whose arrays are complete.

        Args:
            frame: Index of the frame.
            step: Its step.
        """
        n_done = max(frame + 1, len(self.trajectory.steps))
        self.trajectory.arrays["step"][frame] = step
        # One more than two frames back, in case a kill prevented this after the last frame. A frame
        # that is computed again may itself lie before the last two.
        for other in range(max(frame - 3, 1), min(frame + 1, n_done - 2)):
            for name in RESTART:
                if not self.trajectory.saves(name):
                    _drop(self.trajectory, name, other)

    def restart_state(self, before: int, state: State) -> tuple[int, State]:
        """See the function `restart_state`.

        Args:
            before: Index of a frame.
            state: Initial state of the run, whose device is that of the result.
        """
        return restart_state(self.trajectory, before, state.field.device)


def new_arrays(
    state: State,
    n_frames: int,
    mass: float | tuple[float, ...] | None = None,
    group: zarr.Group | None = None,
    chunk_sites: int | None = None,
) -> Mapping[str, Any]:
    """Make empty arrays for frames like a state, in memory if there is no group.

    Args:
        state: A state of the run.
        n_frames: Number of frames.
        mass: See `FrameWriter`.
        group: The group of the store.
        chunk_sites: Most sites of a chunk. None is the whole lattice.
    """
    arrays = {}
    for name, tensor in _tensors(state, mass).items():
        shape, dtype = (n_frames, *tensor.shape), _numpy_dtype(tensor)
        if group is None:
            arrays[name] = np.full(shape, np.nan, dtype)
            continue
        has_sites = name in ("field", "momentum", "forces")
        sites = (chunk_sites or tensor.shape[1], *tensor.shape[2:]) if has_sites else ()
        chunks = (1, 1, *sites) if has_sites else (1, *tensor.shape)
        names = ("frame", "replica", "site", "component")
        names = (
            names[: len(shape)] if has_sites else ("frame", "replica", "component")[: len(shape)]
        )
        arrays[name] = _create(group, name, shape, chunks, dtype, np.nan, names)
    if group is None:
        return arrays | {"step": np.full(n_frames, -1)}
    # One chunk: a frame's step is one small rename, and opening a long run reads one file.
    shape = (n_frames,)
    return arrays | {"step": _create(group, "step", shape, shape, np.int64, -1, ("frame",))}


def create_store(
    path: Path,
    state: State,
    n_frames: int,
    config: dict[str, Any],
    mass: float | tuple[float, ...] | None = None,
    records: Mapping[str, str] | None = None,
    chunk_sites: int | None = None,
) -> Trajectory:
    """Create a store without frames; it appears under its name all at once.

    Args:
        path: Its directory, which must be empty or not exist.
        state: Initial state.
        n_frames: Number of frames.
        config: What determines the run.
        mass: See `FrameWriter`.
        records: Text files to put beside the arrays, by name.
        chunk_sites: See `new_arrays`.
    """
    attributes = {"format": FORMAT, "format_version": FORMAT_VERSION}
    attributes |= {"config": config, "config_sha256": digest(config), "versions": versions()}
    if path.exists():
        path.rmdir()
    with atomic_directory(path) as unfinished:
        group = zarr.create_group(unfinished, zarr_format=3, attributes=attributes)
        new_arrays(state, n_frames, mass, group, chunk_sites)
        for name, text in (records or {}).items():
            atomic_write_text(unfinished / name, text)
    return open_store(path, mode="r+")


def resize_store(trajectory: Trajectory, n_frames: int, config: dict[str, Any]) -> Trajectory:
    """Change the number of frames of a store and its configuration.

    `step` is never longer than another array, and the configuration changes last. So a kill in
    between leaves a store that the same call resizes again.

    Args:
        trajectory: The run, opened for writing.
        n_frames: New number of frames.
        config: New configuration.
    """
    assert trajectory.path is not None
    group = zarr.open_group(trajectory.path, mode="r+", zarr_format=3)
    grows = n_frames > trajectory.n_planned
    for name in sorted(trajectory.arrays, key=lambda name: (name == "step") == grows):
        trajectory.arrays[name].resize((n_frames, *trajectory.arrays[name].shape[1:]))
    group.update_attributes({"config": config, "config_sha256": digest(config)})
    return open_store(trajectory.path, mode="r+")


def with_readable_steps(trajectory: Trajectory) -> Trajectory:
    """The same run, as one without frames if its steps are damaged.

    Args:
        trajectory: The run, opened for writing.
    """
    try:
        _ = trajectory.steps
    except InputError:
        trajectory.arrays["step"][:] = -1
        assert trajectory.path is not None
        return open_store(trajectory.path, mode="r+")
    return trajectory


def missing_frames(trajectory: Trajectory) -> list[int]:
    """Frames that are not written yet or are damaged, ascending. All written ones are read.

    Args:
        trajectory: The run.
    """
    steps = trajectory.steps
    damaged = [frame for frame in range(len(steps)) if not _is_whole(trajectory, frame)]
    return damaged + list(range(len(steps), trajectory.n_planned))


def restart_state(trajectory: Trajectory, before: int, device: torch.device) -> tuple[int, State]:
    """The last saved state before a frame, from which the run can be continued, and its frame.

    Args:
        trajectory: The run.
        before: Index of a frame.
        device: Device of the state.

    Raises:
        InputError: If there is none.
    """
    for frame in range(before - 1, -1, -1):
        # Most frames have no momenta, and a look at the file of one is faster than an error.
        if not trajectory.saves("momentum") and trajectory.path is not None:
            chunk = trajectory.path / "momentum" / "c" / str(frame)
            if not chunk.exists():
                continue
        try:
            return frame, trajectory.state(frame, device)
        except InputError:
            continue
    raise InputError(f"{trajectory.path} has no whole frame before frame {before}.")


def _is_whole(trajectory: Trajectory, frame: int) -> bool:
    """Whether all that must be kept of a frame can be read."""
    try:
        for name in trajectory.arrays.keys() - {"step"}:
            kept = frame == 0 or frame >= len(trajectory.steps) - 2
            if name not in RESTART or trajectory.saves(name) or kept:
                trajectory.frames(name)[frame]
    except InputError:
        return False
    return True


def _drop(trajectory: Trajectory, name: str, frame: int) -> None:
    """Forget one array of a frame."""
    if trajectory.path is None:
        trajectory.arrays[name][frame] = np.nan
    else:  # zarr would leave the folders of the chunks behind
        shutil.rmtree(trajectory.path / name / "c" / str(frame), ignore_errors=True)


def _create(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: Any,
    fill_value: float,
    dimension_names: tuple[str, ...],
) -> Any:
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        fill_value=fill_value,
        dimension_names=dimension_names,
        compressors=[ZstdCodec(level=0), Crc32cCodec()],
    )


def _tensors(state: State, mass: float | tuple[float, ...] | None) -> dict[str, torch.Tensor]:
    """What is saved of a state, by name."""
    tensors = {"field": state.field, "momentum": state.momentum, "forces": state.forces}
    if state.energy is not None:
        tensors["energy"] = state.energy
    if mass is not None:
        tensors["kinetic_energy"] = kinetic_energy(state, mass)
    return tensors


def kinetic_energy(state: State, mass: float | tuple[float, ...]) -> torch.Tensor:
    """Σ p²/2m over sites [replicas(, components)], in float64, because millions are added.

    Args:
        state: The state.
        mass: Mass per site, or per component.
    """
    twice = 2 * torch.tensor(mass, dtype=torch.float64, device=state.momentum.device)
    return state.momentum.double().square().sum(1) / twice


def _numpy_dtype(tensor: torch.Tensor) -> np.dtype:
    return torch.empty(0, dtype=tensor.dtype).numpy().dtype
