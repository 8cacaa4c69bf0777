"""The loop: advance a state, save frames, continue a killed run, stop loudly when a field runs away."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lattgnn.dynamics.philox import GENERATOR
from lattgnn.dynamics.schedule import SaveSchedule
from lattgnn.dynamics.state import ForceField, Integrator, State, evaluate
from lattgnn.dynamics.trajectory import (
    Trajectory,
    create_store,
    extend_store,
    new_arrays,
    open_store,
    write_frame,
)
from lattgnn.dynamics.update import all_within
from lattgnn.errors import InputError, StoppedRunError
from lattgnn.lattice import Lattice
from lattgnn.progress import progress_bar
from lattgnn.serialize import config_differences, describe

__all__ = ["ForceField", "RunawayFieldError", "simulate"]


class RunawayFieldError(StoppedRunError):
    """A field or force became NaN, infinite or too large; the frames saved before stay.

    Attributes:
        step: the step that failed.
        replica: row of the batch.
        site: site index.
        value: what was found there.
    """

    def __init__(
        self, quantity: str, step: int, replica: int, site: int, value: float, limit: float
    ) -> None:
        self.step, self.replica, self.site, self.value = step, replica, site, value
        super().__init__(
            f"{quantity} must stay finite and within ±{limit:g}, got {value:g} at step {step}, "
            f"replica {replica}, site {site}. Use a smaller dt, or look at the force field there."
        )


def simulate(
    force_field: ForceField,
    integrator: Integrator,
    state: State,
    n_steps: int,
    save: SaveSchedule,
    path: str | Path | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    field_limit: float = 1e6,
    progress: bool = False,
) -> Trajectory:
    """Advance `state` by `n_steps` steps and save the frames that the schedule names.

    With a path, the frames go to a zarr v3 store. The same call again continues a killed run from its last
    whole frame, bit for bit, and returns a finished one at once. A larger `n_steps` continues a finished run
    if the saved steps stay the same (with `Regular`, when `every` divides the old `n_steps`).

    Args:
        force_field: exact or learned; called once a step.
        integrator: what a step is.
        state: where to start; steps are counted from `state.step`.
        n_steps: number of steps.
        save: which steps become frames.
        path: directory of the trajectory; None keeps the frames in memory.
        config: plain description of the force field (`lattgnn.serialize.describe`), stored with the frames.
        field_limit: |field| above this stops the run.
        progress: show steps, rate in site-steps/s and time left on stderr.

    Returns:
        The trajectory, open for reading.

    Raises:
        RunawayFieldError: if a field or force is NaN or infinite, or a field exceeds `field_limit`.
        ValueError: if `path` holds the trajectory of another run.
    """
    steps = state.step + save.steps(n_steps)
    full_config = _run_config(force_field.lattice, integrator, state, n_steps, save, config)
    trajectory = _open(path, state, steps, full_config)
    n_done = len(trajectory.steps)
    if n_done < len(steps):
        prepare = getattr(force_field, "prepare", None)
        if prepare is not None:
            prepare()  # builds tables, or rebuilds them after a change of weights
        if n_done > 0:
            state = trajectory.state(-1, state.field.device)
        n_sites = math.prod(state.field.shape[:2])
        with progress_bar(int(steps[-1]), state.step, progress, weight=n_sites) as show:
            # Two workspaces alternate, so that no step allocates memory.
            workspaces = cycle((state.workspace(), state.workspace()))
            for frame, step in enumerate(steps[n_done:].tolist(), start=n_done):
                state = _advance(
                    force_field, integrator, state, step, field_limit, workspaces, show
                )
                write_frame(trajectory, frame, state)
    return (
        Trajectory(trajectory.arrays, trajectory.config) if path is None else Trajectory.open(path)
    )


@dataclass(slots=True)
class _Guarded:
    """A force field that stops at a field out of bounds, before a solver chokes on it."""

    force_field: ForceField
    field_limit: float
    step: int

    @property
    def lattice(self) -> Lattice:
        return self.force_field.lattice

    @property
    def field_shape(self) -> tuple[int, ...]:
        return self.force_field.field_shape

    @property
    def writes_in_place(self) -> bool:
        return getattr(self.force_field, "writes_in_place", False)

    def __call__(self, field: Tensor, *, out: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        on_cpu = field.device.type == "cpu"
        if on_cpu:
            _check(self.step, self.field_limit, field=field)
        try:
            energy, forces = evaluate(self.force_field, field, out)
        except Exception:
            _check(self.step, self.field_limit, field=field)  # likelier the cause
            raise
        # On a GPU both at once: a step waits for the device one time.
        _check(self.step, self.field_limit, **({} if on_cpu else {"field": field}), forces=forces)
        return energy, forces


def _advance(
    force_field: ForceField,
    integrator: Integrator,
    state: State,
    last: int,
    field_limit: float,
    workspaces: Iterator[State],
    show: Callable[[int], None],
) -> State:
    """The state at step `last`; one that is already there is only checked."""
    if state.step == last:
        _check(last, field_limit, field=state.field, momentum=state.momentum, forces=state.forces)
    while state.step < last:
        guarded = _Guarded(force_field, field_limit, state.step + 1)
        state = integrator.step(guarded, state, out=next(workspaces))
        show(state.step)
    return state


def _check(step: int, field_limit: float, **quantities: Tensor) -> None:
    """Raise if a value is not finite, or one of the field beyond the limit."""
    limits = [field_limit if name == "field" else math.inf for name in quantities]
    if all_within(list(quantities.values()), limits):
        return
    for (name, values), limit in zip(quantities.items(), limits, strict=True):
        bad = ~(values.detach().abs() <= min(limit, torch.finfo(values.dtype).max))  # NaN too
        if bad.any():
            replica, site = bad.nonzero()[0, :2].tolist()
            value = float(values[replica, site][bad[replica, site]].reshape(-1)[0])
            raise RunawayFieldError(name, step, replica, site, value, limit)


def _run_config(
    lattice: Lattice,
    integrator: Integrator,
    state: State,
    n_steps: int,
    save: SaveSchedule,
    force_field: Any,
) -> dict[str, Any]:
    """All that determines the numbers of a run, as plain JSON types."""
    digest = hashlib.sha256()
    # Without a description of the force field its first answer tells it from another one.
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
    return json.loads(json.dumps(config))


def _open(
    path: str | Path | None, state: State, steps: np.ndarray, config: dict[str, Any]
) -> Trajectory:
    """The run's own trajectory: in memory, new, or the one that an earlier call left."""
    if path is None:
        return Trajectory(new_arrays(state, len(steps)), config)
    path = Path(path)
    if not path.exists():
        return create_store(path, state, len(steps), config)
    trajectory = open_store(path, mode="r+")
    different = list(config_differences(trajectory.config, config))
    old_steps = trajectory.steps
    if different == ["n_steps"] and trajectory.config["n_steps"] < config["n_steps"]:
        grown = len(steps) >= trajectory.n_planned
        if grown and np.array_equal(steps[: len(old_steps)], old_steps):
            return extend_store(trajectory, len(steps), config)
    if different:
        raise InputError(
            f"path must be new or hold this very run, got {str(path)!r}, "
            f"which differs in {', '.join(different)}. Use another path."
        )
    for leftover in path.rglob("*.partial"):  # what a kill left of zarr's write-then-rename
        leftover.unlink()
    return trajectory
