"""What determines a run, and how it continues what an earlier call has left in its directory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lattgnn.dynamics.philox import GENERATOR
from lattgnn.dynamics.schedule import Extended, SaveSchedule
from lattgnn.dynamics.state import Integrator, State
from lattgnn.dynamics.store import create_store, resize_store, with_readable_steps
from lattgnn.dynamics.trajectory import Trajectory, open_store
from lattgnn.errors import InputError
from lattgnn.files import atomic_write_text
from lattgnn.lattice import Lattice
from lattgnn.serialize import config_differences, describe

_EXTENDED = "lattgnn.dynamics.Extended"
#: Makes the text files of a run, by name, from the configuration of its trajectory.
Records = Callable[[Mapping[str, Any]], Mapping[str, str]]


@dataclass(frozen=True)
class Plan:
    """Everything that determines the numbers of a run.

    Attributes:
        lattice: Lattice of the field.
        integrator: Scheme of the steps.
        state: Initial state.
        n_steps: Number of steps.
        save: Steps to save.
        force_field: Description of the force field in plain types, or None.
        start_sha256: SHA-256 of the start where the state has no numbers, because they lie in many
            processes. None computes it.
        chunk_sites: Most sites of a chunk of a new run. None is the whole lattice.
    """

    lattice: Lattice
    integrator: Integrator
    state: State
    n_steps: int
    save: SaveSchedule
    force_field: Mapping[str, Any] | None
    start_sha256: str | None = None
    chunk_sites: int | None = None

    @cached_property
    def steps(self) -> np.ndarray:
        """The steps to save."""
        return self.state.step + self.save.steps(self.n_steps)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The plan in plain JSON types."""
        state = self.state
        start = {"seed": state.seed, "step": state.step, "first_replica": state.first_replica}
        config = {
            "force_field": self.force_field,
            "integrator": describe(self.integrator),
            "noise": GENERATOR,
            "save": describe(self.save),
            "n_steps": self.n_steps,
            "start": start | {"sha256": self.start_sha256 or self._sha256()},
            "dtype": str(state.field.dtype).removeprefix("torch."),
            "shape": list(state.field.shape),
            "lattice": self.lattice.to_dict(),
        }
        return json.loads(json.dumps(config))  # tuples become lists, as in the file

    def _sha256(self) -> str:
        """SHA-256 of the start."""
        state, digest = self.state, hashlib.sha256()
        # If there is no description of the force field, the initial forces identify it.
        forces = [state.forces] if self.force_field is None else []
        for tensor in (state.field, state.momentum, *forces):
            digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
        return digest.hexdigest()


def open_run(
    path: Path,
    plan: Plan,
    mass: float | tuple[float, ...] | None,
    records: Records | None,
) -> tuple[Trajectory, np.ndarray]:
    """Open the trajectory of a run: a new one, or what an earlier call has left.

    Args:
        path: The directory.
        plan: The run.
        mass: See `lattgnn.dynamics.store.FrameWriter`.
        records: Makes the text files for the directory of a new or longer run.

    Returns:
        The trajectory, opened for writing, and the steps of its frames.

    Raises:
        InputError: If the directory holds something else.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        texts = {} if records is None else records(plan.config)
        n_frames = len(plan.steps)
        store = create_store(path, plan.state, n_frames, plan.config, mass, texts, plan.chunk_sites)
        return store, plan.steps
    trajectory = with_readable_steps(open_store(path, mode="r+"))
    plan = replace(plan, save=_stored_schedule(trajectory, plan.save))
    config = _like_older_version(plan.config, trajectory.config)
    different = list(config_differences(trajectory.config, config))
    old_n_steps = trajectory.config["n_steps"]
    if different == ["n_steps"] and old_n_steps < plan.n_steps:
        longer = _longer(trajectory, plan, old_n_steps)
        config = _like_older_version(longer.config, trajectory.config)
        trajectory = resize_store(trajectory, len(longer.steps), config)
        for name, text in ({} if records is None else records(longer.config)).items():
            atomic_write_text(path / name, text)
        return trajectory, longer.steps
    if different:
        raise InputError(
            f"{str(path)!r} must be new, empty or hold this run, but its run differs in "
            f"{', '.join(different)}. Use another directory"
            f"{_ways_to_continue(trajectory.config, set(different))}."
        )
    if trajectory.n_planned != len(plan.steps):  # killed while it was resized
        trajectory = resize_store(trajectory, len(plan.steps), config)
    # zarr writes a file under a temporary name and renames it; a kill may leave that file behind.
    for leftover in path.rglob("*.partial"):
        if re.fullmatch(r"(zarr|\d+)\.[0-9a-f]+", leftover.stem):  # no file of the user
            leftover.unlink()
    return trajectory, plan.steps


def _ways_to_continue(stored: Mapping[str, Any], different: set[str]) -> str:
    """The rest of a sentence: what continues a run if only its dtype or length differ."""
    # The start is rounded to the dtype, so its hash differs too.
    free = {"n_steps", "dtype", "start.sha256"} if "dtype" in different else {"n_steps"}
    if not different <= free:
        return ""
    text = ""
    if "dtype" in different:
        text += f", or --dtype={stored['dtype']}, that of its run"
    if "n_steps" in different:
        text += (
            f", or n_steps of at least {stored['n_steps']}, because a run can only be made longer"
        )
    return text


def _longer(trajectory: Trajectory, plan: Plan, old_n_steps: int) -> Plan:
    """The plan of a longer run, whose first frames are those that exist or were planned."""
    old_steps = trajectory.steps
    grown = len(plan.steps) >= trajectory.n_planned
    if grown and np.array_equal(plan.steps[: len(old_steps)], old_steps):
        return plan
    save = plan.save
    return replace(plan, save=Extended(save, old_n_steps, momenta=save.momenta, forces=save.forces))


def _stored_schedule(trajectory: Trajectory, save: SaveSchedule) -> SaveSchedule:
    """The schedule of the store if it extends the given one, else the given one."""
    stored, lengths = trajectory.config["save"], []
    while stored != describe(save) and stored["class_path"] == _EXTENDED:
        lengths.append(stored["init_args"]["n_steps"])
        stored = stored["init_args"]["save"]
    if stored == describe(save):
        for n_steps in reversed(lengths):
            save = Extended(save, n_steps, momenta=save.momenta, forces=save.forces)
    return save


def _like_older_version(config: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as the version that wrote the stored one would have written it.

    Older versions had no choice of momenta and forces, and saved both.
    """
    arguments = config["save"]["init_args"]
    old = {"momenta", "forces"}.isdisjoint(stored["save"]["init_args"])
    if old and config["save"]["class_path"] == stored["save"]["class_path"]:
        kept = {name: arguments[name] for name in arguments.keys() - {"momenta", "forces"}}
        return config | {"save": config["save"] | {"init_args": kept}}
    return config
