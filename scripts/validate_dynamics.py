"""Compare learned with exact dynamics: three measurements on the Holstein quench.

    python scripts/validate_dynamics.py --checkpoint holstein-square --out FILE.json

1. C(1) of 8 quenches that were not used for training, with learned (ML) and exact (ED) forces
   and the same noise.
2. Kinetic temperature ⟨p²⟩/m in the second half of 10,000 Langevin steps.
3. Energy conservation (gamma = 0) from step 200 of a quench, over 10,000 steps, or 20,000 with
   the energy head: rms error of the energy per site, for the run and for each half, and the drift,
   which is the slope of a fitted line times the length of the run.

The results are written to a JSON file.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from lattgnn.analysis import nearest_neighbor_correlation, relative_deviation
from lattgnn.dynamics import LogSpaced, Regular, State, VerletLangevin, initial_state, simulate
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import Lattice, square
from lattgnn.serialize import versions
from lattgnn.solvers import ExactDiagonalization

MASS, SEED = 5.0, 20260104  # a seed that is not used by any dataset
LANGEVIN = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=MASS)
NVE = VerletLangevin(dt=0.05, kT=0.1, gamma=0.0, mass=MASS)


def exact(lattice: Lattice) -> ExactForceField:
    return ExactForceField(Holstein(lattice), ExactDiagonalization(kT=0.1, mu=0.0))


def learned(checkpoint: str, lattice: Lattice) -> LearnedForceField:
    load = LearnedForceField.load if Path(checkpoint).suffix else LearnedForceField.pretrained
    return load(checkpoint, lattice=lattice)


def quench_start(force_field, n_replicas: int) -> State:
    return initial_state(
        force_field, SEED, n_replicas, field_std=(5 / 0.18) ** 0.5, momentum_std=(5 * MASS) ** 0.5
    )


def exact_replica(extent: int, n_replicas: int, replica: int, n_steps: int) -> np.ndarray:
    """Run one exact quench with the noise that its replica has in the batch."""
    torch.set_num_threads(1)
    force_field = exact(square(extent))
    state = quench_start(force_field, n_replicas).replica(replica)
    return simulate(force_field, LANGEVIN, state, n_steps, LogSpaced(80)).fields[:][:, 0]


def compare(checkpoint: str, extent: int, n_replicas: int, n_steps: int, workers: int) -> dict:
    lattice = square(extent)
    force_field = learned(checkpoint, lattice)
    start = quench_start(force_field, n_replicas)
    run = simulate(force_field, LANGEVIN, start, n_steps, LogSpaced(80))
    tasks = [(extent, n_replicas, replica, n_steps) for replica in range(n_replicas)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        reference = np.stack(pool.starmap(exact_replica, tasks, chunksize=1), axis=1)
    ml, ed = (
        nearest_neighbor_correlation(np.asarray(f), lattice, False)
        for f in (run.fields[:], reference)
    )
    deviation = relative_deviation(ml, ed)
    scale = np.abs(ed.mean(1)).max()
    return {
        "lattice": [extent, extent],
        "quenches": n_replicas,
        "steps": run.steps.tolist(),
        "C1_learned": ml.mean(1).tolist(),
        "C1_exact": ed.mean(1).tolist(),
        "largest_relative_deviation_from_step_100": float(
            np.abs(deviation[run.steps >= 100]).max()
        ),
        "largest_deviation_over_largest_C1": float(np.abs(ml.mean(1) - ed.mean(1)).max() / scale),
    }


def thermalize(checkpoint: str, extent: int, n_replicas: int, n_steps: int) -> dict:
    force_field = learned(checkpoint, square(extent))
    run = simulate(
        force_field, LANGEVIN, quench_start(force_field, n_replicas), n_steps, Regular(10)
    )
    assert run.kinetic_energies is not None
    late = run.kinetic_energies[run.steps >= n_steps // 2]
    kinetic = 2 * late.mean(0) / extent**2  # one value per replica
    return {
        "steps": n_steps,
        "kinetic_temperature": float(kinetic.mean()),
        "standard_error": float(kinetic.std(ddof=1) / n_replicas**0.5),
        "largest_field": float(np.abs(run.fields[-1]).max()),
    }


def conserve(checkpoint: str, extent: int, n_steps: int, warm_up: int = 200) -> dict:
    """Energy errors, by the energy of the network if it has one, and by exact diagonalization."""
    lattice = square(extent)
    force_field, reference = learned(checkpoint, lattice), exact(square(extent))
    start = quench_start(force_field, 1)
    warm = simulate(force_field, LANGEVIN, start, warm_up, Regular(warm_up)).state(-1)
    run = simulate(force_field, NVE, warm, n_steps, Regular(100))
    assert run.kinetic_energies is not None
    kinetic = run.kinetic_energies[:, 0]
    fields = torch.from_numpy(run.fields[:][:, 0])
    result: dict = {"steps": n_steps, "starts_at_step": warm_up}
    for name, potential in (("own", force_field(fields)[0]), ("exact", reference(fields)[0])):
        if potential is not None:
            energy = (kinetic + potential.detach().numpy()) / lattice.n_sites
            error = energy - energy[0]
            slope = np.polyfit(run.steps - run.steps[0], error, 1)[0]
            result[f"rms_{name}"] = float(np.sqrt((error**2).mean()))
            result[f"drift_{name}"] = float(slope * n_steps)
            halves = np.array_split(error, 2)
            result[f"rms_{name}_halves"] = [float(np.sqrt((half**2).mean())) for half in halves]
            result[f"error_{name}"] = error.tolist()
    return result


def main(
    checkpoint: str = "holstein-square",
    energy_checkpoint: str | None = "holstein-square-energy",
    extent: int = 20,
    n_replicas: int = 8,
    compare_steps: int = 800,
    long_steps: int = 10_000,
    workers: int = 2,
    out: str = "docs/benchmarks/dynamics.json",
) -> None:
    """Run the measurements and write the results.

    Args:
        checkpoint: Force field: a file, or the name of a shipped one.
        energy_checkpoint: Force field with an energy head, for measurement 3. None leaves it out.
        extent: Unit cells along both axes.
        n_replicas: Number of quenches.
        compare_steps: Steps of measurement 1.
        long_steps: Steps of measurements 2 and 3 (twice as many with the energy head).
        workers: Processes for the exact runs.
        out: JSON file.
    """
    torch.set_num_threads(1)
    started = time.time()
    results: dict = {
        "checkpoint": checkpoint,
        "energy_checkpoint": energy_checkpoint,
        "versions": versions(),
    }
    results["comparison"] = compare(checkpoint, extent, n_replicas, compare_steps, workers)
    results["langevin"] = thermalize(checkpoint, extent, n_replicas, long_steps)
    results["nve_direct"] = conserve(checkpoint, extent, long_steps)
    if energy_checkpoint is not None:
        results["nve_energy"] = conserve(energy_checkpoint, extent, 2 * long_steps)
    results["seconds"], results["load"] = round(time.time() - started), os.getloadavg()[0]
    atomic_write_text(out, json.dumps(results, indent=1) + "\n")
    for part, figures in results.items():
        if isinstance(figures, dict) and part != "versions":
            short = {key: value for key, value in figures.items() if np.size(value) < 3}
            sys.stdout.write(f"{part}: {json.dumps(short)}\n")


if __name__ == "__main__":
    auto_cli(main)
