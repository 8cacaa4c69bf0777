"""The audit of a run: solve patches of its frames, and compare."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from lattgnn.audit.halo import patch_shape, wider
from lattgnn.audit.labels import write_dataset
from lattgnn.audit.patches import PatchShape
from lattgnn.audit.reference import (
    FrameForces,
    Reference,
    RunForces,
    check_ensemble,
    default_solver,
)
from lattgnn.audit.result import Audit, Sample, samples_of, window_errors, worst_sites
from lattgnn.audit.sampling import Draw, Window, draw_patches, time_windows
from lattgnn.audit.store import AuditStore, SolvedPatch, place
from lattgnn.data.code_identity import code_identity
from lattgnn.dynamics import Trajectory
from lattgnn.dynamics.trajectory import digest
from lattgnn.errors import InputError, check_number
from lattgnn.files import run_lock
from lattgnn.progress import progress_bar
from lattgnn.run_records import RunRecord
from lattgnn.serialize import describe
from lattgnn.solvers import Solver
from lattgnn.solvers.reach import solver_reach
from lattgnn.trust import Trust


def audit_run(
    run: Trajectory | str | Path,
    out: str | Path | None = None,
    solver: Solver | None = None,
    n_patches: int = 100,
    windows: int | Sequence[int] = 6,
    core: int | None = None,
    halo: int | None = None,
    n_checks: int = 3,
    seed: int = 0,
    checkpoint: str | None = None,
    progress: bool = False,
    trust: Trust = (),
) -> Audit:
    """Measure how wrong the forces of a run are, by a better solver on patches of its frames.

    Patches are drawn at random: within each window of time a frame, a replica and a place. The
    solver gets a patch with a margin around its core, as a smaller lattice, and the forces on the
    core are compared with those of the run. Where a patch with its margins does not fit into the
    lattice, whole frames are solved.

    The intervals hold for all frames of a window, all replicas and all sites of the run. They
    contain the error of sampling, not that of the reference. The latter is estimated by solving a
    few patches again, with wider margins and by `solver.refined()`.

    At fixed filling, a patch of a larger lattice is solved at the chemical potential that the force
    field of the run has in the whole frame. The error of this chemical potential is not seen.

    With a folder, an interrupted audit continues, and more patches can be added to a finished one.
    The patches become a dataset for `lattgnn fit`, `out/dataset.yaml`.

    Args:
        run: A run of `lattgnn simulate`, finished or not, or its directory.
        out: Folder of the audit. None keeps everything in memory.
        solver: The reference, in the electronic ensemble of the run. None takes the solver that
            made the labels of the network; exact diagonalization for a run with an approximate
            solver.
        n_patches: Patches in each window of time.
        windows: Number of windows, of equal length on a logarithmic axis of time. Or the first step
            of every window but the first, such as [41,201,601].
        core: Cells of a patch, along each axis, whose forces are compared. None chooses.
        halo: Cells of the margin on each side. None takes what the solver needs, see
            `lattgnn.audit.patch_shape`.
        n_checks: Patches of each window that are solved again to estimate the error of the
            reference.
        seed: Seed of the draws.
        checkpoint: Checkpoint of the network of the run. None takes the one that the run names.
        progress: Show the progress on stderr.
        trust: Modules that the files of the run may import, see `lattgnn.trust`.

    Returns:
        The errors by window of time, of all frames, and of the worst sites.

    Raises:
        InputError: If the run does not say how its forces were made, the solver has other
            electrons, or the folder holds another audit.
    """
    check_number("n_patches", n_patches, 1, 9999)
    check_number("n_checks", n_checks, 0)
    check_number("seed", seed, 0)
    trajectory = run if isinstance(run, Trajectory) else Trajectory.open(run)
    record = RunRecord(trajectory, trust)
    solver = (solver or default_solver(record)).resolved(record.hamiltonian)
    check_ensemble(record, solver)
    shape = patch_shape(record.hamiltonian, solver, core, halo)
    out = None if out is None else Path(out)
    n_replicas = trajectory.fields.shape[1]
    with nullcontext() if out is None else run_lock(out):
        store = AuditStore(out)
        steps = _steps(trajectory, store.read_config())
        cut = time_windows(steps, windows)
        config = _config(trajectory, record, steps, solver, shape, cut, seed)
        references = _references(record, solver, shape, n_checks)
        forces = RunForces(trajectory, record, checkpoint, references[0].follows_frames)
        draws = draw_patches(cut, n_replicas, shape, n_patches, seed)
        todo = [draw for draw in draws if not _is_done(store, draw, references, n_checks)]
        if todo:
            forces.prepare()  # before anything is written: the checkpoint may be missing
        store.begin(config)
        _solve(todo, len(draws), store, forces, references, n_checks, progress)
        patches = [store.solved(draw) for draw in draws]
        labels = references[0].label_solver
        if out is not None and labels is not None:
            write_dataset(out, patches, shape, record.hamiltonian, labels)
    samples = samples_of(cut, draws, patches, n_replicas, shape.is_whole)
    return _result(trajectory, samples, steps, shape.is_whole and solver.is_exact, config)


def _result(
    run: Trajectory,
    samples: Sequence[Sample],
    steps: np.ndarray,
    is_exact: bool,
    config: dict[str, Any],
) -> Audit:
    """The errors by window, of all windows together, and of the worst sites."""
    dt = float(run.config["integrator"]["init_args"]["dt"])
    return Audit(
        windows=tuple(window_errors([sample], dt, is_exact) for sample in samples),
        total=window_errors(samples, dt, is_exact),
        worst=worst_sites(samples, steps, dt, run.lattice.positions),
        config=config,
        tangent=all(bool(patch.tangent) for sample in samples for patch in sample.patches),
    )


def _steps(run: Trajectory, stored: Mapping[str, Any] | None) -> np.ndarray:
    """The steps of the frames that an audit looks at.

    An audit that was begun keeps its frames when the run becomes longer.
    """
    steps = run.steps
    n_frames = None if stored is None else stored.get("n_frames")
    if isinstance(n_frames, int) and 0 < n_frames < len(steps):
        return steps[:n_frames]
    return steps


def _config(
    run: Trajectory,
    record: RunRecord,
    steps: np.ndarray,
    solver: Solver,
    shape: PatchShape,
    windows: Sequence[Window],
    seed: int,
) -> dict[str, Any]:
    """What determines the patches of an audit and their forces, in plain JSON types."""
    # What changes when a run becomes longer is left out.
    parts = ("force_field", "integrator", "lattice", "start", "dtype", "shape")
    config = {
        "run_sha256": digest({part: run.config.get(part) for part in parts}),
        "n_frames": len(steps),
        "steps_sha256": digest({"steps": steps.tolist()}),
        "solver": describe(solver),
        "core": shape.core,
        "patch": shape.extent,
        "windows": [window.first_step for window in windows],
        "seed": seed,
    }
    code = code_identity(record.hamiltonian, solver)
    if code:
        config["code"] = code
    return json.loads(json.dumps(config))  # tuples become lists, as in the file


def _references(
    record: RunRecord, solver: Solver, shape: PatchShape, n_checks: int
) -> list[Reference]:
    """The reference, and the refined one that estimates its error unless it is exact."""
    mu = record.solver.mu or 0.0
    found = [Reference(record, solver, shape, mu)]
    if n_checks == 0 or (shape.is_whole and solver.is_exact):
        return found
    try:
        refined = solver.refined()
    except InputError:  # it is exact on the patch, or knows no refinement
        refined = solver
    margins = tuple((e - c) // 2 for e, c in zip(shape.extent, shape.core, strict=True))
    reach = solver_reach(refined, record.hamiltonian)
    halo = wider(margins) if reach is None else tuple(map(max, (m + 2 for m in margins), reach))
    return [*found, Reference(record, refined, shape.widened(halo), mu)]


def _is_done(store: AuditStore, draw: Draw, references: Sequence[Reference], n_checks: int) -> bool:
    """Whether a patch is solved, by both references if it is one of those that are checked."""
    patch = store.get(draw)
    if patch is None:
        return False
    return len(references) == 1 or draw.number >= n_checks or len(patch.refined) > 0


def _solve(
    todo: Sequence[Draw],
    n_draws: int,
    store: AuditStore,
    forces: RunForces,
    references: Sequence[Reference],
    n_checks: int,
    progress: bool,
) -> None:
    """Solve the patches that are missing, frame by frame."""
    done = n_draws - len(todo)
    with progress_bar(n_draws, done, progress, name="patch", unit="patches") as show:
        ordered = sorted(todo, key=lambda draw: (draw.frame, draw.replica))
        for (frame, replica), group in groupby(ordered, lambda draw: (draw.frame, draw.replica)):
            found = forces.frame(frame, replica)
            for draw in group:
                wanted = references if draw.number < n_checks else references[:1]
                store.put(draw, _solved(draw, found, wanted))
                done += 1
                show(done)


def _solved(draw: Draw, frame: FrameForces, references: Sequence[Reference]) -> SolvedPatch:
    """The forces of the run and of the references on one patch."""
    reference, *refined = references
    patch = reference.shape.cut(draw.start)
    labels = reference.solve(frame, patch)
    better = np.empty((0, *frame.field.shape[1:]))
    for other in refined:
        wide = other.shape.cut(draw.start)
        better = other.solve(frame, wide).forces[wide.core]
    core = patch.core_sites
    compared = {
        "run": frame.electronic[core],
        "reference": labels.forces[patch.core],
        "classical": frame.classical[core],
        "refined": better,
    }
    if frame.tangent:
        compared = _tangent_parts(compared, frame.field[core])
    return SolvedPatch(
        place=np.array(place(draw)),
        core=core,
        field=labels.field,
        forces=labels.forces,
        energy=np.array(labels.energy),
        tangent=np.array(frame.tangent),
        **compared,
    )


def _tangent_parts(effective_fields: dict[str, np.ndarray], spins: np.ndarray) -> dict[str, Any]:
    """The parts perpendicular to the spins; an empty array stays empty."""
    found = {}
    for name, vectors in effective_fields.items():
        along = (vectors * spins).sum(-1, keepdims=True) if len(vectors) else 0.0
        found[name] = vectors - along * spins[: len(vectors)]
    return found
