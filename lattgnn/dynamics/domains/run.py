"""The time loop over many processes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lattgnn.dynamics.domains.force_field import DomainForceField
from lattgnn.dynamics.domains.frames import DomainFrameWriter, rows_per_chunk, start_sha256
from lattgnn.dynamics.loop import check_run, compute_frames, finished_run
from lattgnn.dynamics.plan import Plan, Records, open_run
from lattgnn.dynamics.runaway import FIELD_LIMIT, RunawayFieldError
from lattgnn.dynamics.schedule import SaveSchedule
from lattgnn.dynamics.state import Integrator, State
from lattgnn.dynamics.store import missing_frames
from lattgnn.dynamics.training_range import compare_with_training, warn_of_open_boundary
from lattgnn.dynamics.trajectory import Trajectory, open_store
from lattgnn.errors import InputError
from lattgnn.files import run_lock


def simulate(
    force_field: DomainForceField,
    integrator: Integrator,
    state: State,
    n_steps: int,
    save: SaveSchedule,
    path: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    records: Records | None = None,
    field_limit: float = FIELD_LIMIT,
    progress: bool = False,
) -> Trajectory:
    """Run dynamics in many processes, all of which call this function.

    The run is that of `lattgnn.dynamics.simulate` in one process. It can be continued by any number
    of processes, also by one. Learned forces by compiled code have the same bits in any number of
    processes, and so do the fields of their runs; sums such as energies agree to rounding.

    Args:
        force_field: The force field of this process.
        integrator: Scheme of the steps.
        state: Initial state on the block of this process.
        n_steps: Number of steps.
        save: Steps to save, and whether to save momenta and forces.
        path: Directory of the trajectory on a file system that all processes share.
        config: See `lattgnn.dynamics.simulate`.
        records: See `lattgnn.dynamics.simulate`.
        field_limit: Largest |field| allowed.
        progress: Show the step, the rate and the time left, in the first process.

    Returns:
        The trajectory, opened for reading.

    Raises:
        RunawayFieldError: If a field or force is NaN or infinite, or a field exceeds `field_limit`.
        LostProcessError: If another process has stopped.
        InputError: See `lattgnn.dynamics.simulate`.
    """
    check_run(force_field, integrator, n_steps, field_limit)
    check_local(integrator)
    processes, path = force_field.processes, Path(path)
    state = replace(state, energy=force_field.energy(state.field))
    plan = _plan(force_field, integrator, state, n_steps, save, config)
    mass, statistics = getattr(integrator, "mass", None), force_field.field_statistics
    with run_lock(path) if processes.is_first else nullcontext():
        work = None
        if processes.is_first:
            trajectory, steps = open_run(path, plan, mass, records)
            work = [missing_frames(trajectory), steps.tolist()]
        missing, steps = processes.share(work)
        if missing:
            if processes.is_first:
                warn_of_open_boundary(statistics, force_field.lattice)
            trajectory = open_store(path, mode="r+")
            writer = DomainFrameWriter(trajectory, np.array(steps), mass, force_field)
            progress = progress and processes.is_first
            try:
                compute_frames(
                    missing, writer, force_field, integrator, state, field_limit, progress
                )
            except RunawayFieldError as error:
                raise _on_whole_lattice(error, force_field) from None
        processes.meet()
        finished = finished_run(path)
        if processes.is_first:
            compare_with_training(statistics, finished, path, _field_shift(force_field))
    return finished


def check_local(integrator: Integrator) -> None:
    """Refuse a scheme that needs more than the spins and forces of one process.

    Args:
        integrator: The scheme of the steps.

    Raises:
        InputError: If it has the torque of a current, which needs the spins of the neighbors.
    """
    if getattr(integrator, "torque", None) is not None:
        raise InputError(
            "the torque of a current needs the spins of the whole lattice, so torque must be left "
            "out with several processes. Run `lattgnn simulate` in one process, or leave it out."
        )


def _plan(
    force_field: DomainForceField,
    integrator: Integrator,
    state: State,
    n_steps: int,
    save: SaveSchedule,
    config: Mapping[str, Any] | None,
) -> Plan:
    """The plan of the whole run, which the first process uses."""
    domain = force_field.domain
    digest = start_sha256(state, domain, with_forces=config is None)
    # The shapes and dtypes of the whole state, without its numbers.
    shape = (state.n_replicas, domain.lattice.n_sites, *state.field.shape[2:])
    whole = torch.empty(shape, dtype=state.field.dtype, device="meta")
    energy = None if state.energy is None else state.energy.to("meta")
    start = replace(state, field=whole, momentum=whole, forces=whole, energy=energy, first_site=0)
    chunk = rows_per_chunk(domain)
    return Plan(domain.lattice, integrator, start, n_steps, save, config, digest, chunk)


def _on_whole_lattice(error: RunawayFieldError, force_field: DomainForceField) -> RunawayFieldError:
    """The same error with the number of the site in the whole lattice."""
    site = None if error.site is None else force_field.domain.site(error.site)
    place = (error.step, error.replica, site)
    return RunawayFieldError(error.quantity, *place, error.value, error.limit)


def _field_shift(force_field: DomainForceField) -> Any:
    """What disorder adds to the fields of the whole lattice."""
    return getattr(force_field.local, "whole_field_shift", 0.0)
