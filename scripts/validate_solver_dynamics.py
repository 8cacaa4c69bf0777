"""Dynamics with Green's functions and with learned forces, against exact diagonalization.

    python scripts/validate_solver_dynamics.py --out docs/benchmarks/solver_dynamics.json

Quenches of the Holstein model from the same starts and with the same noise, as in
validate_dynamics.py. The difference of the displacements from those of the exact run, rms over
sites and quenches, shows how long a trajectory can be followed. Exact runs from a start that is
changed by 1e-6 show by how much the dynamics itself amplifies a difference. The results are
written to a JSON file, with a table beside it.
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor
from validate_dynamics import LANGEVIN, exact, learned, quench_start

from lattgnn.dynamics import Regular, State, simulate
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import Lattice, square
from lattgnn.serialize import versions
from lattgnn.solvers import GreenFunction, Solver

ForceField = ExactForceField | LearnedForceField
KT, MU = 0.1, 0.0
SOLVERS: dict[str, Solver] = {
    "Green tolerance 1e-2": GreenFunction(KT, mu=MU, tolerance=1e-2),
    "Green tolerance 1e-3": GreenFunction(KT, mu=MU, tolerance=1e-3),
    "Green tolerance 1e-4": GreenFunction(KT, mu=MU, tolerance=1e-4),
    **{f"Green block {b}": GreenFunction(KT, mu=MU, block=b) for b in (2, 3, 4)},
}
NETWORKS = ("holstein-square", "holstein-square-small")
CHANGED = "exact, start changed by 1e-6"
FRAME_STEPS = 50


def changed(force_field: ForceField, state: State, size: float) -> State:
    """The state with normal numbers of standard deviation `size` added to the field."""
    generator = torch.Generator().manual_seed(1)
    shift = torch.randn(state.field.shape[1:], dtype=state.field.dtype, generator=generator)
    field = state.field + size * shift
    energy, forces = force_field(field)
    return replace(state, field=field, energy=energy, forces=forces)


def displacements(
    make: Callable[[Lattice], ForceField],
    extent: int,
    replicas: tuple[int, ...],
    n_replicas: int,
    n_steps: int,
    change: float = 0.0,
) -> np.ndarray:
    """Displacements [n_frames, n_replicas, n_sites] of some quenches of a batch."""
    torch.set_num_threads(1)
    force_field = make(square(extent))
    start = quench_start(force_field, n_replicas)
    if change:
        start = changed(force_field, start, change)
    frames = Regular(FRAME_STEPS)
    runs = [
        simulate(force_field, LANGEVIN, start.replica(replica), n_steps, frames).fields[:]
        for replica in replicas
    ]
    return np.concatenate(runs, axis=1)


def exact_displacements(
    extent: int, n_replicas: int, n_steps: int, workers: int, change: float
) -> np.ndarray:
    """The displacements of exact runs, one quench per task."""
    tasks = [(exact, extent, (k,), n_replicas, n_steps, change) for k in range(n_replicas)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return np.concatenate(pool.starmap(displacements, tasks, chunksize=1), axis=1)


def _solved(solver: Solver, lattice: Lattice) -> ExactForceField:
    return ExactForceField(Holstein(lattice), solver, energy=False)


def force_error(make: Callable[[Lattice], ForceField], extent: int, fields: Tensor) -> dict:
    """Mean square error of the force on the frames of the exact runs, with its standard error."""
    lattice = square(extent)
    squares = (make(lattice)(fields)[1] - exact(lattice)(fields)[1]).square().mean((0, 2))
    return {
        "force_mse": float(squares.mean()),
        "standard_error": float(squares.std() / len(squares) ** 0.5),
    }


def rms(differences: np.ndarray) -> dict:
    """Root mean square by frame: over sites and quenches, median of the quenches, each of them."""
    squares = (differences**2).mean(2)
    by_quench = np.sqrt(squares)
    return {
        "rms_difference": np.sqrt(squares.mean(1)).tolist(),
        "median_of_quenches": np.median(by_quench, axis=1).tolist(),
        "rms_by_quench": by_quench.T.tolist(),
    }


def table(results: dict) -> str:
    """A table of the differences, a row for each method."""
    shown = [k for k, step in enumerate(results["steps"]) if step and step % 100 == 0]
    steps = [f"step {results['steps'][k]}" for k in shown]
    head = ["Forces", "MSE of the force", *steps, "median of the quenches at the end"]
    lines = [head, ["---"] * len(head)]
    for name, row in results["methods"].items():
        mse = f"{row['force_mse']:.1e} ± {row['standard_error']:.0e}" if "force_mse" in row else "0"
        cells = [f"{row['rms_difference'][k]:.1e}" for k in shown]
        lines.append([name, mse, *cells, f"{row['median_of_quenches'][-1]:.1e}"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(
    extent: int = 20,
    n_replicas: int = 8,
    n_steps: int = 400,
    workers: int = 2,
    out: str = "docs/benchmarks/solver_dynamics.json",
) -> None:
    """Run the quenches with every method and write the differences.

    Args:
        extent: Unit cells along both axes.
        n_replicas: Number of quenches.
        n_steps: Steps of each of them.
        workers: Processes for the exact runs.
        out: JSON file; the table is written beside it.
    """
    reference = exact_displacements(extent, n_replicas, n_steps, workers, 0.0)
    shifted = exact_displacements(extent, n_replicas, n_steps, workers, 1e-6)
    found = {CHANGED: rms(shifted - reference)}
    makes = {name: partial(_solved, solver) for name, solver in SOLVERS.items()}
    makes |= {f"network {name}": partial(learned, name) for name in NETWORKS}
    everything, fields = tuple(range(n_replicas)), torch.from_numpy(reference)
    for name, make in makes.items():
        run = displacements(make, extent, everything, n_replicas, n_steps)
        found[name] = rms(run - reference) | force_error(make, extent, fields)
    results = {
        "lattice": [extent, extent],
        "quenches": n_replicas,
        "steps": list(range(0, n_steps + 1, FRAME_STEPS)),
        "rms_exact": np.sqrt((reference**2).mean((1, 2))).tolist(),
        "methods": found,
        "load": os.getloadavg()[0],
        "versions": versions(),
    }
    atomic_write_text(out, json.dumps(results, indent=1) + "\n")
    atomic_write_text(Path(out).with_suffix(".md"), table(results))
    sys.stdout.write(table(results))


if __name__ == "__main__":
    auto_cli(main)
