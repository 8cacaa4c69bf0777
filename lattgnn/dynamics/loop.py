"""The time loop: advances a state, saves frames, resumes a run, and stops at runaway fields."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from lattgnn.dynamics.philox import GENERATOR
from lattgnn.dynamics.runaway import FIELD_LIMIT, advance_checked
from lattgnn.dynamics.schedule import SaveSchedule
from lattgnn.dynamics.state import ForceField, Integrator, State
from lattgnn.dynamics.training_range import compare_with_training, warn_of_open_boundary
from lattgnn.dynamics.trajectory import (
    Trajectory,
    create_store,
    extend_store,
    new_arrays,
    open_store,
    write_frame,
)
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.progress import progress_bar
from lattgnn.serialize import config_differences, describe

__all__ = ["check_integrator", "simulate"]


def simulate(
    force_field: ForceField,
    integrator: Integrator,
    state: State,
    n_steps: int,
    save: SaveSchedule,
    path: str | Path | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    field_limit: float = FIELD_LIMIT,
    progress: bool = False,
) -> Trajectory:
    """Run dynamics: advance `state` by `n_steps` steps and save frames on a schedule.

    With a learned force field, the saved frames are compared with the fields of its training, see
    `training_range`; if they leave that range, one warning says so.

    With a path, the frames are written to a zarr v3 store. Repeat the call to resume an interrupted
    run from its last complete frame, with the same bits as without the interruption; a finished run
    is returned at once. A larger `n_steps` extends a run, if the steps saved so far are among those
    of the new schedule (with `Regular`, if `every` divides the old `n_steps`).

    Args:
        force_field: Exact or learned force field.
        integrator: Scheme of the steps.
        state: Initial state. Steps are counted from `state.step`.
        n_steps: Number of steps.
        save: Steps to save.
        path: Directory of the trajectory. None keeps the frames in memory.
        config: Description of the force field in plain types (`lattgnn.serialize.describe`), which
            is saved with the frames and must be the same when the run is resumed.
        field_limit: Largest |field| allowed. The run stops above it.
        progress: Show the step, the rate in site-steps/s and the time left on stderr.

    Returns:
        The trajectory, opened for reading.

    Raises:
        RunawayFieldError: If a field, force or energy is NaN or infinite, or a field exceeds
            `field_limit`.
        InputError: If `path` holds another run, or the integrator is for another kind of field.
    """
    check_integrator(integrator, force_field)
    steps = state.step + save.steps(n_steps)
    full_config = _run_config(force_field.lattice, integrator, state, n_steps, save, config)
    trajectory = _open(path, state, steps, full_config)
    n_done = len(trajectory.steps)
    statistics = getattr(force_field, "field_statistics", None)
    if n_done < len(steps):
        warn_of_open_boundary(statistics, force_field.lattice)
        prepare = getattr(force_field, "prepare", None)
        if prepare is not None:
            prepare()  # builds the tables of compiled forces, or renews them for changed weights
        if n_done > 0:
            state = trajectory.state(-1, state.field.device)
        n_sites = math.prod(state.field.shape[:2])
        with progress_bar(int(steps[-1]), state.step, progress, weight=n_sites) as show:
            # A step reads one state and writes the next, so two workspaces that take turns are
            # enough: no step allocates memory. `state` itself belongs to the caller and is not
            # overwritten.
            workspaces = cycle((state.workspace(), state.workspace()))
            for frame, step in enumerate(steps[n_done:].tolist(), start=n_done):
                state = advance_checked(
                    force_field, integrator, state, step, field_limit, workspaces, show
                )
                write_frame(trajectory, frame, state)
    finished = (
        Trajectory(trajectory.arrays, trajectory.config) if path is None else Trajectory.open(path)
    )
    compare_with_training(statistics, finished, path)
    return finished


def check_integrator(integrator: Integrator, force_field: ForceField) -> None:
    """Refuse an integrator for another kind of field than that of the model.

    A force field without a `hamiltonian` takes any integrator.

    Args:
        integrator: The integrator.
        force_field: The force field.

    Raises:
        InputError: If one of them is for spins and the other is not.
    """
    model = getattr(force_field, "hamiltonian", None)
    if model is not None and integrator.moves_spins != model.field_type.is_spin:
        use = "HeunLLG" if model.field_type.is_spin else "VerletLangevin"
        raise InputError(
            f"integrator must suit the field of {type(model).__name__}, got "
            f"{type(integrator).__name__}. Use lattgnn.dynamics.{use}."
        )


def _run_config(
    lattice: Lattice,
    integrator: Integrator,
    state: State,
    n_steps: int,
    save: SaveSchedule,
    force_field: Any,
) -> dict[str, Any]:
    """Everything that determines the numbers of a run, in plain JSON types."""
    digest = hashlib.sha256()
    # If there is no description of the force field, the initial forces tell it from other ones.
    for tensor in (state.field, state.momentum, *([state.forces] if force_field is None else [])):
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    start = {"seed": state.seed, "step": state.step, "first_replica": state.first_replica}
    config = {
        "force_field": force_field,
        "integrator": describe(integrator),
        "noise": GENERATOR,
        "save": describe(save),
        "n_steps": n_steps,
        "start": start | {"sha256": digest.hexdigest()},
        "dtype": str(state.field.dtype).removeprefix("torch."),
        "shape": list(state.field.shape),
        "lattice": lattice.to_dict(),
    }
    return json.loads(json.dumps(config))  # tuples become lists, as in the file it is compared with


def _open(
    path: str | Path | None, state: State, steps: np.ndarray, config: dict[str, Any]
) -> Trajectory:
    """Open the trajectory of this run: in memory, new, or left by an earlier call."""
    if path is None:
        return Trajectory(new_arrays(state, len(steps)), config)
    path = Path(path)
    if not path.exists():
        return create_store(path, state, len(steps), config)
    trajectory = open_store(path, mode="r+")
    different = list(config_differences(trajectory.config, config))
    old_steps = trajectory.steps
    if different == ["n_steps"] and trajectory.config["n_steps"] < config["n_steps"]:
        # More steps were requested. The frames that exist must be the first ones of the new
        # schedule.
        grown = len(steps) >= trajectory.n_planned
        if grown and np.array_equal(steps[: len(old_steps)], old_steps):
            return extend_store(trajectory, len(steps), config)
    if different:
        raise InputError(
            f"path must be new or hold this run, got {str(path)!r}, "
            f"which differs in {', '.join(different)}. Use another path."
        )
    # zarr writes a chunk under a temporary name and renames it; a kill may leave that file behind.
    for leftover in path.rglob("*.partial"):
        leftover.unlink()
    return trajectory
