"""Frames of a run, on disk (zarr v3) or in memory.

The arrays are field, momentum and forces [frame, replica, site(, component)], energy [frame,
replica] and step [frame]. Their shape is fixed from the start, because the schedule says how many
frames there will be; a frame that is not written yet has step −1.

The step of a frame is written after its other arrays, and each chunk is written under a temporary
name and renamed. So after a kill at any moment, every frame that has a step is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import zarr

from lattgnn.dynamics.state import State
from lattgnn.errors import InputError, MissingExtraError
from lattgnn.files import atomic_directory
from lattgnn.lattice import Lattice
from lattgnn.serialize import versions

if TYPE_CHECKING:
    import xarray

FORMAT, FORMAT_VERSION = "lattgnn trajectory", 1


@dataclass(frozen=True, eq=False)
class Frames:
    """The written frames of one array: `frames[-1]`, `frames[::2, 0]` and `frames[:]` read them."""

    array: Any
    n_frames: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, replicas, …)."""
        return (self.n_frames, *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the run."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.n_frames

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis:
            first, rest = slice(None), [Ellipsis, *rest]
        frames = np.arange(self.n_frames)[
            first
        ]  # negative, out of range, lists and masks as numpy has them
        if frames.ndim == 0:
            return self._read((int(frames), *rest))
        if isinstance(first, slice) and first.step in (None, 1):
            start, stop, _ = first.indices(self.n_frames)
            return self._read((slice(start, stop), *rest))
        rows = [self._read((int(frame), *rest)) for frame in frames]
        return np.stack(rows) if rows else self._read((slice(0, 0), *rest))

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        try:
            values = np.asarray(self.array[key])
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{self.array!r} is damaged ({error}). Run the simulation again."
            ) from error
        if np.isnan(
            values
        ).any():  # the loop saves finite numbers only; NaN is what a lost chunk reads as
            raise InputError(
                f"{self.array!r} is truncated: a chunk is missing. Run the simulation again."
            )
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(self.dtype if dtype is None else dtype, copy=bool(copy))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A run, finished or not: its configuration and its frames.

    Attributes:
        arrays: zarr or numpy arrays by name, see the module's docstring.
        config: what determined the run: force_field, integrator, noise (the generator's name, which
            older files lack), save, n_steps, lattice, start (seed, step, first_replica, sha256 of
            field and momentum), dtype, shape.
        path: where it lies, None in memory.
    """

    arrays: Mapping[str, Any]
    config: dict[str, Any]
    path: Path | None = None

    @classmethod
    def open(cls, path: str | Path) -> Trajectory:
        """Open a trajectory for reading.

        Args:
            path: directory written by `simulate`.

        Raises:
            ValueError: if there is no trajectory, it has another format version, or no whole frame.
        """
        trajectory = open_store(Path(path))
        if len(trajectory.steps) == 0:
            raise InputError(
                f"{path} is truncated: it holds no whole frame. Run the simulation again."
            )
        return trajectory

    @cached_property
    def steps(self) -> np.ndarray:
        """Step of each whole frame, int64 [frames]."""
        steps = np.asarray(self.arrays["step"][:])
        return steps[: int(np.cumprod(steps >= 0).sum())]

    @property
    def times(self) -> np.ndarray:
        """Time of each frame, float64 [frames]: step × dt."""
        return self.steps * float(self.config["integrator"]["init_args"]["dt"])

    @property
    def n_planned(self) -> int:
        """Number of frames in the schedule."""
        return self.arrays["step"].shape[0]

    @property
    def complete(self) -> bool:
        """Whether all frames of the schedule are there."""
        return len(self.steps) == self.n_planned

    @property
    def fields(self) -> Frames:
        """Fields [frame, replica, site(, component)], read when indexed."""
        return self._frames("field")

    @property
    def momenta(self) -> Frames:
        """Momenta p = m v, like `fields`."""
        return self._frames("momentum")

    @property
    def forces(self) -> Frames:
        """Forces −∂E/∂field, like `fields`."""
        return self._frames("forces")

    @property
    def energies(self) -> Frames | None:
        """Potential energy [frame, replica], or None if the force field has none."""
        return self._frames("energy") if "energy" in self.arrays else None

    @cached_property
    def lattice(self) -> Lattice:
        """The lattice of the run."""
        return Lattice.from_dict(self.config["lattice"])

    def state(self, frame: int = -1, device: str | torch.device = "cpu") -> State:
        """The state saved in a frame, from which a run continues bit for bit.

        Args:
            frame: index of a whole frame, negative from the end.
            device: where the tensors go.
        """

        def read(frames: Frames) -> torch.Tensor:
            return torch.from_numpy(np.array(frames[frame])).to(device)

        start = self.config["start"]
        energy = None if self.energies is None else read(self.energies)
        field, momentum, forces = read(self.fields), read(self.momenta), read(self.forces)
        step = int(self.steps[frame])
        return State(field, momentum, forces, energy, step, start["seed"], start["first_replica"])

    def to_xarray(self) -> xarray.Dataset:
        """The frames as a lazy xarray Dataset with dimensions time, replica, site(, component).

        Sites carry their Cartesian positions as the coordinates x, y and z, as many as there are
        dimensions, and their sublattice.

        Raises:
            MissingExtraError: if xarray, the extra `view`, is not installed.
        """
        try:
            import xarray
        except ImportError as error:
            raise MissingExtraError(
                "to_xarray needs xarray. Install it with: pip install 'lattgnn[view]'"
            ) from error
        import dask.array

        names = ("time", "replica", "site", "component")
        data = {}
        for name in self.arrays.keys() - {"step"}:
            frames = self._frames(name)
            chunks: Any = (1, *frames.shape[1:])
            lazy = dask.array.from_array(frames, chunks=chunks)
            data[name] = (names[: frames.ndim], lazy)
        first = self.config["start"]["first_replica"]
        replicas = np.arange(first, first + self.config["shape"][0])
        coordinates: dict[str, Any] = {"time": self.times, "replica": replicas}
        coordinates["step"] = ("time", self.steps)
        coordinates["sublattice"] = ("site", self.lattice.sublattices)
        for axis, position in zip("xyz", self.lattice.positions.T, strict=False):
            coordinates[axis] = ("site", position)
        return xarray.Dataset(data, coordinates, attrs={"config": json.dumps(self.config)})

    def _frames(self, name: str) -> Frames:
        return Frames(self.arrays[name], len(self.steps))


def new_arrays(state: State, n_frames: int, group: zarr.Group | None = None) -> Mapping[str, Any]:
    """Empty arrays for `n_frames` frames like `state`, in memory if there is no group."""
    arrays = {}
    for name, tensor in _tensors(state).items():
        shape, dtype = (n_frames, *tensor.shape), _numpy_dtype(tensor)
        if group is None:
            arrays[name] = np.full(shape, np.nan, dtype)
            continue
        chunks = (1, tensor.shape[0]) if name == "energy" else (1, 1, *tensor.shape[1:])
        names = ("frame", "replica", "site", "component")[: len(shape)]
        arrays[name] = group.create_array(
            name, shape=shape, dtype=dtype, chunks=chunks, fill_value=np.nan, dimension_names=names
        )
    if group is None:
        return arrays | {"step": np.full(n_frames, -1)}
    # One chunk: a frame's step is one small rename, and opening a long run reads one file.
    whole = {"shape": (n_frames,), "chunks": (n_frames,), "dimension_names": ("frame",)}
    step = group.create_array("step", dtype="int64", fill_value=-1, **whole)
    return arrays | {"step": step}


def write_frame(trajectory: Trajectory, frame: int, state: State) -> None:
    """Write a frame, its step last."""
    for name, tensor in _tensors(state).items():
        trajectory.arrays[name][frame] = tensor.cpu().numpy()
    trajectory.arrays["step"][frame] = state.step


def create_store(path: Path, state: State, n_frames: int, config: dict[str, Any]) -> Trajectory:
    """A store without frames; it appears under its name all at once."""
    attributes = {"format": FORMAT, "format_version": FORMAT_VERSION}
    attributes |= {"config": config, "versions": versions()}
    with atomic_directory(path) as unfinished:
        group = zarr.create_group(unfinished, zarr_format=3, attributes=attributes)
        new_arrays(state, n_frames, group)
    return open_store(path, mode="r+")


def open_store(path: Path, mode: str = "r") -> Trajectory:
    """Open a store that may have no frames yet.

    Raises:
        ValueError: if there is no trajectory, or it has another format version.
    """
    if not (path / "zarr.json").is_file():
        raise InputError(f"path must be a trajectory written by simulate, got {str(path)!r}.")
    try:
        group: Any = zarr.open_group(path, mode=mode, zarr_format=3)  # pyright: ignore[reportArgumentType]
        attributes = dict(group.attrs)
        arrays = dict(group.arrays())
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{path} is no readable trajectory ({error}). Run the simulation again."
        ) from error
    if attributes.get("format") != FORMAT:
        raise InputError(f"{path} must hold a {FORMAT}, got format {attributes.get('format')!r}.")
    if (version := attributes.get("format_version")) != FORMAT_VERSION:
        raise InputError(
            f"{path} must have format version {FORMAT_VERSION}, got {version!r}. "
            f"Use the lattgnn that wrote it ({attributes.get('versions', {}).get('lattgnn')})."
        )
    there = arrays.keys() | attributes.keys()
    if missing := {"field", "momentum", "forces", "step", "config"} - there:
        raise InputError(
            f"{path} is truncated: {sorted(missing)} missing. Run the simulation again."
        )
    return Trajectory(arrays, dict(attributes["config"]), path)


def extend_store(trajectory: Trajectory, n_frames: int, config: dict[str, Any]) -> Trajectory:
    """Extend a store to more frames.

    `step` grows after the other arrays and the configuration changes last, so a kill in between
    leaves a store that the same call extends again.
    """
    assert trajectory.path is not None
    group = zarr.open_group(trajectory.path, mode="r+", zarr_format=3)
    for name in sorted(trajectory.arrays, key=lambda name: name == "step"):
        trajectory.arrays[name].resize((n_frames, *trajectory.arrays[name].shape[1:]))
    group.attrs["config"] = config
    return open_store(trajectory.path, mode="r+")


def _tensors(state: State) -> dict[str, torch.Tensor]:
    tensors = {"field": state.field, "momentum": state.momentum, "forces": state.forces}
    return tensors if state.energy is None else tensors | {"energy": state.energy}


def _numpy_dtype(tensor: torch.Tensor) -> np.dtype:
    return torch.empty(0, dtype=tensor.dtype).numpy().dtype
