"""Frames of a run, on disk (zarr v3) or in memory.

The arrays are field, momentum and forces [frame, replica, site(, component)], energy [frame,
replica], kinetic energy [frame, replica(, component)] and step [frame]. Their shape is fixed from
the start, because the schedule says how many frames there will be; a frame that is not written yet
has step −1. The module `store` writes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import zarr

from lattgnn.dynamics.frames import DAMAGE, RESTART, Frames
from lattgnn.dynamics.state import State
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

if TYPE_CHECKING:
    import xarray

FORMAT, FORMAT_VERSION = "lattgnn trajectory", 1
_ARRAYS = ("field", "momentum", "forces", "energy", "kinetic_energy", "step")


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A run, finished or not: its configuration and its frames.

    Attributes:
        arrays: zarr or numpy arrays by name, see the module's docstring.
        config: What determined the run: force_field, integrator, noise (the generator's name, which
            older files lack), save, n_steps, lattice, start (seed, step, first_replica, sha256 of
            field and momentum), dtype, shape.
        path: Its directory, None in memory.
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
                f"{path} is truncated: it holds no whole frame. Run the simulation again with the "
                "same command."
            )
        return trajectory

    @cached_property
    def steps(self) -> np.ndarray:
        """Step of each whole frame, int64 [frames]."""
        try:
            steps = np.asarray(self.arrays["step"][:])
        except DAMAGE as error:
            raise InputError(
                f"the steps of {str(self.path)!r} are damaged ({error}). Run the simulation again "
                "with the same command, which computes damaged frames anew."
            ) from error
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

    def saves(self, name: str) -> bool:
        """Whether an array is saved in every frame.

        Args:
            name: "field", "momentum", "forces", "energy" or "kinetic_energy".
        """
        if name not in RESTART:
            return name in self.arrays
        # Older versions saved all, and had no such options.
        return self.config.get("save", {}).get("init_args", {}).get(RESTART[name], True)

    @property
    def fields(self) -> Frames:
        """Fields [frame, replica, site(, component)], read when indexed."""
        return self.frames("field")

    @property
    def momenta(self) -> Frames:
        """Momenta p = m v, like `fields`: of all frames, or of the first and the last only."""
        return self.frames("momentum")

    @property
    def forces(self) -> Frames:
        """Forces −∂E/∂field, like `fields`: of all frames, or of the first and the last only."""
        return self.frames("forces")

    @property
    def energies(self) -> Frames | None:
        """Potential energy [frame, replica], or None if the force field has none."""
        return self.frames("energy") if "energy" in self.arrays else None

    @cached_property
    def kinetic_energies(self) -> np.ndarray | None:
        """Kinetic energy Σ p²/2m over sites [frame, replica(, component)]; None without momenta.

        Twice this, per site, is the kinetic temperature of each component.
        """
        mass = self.config["integrator"]["init_args"].get("mass")
        if mass is None:
            return None
        if "kinetic_energy" in self.arrays:
            return self.frames("kinetic_energy")[:]
        # Older versions saved all momenta instead.
        squares = [np.square(self.momenta[n], dtype=np.float64) for n in range(len(self.steps))]
        return np.stack([square.sum(axis=1) for square in squares]) / (2 * mass)

    @cached_property
    def lattice(self) -> Lattice:
        """The lattice of the run."""
        return Lattice.from_dict(self.config["lattice"])

    def state(self, frame: int = -1, device: str | torch.device = "cpu") -> State:
        """The state saved in a frame, from which a run continues bit for bit.

        Args:
            frame: Index of a whole frame, negative from the end. Without the options `momenta` and
                `forces` of the schedule, this can be the first, the last or the last but one.
            device: Device of the tensors.

        Raises:
            InputError: If the frame is damaged, or its momenta or forces were not saved.
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
        """
        import dask.array
        import xarray  # imported here because it takes most of a second

        data = {}
        for name in filter(self.saves, self.arrays.keys() - {"step"}):
            frames = self.frames(name)
            chunks: Any = (1, *frames.shape[1:])
            lazy = dask.array.from_array(frames, chunks=chunks)
            names = ("time", "replica", "site", "component")
            names = names[:2] + names[3:] if name == "kinetic_energy" else names
            data[name] = (names[: frames.ndim], lazy)
        first = self.config["start"]["first_replica"]
        replicas = np.arange(first, first + self.config["shape"][0])
        coordinates: dict[str, Any] = {"time": self.times, "replica": replicas}
        coordinates["step"] = ("time", self.steps)
        coordinates["sublattice"] = ("site", self.lattice.sublattices)
        for axis, position in zip("xyz", self.lattice.positions.T, strict=False):
            coordinates[axis] = ("site", position)
        return xarray.Dataset(data, coordinates, attrs={"config": json.dumps(self.config)})

    def frames(self, name: str) -> Frames:
        """The frames of one array.

        Args:
            name: "field", "momentum", "forces", "energy" or "kinetic_energy".
        """
        return Frames(self.arrays[name], len(self.steps), name, self.path, self.saves(name))


def open_store(path: Path, mode: str = "r") -> Trajectory:
    """Open a store that may have no frames yet.

    Raises:
        ValueError: if there is no trajectory, or it has another format version.
    """
    if not (path / "zarr.json").is_file():
        fault = "is not a run of `lattgnn simulate`" if path.exists() else "does not exist"
        raise InputError(f"{str(path)!r} {fault}. Give the folder of a run.")
    again = f"Remove {str(path)!r} and run the simulation again."
    try:
        group: Any = zarr.open_group(path, mode=mode, zarr_format=3)  # pyright: ignore[reportArgumentType]
        attributes = dict(group.attrs)
        arrays = {name: group[name] for name in _ARRAYS if name in group}
    except (*DAMAGE, AssertionError) as error:
        raise InputError(f"{path} is not a readable trajectory ({error}). {again}") from error
    if attributes.get("format") != FORMAT:
        raise InputError(f"{path} must hold a {FORMAT}, got format {attributes.get('format')!r}.")
    if (version := attributes.get("format_version")) != FORMAT_VERSION:
        raise InputError(
            f"{path} must have format version {FORMAT_VERSION}, got {version!r}. "
            f"Use the lattgnn that wrote it ({attributes.get('versions', {}).get('lattgnn')})."
        )
    there = arrays.keys() | attributes.keys()
    if missing := {"field", "momentum", "forces", "step", "config"} - there:
        raise InputError(f"{path} is truncated: {sorted(missing)} missing. {again}")
    config = dict(attributes["config"])
    if attributes.get("config_sha256", digest(config)) != digest(config):  # older runs have none
        raise InputError(f"{path} is damaged: its configuration was changed. {again}")
    _check_shapes(arrays, config, path)
    return Trajectory(arrays, config, path)


def _check_shapes(arrays: Mapping[str, Any], config: Mapping[str, Any], path: Path) -> None:
    """Refuse arrays whose shapes contradict the configuration."""
    n_frames = arrays["step"].shape[0]
    for name, array in arrays.items():
        shape = [] if name == "step" else config["shape"]
        if name in ("energy", "kinetic_energy"):
            shape = shape[:1] if name == "energy" else [shape[0], *shape[2:]]
        # While a store is resized, `step` is the last array to grow and the first to shrink.
        if list(array.shape[1:]) != shape or array.shape[0] < n_frames:
            raise InputError(
                f"{path} is damaged: {name} has shape {list(array.shape)}, which contradicts its "
                f"configuration. Remove {str(path)!r} and run the simulation again."
            )


def digest(config: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration, by which a damaged one is recognized.

    Args:
        config: Plain JSON types.
    """
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
