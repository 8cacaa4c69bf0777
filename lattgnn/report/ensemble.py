"""Several runs of one system with different noise, read as one run with more replicas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float, Int

from lattgnn import dynamics
from lattgnn.analysis import Thermalization, thermalization
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.run_records import CONFIG
from lattgnn.serialize import build

Array = np.ndarray
# The parts of a run's configuration that say what was simulated, in contrast to how often, for how
# long and with which noise.
SYSTEM = ("lattice", "force_field", "integrator")


@dataclass(frozen=True)
class JoinedFrames:
    """Frames of several runs; the replicas of all of them are side by side."""

    parts: tuple[Any, ...]
    frames: tuple[Int[Array, "n_frames"], ...]

    def __len__(self) -> int:
        return len(self.frames[0])

    def __getitem__(self, frame: int, /) -> Array:
        rows = [
            np.asarray(part[int(index[frame])])
            for part, index in zip(self.parts, self.frames, strict=True)
        ]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Runs of one system; the frames that all of them have, and all replicas.

    Attributes:
        runs: The runs.

    Raises:
        InputError: If the runs are of different systems, have no step in common, or repeat the
            noise of one another, so that their replicas are not independent.
    """

    runs: tuple[Trajectory, ...]

    def __post_init__(self) -> None:
        first = _system(self.runs[0])
        for run in self.runs[1:]:
            different = [key for key, value in _system(run).items() if value != first[key]]
            if different:
                raise InputError(
                    f"{_name(run)} and {_name(self.runs[0])} must be runs of one system, but differ"
                    f" in {', '.join(different)}. Use write_comparison."
                )
        _check_noise(self.runs)
        if not len(self.steps):
            raise InputError(
                f"{' and '.join(map(_name, self.runs))} must have saved steps in common. Use the "
                "same schedule."
            )

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the first run."""
        return self.runs[0].config

    @property
    def lattice(self) -> Lattice:
        """The lattice of all runs."""
        return self.runs[0].lattice

    @cached_property
    def steps(self) -> Int[Array, "n_frames"]:
        """Steps that all runs have saved."""
        common = self.runs[0].steps
        for run in self.runs[1:]:
            common = np.intersect1d(common, run.steps)
        return common

    @property
    def times(self) -> Float[Array, "n_frames"]:
        """Time of each frame."""
        return self.steps * float(self.config["integrator"]["init_args"]["dt"])

    @property
    def n_replicas(self) -> int:
        """Number of replicas of all runs together."""
        return sum(run.fields.shape[1] for run in self.runs)

    @property
    def fields(self) -> JoinedFrames:
        """Fields [frame, replica, site(, component)]."""
        return self._joined([run.fields for run in self.runs])

    @property
    def subtracts_mean(self) -> bool:
        """Whether a uniform field counts as no order: for displacements, not for spins."""
        name = self.config["integrator"].get("class_path", "").rpartition(".")[2]
        return not getattr(getattr(dynamics, name, None), "moves_spins", False)

    @cached_property
    def energies(self) -> Float[Array, "n_frames n_replicas"] | None:
        """Potential energy, or None where a force field has none."""
        if any(run.energies is None for run in self.runs):
            return None
        joined = self._joined([run.energies for run in self.runs])
        return np.stack([joined[n] for n in range(len(joined))]).astype(np.float64)

    @cached_property
    def kinetic_energies(self) -> Float[Array, "n_frames n_replicas"] | None:
        """Kinetic energy, or None for dynamics without momenta."""
        thermal = self.thermalization
        if thermal is None:
            return None
        return 0.5 * self.lattice.n_sites * thermal.temperature.sum(axis=-1)

    @cached_property
    def thermalization(self) -> Thermalization | None:
        """Kinetic temperature of each component along the run, or None without momenta.

        Per site and component it is twice the kinetic energy, which every run with momenta saves.
        """
        if any(run.kinetic_energies is None for run in self.runs):
            return None
        joined = self._joined([run.kinetic_energies for run in self.runs])
        energy = np.stack([joined[n] for n in range(len(joined))]).astype(np.float64)
        energy = energy[..., None] if energy.ndim == 2 else energy
        n_sites = self.lattice.n_sites
        bath = self._bath(energy.shape[-1])
        return thermalization(self.times, 2 * energy / n_sites, n_sites, bath)

    def _bath(self, n_components: int) -> Float[Array, "n_frames n_components"] | None:
        """Temperature of the bath in each frame; None without friction."""
        arguments = self.config["integrator"]["init_args"]
        kT, gamma = arguments.get("kT"), arguments.get("gamma")
        if kT is None or gamma is None or not np.any(gamma):
            return None
        if isinstance(kT, Mapping):  # a protocol
            protocol = build(kT, dynamics.TemperatureProtocol)
            kT = [[protocol.at(int(step))] for step in self.steps]
        bath = np.asarray(kT, dtype=np.float64)
        return np.broadcast_to(bath, (len(self.times), n_components))

    def _joined(self, parts: Sequence[Any]) -> JoinedFrames:
        frames = [np.searchsorted(run.steps, self.steps) for run in self.runs]
        return JoinedFrames(tuple(parts), tuple(frames))


def as_ensemble(runs: "Trajectory | Ensemble | Sequence[Trajectory]") -> Ensemble:
    """One run, several runs of one system, or an ensemble as an ensemble.

    Args:
        runs: The runs.

    Returns:
        The ensemble.
    """
    if isinstance(runs, Ensemble):
        return runs
    return Ensemble((runs,) if isinstance(runs, Trajectory) else tuple(runs))


def group_runs(runs: Sequence[Trajectory]) -> list[tuple[dict[str, Any], Ensemble]]:
    """Group runs by what was simulated, and by the perfect order that they started from.

    Args:
        runs: Runs of one or several systems.

    Returns:
        For each system the parameters in which the systems differ, such as {"kT": 0.1} or
        {"order": "tetrahedral"}, and its runs. They are sorted by these parameters.
    """
    groups: list[list[Trajectory]] = []
    for run in runs:
        for group in groups:
            if _system(run) == _system(group[0]):
                group.append(run)
                break
        else:
            groups.append([run])
    flat = [_flatten(_system(group[0])) for group in groups]
    keys: dict[str, None] = {}  # in the order in which they first appear
    for parameters in flat:
        keys |= dict.fromkeys(parameters)
    different = []
    for key in keys:
        texts = {repr(parameters.get(key)) for parameters in flat}
        if len(texts) > 1:
            different.append(key)
    found = []
    for group, parameters in zip(groups, flat, strict=True):
        values = {key: parameters.get(key) for key in different}
        found.append((_short_names(values), Ensemble(tuple(group))))
    return sorted(found, key=lambda pair: [_sort_key(value) for value in pair[0].values()])


def _system(run: Trajectory) -> dict[str, Any]:
    """What was simulated. Replicas of one perfect order are no replicas of another one."""
    return {key: run.config.get(key) for key in SYSTEM} | {"order": _order(run)}


def _order(run: Trajectory) -> str:
    """The perfect order that a run of `lattgnn simulate` started from, or "none"."""
    file = None if run.path is None else run.path / CONFIG
    if file is None or not file.is_file():
        return "none"
    options = yaml.safe_load(file.read_text(encoding="utf-8"))
    order = (options.get("initial") or {}).get("order")
    if order is None:
        return "none"
    arguments = order.get("init_args") or {}
    text = ", ".join(f"{key}={value}" for key, value in arguments.items())
    name = order["class_path"].rpartition(".")[2]
    return f"{name}({text})" if text else name


def _sort_key(value: Any) -> tuple[bool, Any]:
    is_number = isinstance(value, int | float)
    return (not is_number, value if is_number else str(value))


def _short_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The last part of each dotted name where that tells them apart."""
    short = [key.rpartition(".")[2] for key in values]
    unique = len(set(short)) == len(short)
    return dict(zip(short if unique else values, values.values(), strict=True))


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat = {}
    for key, part in value.items():
        # class_path and init_args say how an object is built, not what it is called.
        name = prefix if key == "init_args" else f"{prefix}.{key}".strip(".")
        flat |= _flatten(part, name)
    return flat


def _name(run: Trajectory) -> str:
    return "a run in memory" if run.path is None else str(run.path)


def _check_noise(runs: Sequence[Trajectory]) -> None:
    """Refuse runs that start from the same fields, or whose replicas share their noise."""
    seen: dict[tuple[Any, int], Trajectory] = {}
    for run in runs:
        start = run.config.get("start")
        if start is None:
            continue
        first = start["first_replica"]
        for replica in range(first, first + run.fields.shape[1]):
            other = seen.setdefault((start["seed"], replica), run)
            if other is not run:
                raise InputError(
                    f"{_name(run)} must be independent of {_name(other)}, but both have the noise "
                    f"of seed {start['seed']}, replica {replica}. Use runs with other seeds."
                )
