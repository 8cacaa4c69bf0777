"""Dynamics with Green's functions and with learned forces, against exact diagonalization.

    python scripts/validate_solver_dynamics.py --out docs/benchmarks/solver_dynamics.json

Quenches of the Holstein model from the same starts and with the same noise, as in
validate_dynamics.py. The difference of the displacements from those of the exact run, rms over
sites and quenches, shows how long a trajectory can be followed: it grows with time, because the
dynamics is chaotic. The results are written to a JSON file.
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jsonargparse import auto_cli
from validate_dynamics import LANGEVIN, exact, learned, quench_start

from lattgnn.dynamics import Regular, simulate
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import Lattice, square
from lattgnn.serialize import versions
from lattgnn.solvers import GreenFunction, Solver

KT, MU = 0.1, 0.0
SOLVERS: dict[str, Solver] = {
    "Green tolerance 1e-2": GreenFunction(KT, mu=MU, tolerance=1e-2),
    "Green tolerance 1e-3": GreenFunction(KT, mu=MU, tolerance=1e-3),
    "Green tolerance 1e-4": GreenFunction(KT, mu=MU, tolerance=1e-4),
    "Green block 3": GreenFunction(KT, mu=MU, block=3),
}
NETWORKS = ("holstein-square", "holstein-square-small")


def displacements(
    make: Callable[[Lattice], ExactForceField | LearnedForceField],
    extent: int,
    replicas: tuple[int, ...],
    n_replicas: int,
    n_steps: int,
) -> np.ndarray:
    """Displacements [n_frames, n_replicas, n_sites] every 50 steps, of some quenches of a batch."""
    torch.set_num_threads(1)
    force_field = make(square(extent))
    start = quench_start(force_field, n_replicas)
    runs = [
        simulate(force_field, LANGEVIN, start.replica(replica), n_steps, Regular(50)).fields[:]
        for replica in replicas
    ]
    return np.concatenate(runs, axis=1)


def _solved(solver: Solver, lattice: Lattice) -> ExactForceField:
    return ExactForceField(Holstein(lattice), solver)


def main(
    extent: int = 20,
    n_replicas: int = 8,
    n_steps: int = 800,
    workers: int = 2,
    out: str = "docs/benchmarks/solver_dynamics.json",
) -> None:
    """Run the quenches with every method and write the differences.

    Args:
        extent: Unit cells along both axes.
        n_replicas: Number of quenches.
        n_steps: Steps of each of them.
        workers: Processes for the exact runs.
        out: JSON file.
    """
    tasks = [(exact, extent, (k,), n_replicas, n_steps) for k in range(n_replicas)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        reference = np.concatenate(pool.starmap(displacements, tasks, chunksize=1), axis=1)
    everything = tuple(range(n_replicas))
    found = {}
    for name, solver in SOLVERS.items():
        make = partial(_solved, solver)
        found[name] = displacements(make, extent, everything, n_replicas, n_steps)
    for name in NETWORKS:
        found[name] = displacements(partial(learned, name), extent, everything, n_replicas, n_steps)
    results = {
        "lattice": [extent, extent],
        "quenches": n_replicas,
        "steps": list(range(0, n_steps + 1, 50)),
        "rms_exact": np.sqrt((reference**2).mean((1, 2))).tolist(),
        "rms_difference": {
            name: np.sqrt(((fields - reference) ** 2).mean((1, 2))).tolist()
            for name, fields in found.items()
        },
        "load": os.getloadavg()[0],
        "versions": versions(),
    }
    atomic_write_text(out, json.dumps(results, indent=1) + "\n")
    for name, differences in results["rms_difference"].items():
        shown = ", ".join(
            f"step {step}: {difference:.2g}"
            for step, difference in zip(results["steps"], differences, strict=True)
            if step % 200 == 0
        )
        sys.stdout.write(f"{name}: {shown}\n")


if __name__ == "__main__":
    auto_cli(main)
