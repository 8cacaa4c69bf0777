"""The time loop: advances a state, saves frames, resumes a run, and stops at runaway fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import cycle
from pathlib import Path
from typing import Any

from lattgnn.dynamics.components import check_components
from lattgnn.dynamics.plan import Plan, Records, open_run
from lattgnn.dynamics.runaway import FIELD_LIMIT, advance_checked
from lattgnn.dynamics.schedule import SaveSchedule
from lattgnn.dynamics.spin_integrator import warn_of_large_turns
from lattgnn.dynamics.state import ForceField, Integrator, State
from lattgnn.dynamics.store import FrameWriter, missing_frames, new_arrays
from lattgnn.dynamics.training_range import compare_with_training, warn_of_open_boundary
from lattgnn.dynamics.trajectory import Trajectory
from lattgnn.errors import InputError, StoppedRunError, check_number
from lattgnn.files import run_lock
from lattgnn.progress import progress_bar

__all__ = ["check_integrator", "simulate"]

_MOST_STEPS = 10**12  # years of computing; larger numbers do not fit the counters


def simulate(
    force_field: ForceField,
    integrator: Integrator,
    state: State,
    n_steps: int,
    save: SaveSchedule,
    path: str | Path | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    records: Records | None = None,
    field_limit: float = FIELD_LIMIT,
    progress: bool = False,
) -> Trajectory:
    """Run dynamics: advance `state` by `n_steps` steps and save frames on a schedule.

    With a learned force field, the saved frames are compared with the fields of its training, see
    `training_range`; if they leave that range, one warning says so.

    With a path, the frames are written to a zarr v3 store, by one process at a time. Repeat the
    call to resume an interrupted run from its last complete frame, with the same bits as without
    the interruption. Frames that are damaged are computed again, and a finished run is returned
    after its frames have been read and checked.

    A larger `n_steps` extends a run. The frames of the old plan are kept, and those of the
    schedule for the new `n_steps` follow (`lattgnn.dynamics.Extended`).

    Args:
        force_field: Exact or learned force field.
        integrator: Scheme of the steps.
        state: Initial state. Steps are counted from `state.step`.
        n_steps: Number of steps.
        save: Steps to save, and whether to save momenta and forces.
        path: Directory of the trajectory, new or empty. None keeps the frames in memory.
        config: Description of the force field in plain types (`lattgnn.serialize.describe`), which
            is saved with the frames and must be the same when the run is resumed.
        records: Makes text files for the directory, by name, from the configuration of the
            trajectory. They are written if the run is new or becomes longer.
        field_limit: Largest |field| allowed. The run stops above it.
        progress: Show the step, the rate in site-steps/s and the time left on stderr.

    Returns:
        The trajectory, opened for reading.

    Raises:
        RunawayFieldError: If a field, force or energy is NaN or infinite, or a field exceeds
            `field_limit`.
        InputError: If `path` holds another run, another process writes to it, or the integrator is
            for another kind of field.
    """
    check_run(force_field, integrator, n_steps, field_limit)
    mass = getattr(integrator, "mass", None)
    plan = Plan(force_field.lattice, integrator, state, n_steps, save, config)
    statistics = getattr(force_field, "field_statistics", None)
    with nullcontext() if path is None else run_lock(path):
        if path is None:
            steps = plan.steps
            trajectory = Trajectory(new_arrays(state, len(steps), mass), plan.config)
        else:
            trajectory, steps = open_run(Path(path), plan, mass, records)
        missing = missing_frames(trajectory)
        if missing:
            warn_of_open_boundary(statistics, force_field.lattice)
            writer = FrameWriter(trajectory, steps, mass)
            compute_frames(missing, writer, force_field, integrator, state, field_limit, progress)
        arrays = trajectory.arrays
        finished = Trajectory(arrays, trajectory.config) if path is None else finished_run(path)
        shift = getattr(force_field, "field_shift", 0.0)
        compare_with_training(statistics, finished, path, shift)
    return finished


def check_run(
    force_field: ForceField, integrator: Integrator, n_steps: int, field_limit: float
) -> None:
    """Refuse arguments of `simulate` that make no sense.

    Args:
        force_field: The force field.
        integrator: The integrator.
        n_steps: Number of steps.
        field_limit: Largest |field| allowed.

    Raises:
        InputError: See `simulate`.
    """
    check_integrator(integrator, force_field)
    check_limits(n_steps, field_limit)


def check_limits(n_steps: int, field_limit: float) -> None:
    """Refuse a length and a limit that no run has.

    Args:
        n_steps: Number of steps.
        field_limit: Largest |field| allowed.

    Raises:
        InputError: See `simulate`.
    """
    check_number("n_steps", n_steps, 0, _MOST_STEPS)
    if not field_limit > 0:
        raise InputError(f"field_limit must be above 0, got {field_limit!r}.")


def finished_run(path: str | Path) -> Trajectory:
    """Open a run that has just been finished.

    Args:
        path: Its directory.

    Raises:
        StoppedRunError: If it lacks frames.
    """
    finished = Trajectory.open(path)
    if not finished.complete:
        raise StoppedRunError(
            f"{path} lacks frames at its end: another program changed it during the run. Run "
            "the simulation again with the same command."
        )
    return finished


def compute_frames(
    missing: Sequence[int],
    writer: FrameWriter,
    force_field: ForceField,
    integrator: Integrator,
    state: State,
    field_limit: float,
    progress: bool,
) -> None:
    """Compute the frames that are missing, from the last saved state before them.

    Args:
        missing: Indices of the frames, ascending.
        writer: Writes them.
        force_field: See `simulate`.
        integrator: See `simulate`.
        state: Initial state.
        field_limit: See `simulate`.
        progress: See `simulate`.
    """
    prepare = getattr(force_field, "prepare", None)
    if prepare is not None:
        prepare()  # builds the tables of compiled forces, or renews them for changed weights
    warn_of_large_turns(integrator, force_field, state)
    first, last, to_write = 0, missing[-1], set(missing)
    if missing[0] > 0:
        saved, state = writer.restart_state(missing[0], state)
        first = saved + 1
    n_sites = state.n_replicas * force_field.lattice.n_sites
    warm_start = getattr(force_field, "warm_start", nullcontext)
    with progress_bar(int(writer.steps[last]), state.step, progress, weight=n_sites) as show:
        # A step reads one state and writes the next, so two workspaces that take turns are enough:
        # no step allocates memory. `state` itself belongs to the caller and is not overwritten.
        workspaces = cycle((state.workspace(), state.workspace()))
        for frame in range(first, last + 1):
            step = int(writer.steps[frame])
            # What a force field remembers from step to step ends at each frame: a run that is
            # continued from there has no memory of the steps before it.
            with warm_start():
                state = advance_checked(
                    force_field, integrator, state, step, field_limit, workspaces, show
                )
            if frame in to_write:
                writer.write(frame, state)


def check_integrator(integrator: Integrator, force_field: ForceField) -> None:
    """Refuse an integrator for another kind of field than that of the model.

    A force field without a `hamiltonian` takes integrators for spins and for other fields.

    Args:
        integrator: The integrator.
        force_field: The force field.

    Raises:
        InputError: If one of them is for spins and the other is not, or the integrator has
            parameters for another number of components.
    """
    parameters = {name: getattr(integrator, name, None) for name in ("kT", "gamma", "mass")}
    check_components(parameters, force_field.field_shape)
    model = getattr(force_field, "hamiltonian", None)
    if model is not None and integrator.moves_spins != model.field_type.is_spin:
        use = "HeunLLG" if model.field_type.is_spin else "VerletLangevin"
        raise InputError(
            f"integrator must suit the field of {type(model).__name__}, got "
            f"{type(integrator).__name__}. Use lattgnn.dynamics.{use}."
        )
