"""Compare learned with exact spin dynamics: the double-exchange quench from T = ∞.

    lattgnn fit --config configs/fit/double_exchange_square.yaml
    python scripts/validate_spin_dynamics.py --checkpoint runs/double_exchange_square/best.ckpt

1. Learned (ML) and exact (ED) forces from the same spins with the same noise: the nearest-neighbor
   correlation C(1) = ⟨S_i·S_j⟩ and the energy per site, with the spread between replicas.
2. A learned quench on a larger lattice with configs/simulate/llg_quench.yaml: C(1) and structure
factor.

The results are written to a JSON file.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from lattgnn import cli
from lattgnn.analysis import nearest_neighbor_correlation, radial_average, structure_factor
from lattgnn.dynamics import HeunLLG, LogSpaced, Trajectory, initial_spins, simulate
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.lattice import Lattice, square
from lattgnn.serialize import versions

# A seed that no dataset uses, and as many frames as in the configuration of the large quench.
SEED, N_FRAMES = 20260105, 60
INTEGRATOR = HeunLLG(dt=0.1, kT=0.01, alpha=0.1)  # as in that configuration
QUENCH = Path(__file__).parents[1] / "configs/simulate/llg_quench.yaml"


def correlation(spins: np.ndarray, lattice: Lattice) -> np.ndarray:
    """C(1) of spins [..., n_sites, 3]."""
    return nearest_neighbor_correlation(np.moveaxis(spins, -1, 0), lattice, normalized=False).sum(0)


def rings(spins: np.ndarray, lattice: Lattice, width: float) -> dict:
    """Σ_c S_cc(q) of spins [replicas, n_sites, 3], averaged over rings of |q| and replicas."""
    values = structure_factor(np.moveaxis(spins, -1, 0), lattice).sum(0)
    q, averages = radial_average(values, lattice, width=width)
    return {"q": q.tolist(), "S": averages.mean(0).tolist()}


def deviations(learned: np.ndarray, exact: np.ndarray) -> dict:
    """Largest differences of a quantity [frames, replicas], and its spread between replicas."""
    difference = learned - exact
    return {
        "learned": learned.mean(1).tolist(),
        "exact": exact.mean(1).tolist(),
        "spread": exact.std(1, ddof=1).tolist(),
        "largest_spread": float(exact.std(1, ddof=1).max()),
        "largest_deviation_of_means": float(np.abs(difference.mean(1)).max()),
        "largest_deviation_of_a_replica": float(np.abs(difference).max()),
    }


def compare(checkpoint: str, extent: int, n_replicas: int, n_steps: int) -> dict:
    """Measurement 1; both energies are computed by ED."""
    lattice = square(extent)
    learned = LearnedForceField.load(checkpoint, lattice)
    exact = ExactForceField(learned.hamiltonian, learned.solver)
    runs, seconds = [], []
    for force_field in (learned, exact):
        started = time.process_time()
        start = initial_spins(force_field, SEED, n_replicas)
        runs.append(simulate(force_field, INTEGRATOR, start, n_steps, LogSpaced(N_FRAMES)))
        seconds.append(round(time.process_time() - started, 1))
    ml, ed = (np.asarray(run.fields[:]) for run in runs)
    energies = [exact(torch.from_numpy(spins))[0].numpy() / lattice.n_sites for spins in (ml, ed)]
    width = 2 * np.pi / extent
    return {
        "lattice": [extent, extent],
        "replicas": n_replicas,
        "cpu_seconds_learned": seconds[0],
        "cpu_seconds_exact": seconds[1],
        "steps": runs[0].steps.tolist(),
        "C1": deviations(correlation(ml, lattice), correlation(ed, lattice)),
        "energy": deviations(*energies),
        "overlap": (ml * ed)
        .sum(-1)
        .mean((1, 2))
        .tolist(),  # 1 while each spin follows its exact path
        "structure_factor_learned": rings(ml[-1], lattice, width),
        "structure_factor_exact": rings(ed[-1], lattice, width),
    }


def enlarge(checkpoint: str, extent: int, n_steps: int, width: float) -> dict:
    """Measurement 2, run by `lattgnn simulate`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "quench"
        options = [f"--force_field.checkpoint={checkpoint}", f"--initial.seed={SEED}"]
        options += [f"--lattice.init_args.extent=[{extent},{extent}]"]
        options += [f"--n_steps={n_steps}", f"--save.init_args.n_frames={N_FRAMES}"]
        started = time.process_time()
        code = cli.main(
            ["simulate", f"--config={QUENCH}", *options, f"--out={out}", "--progress=false"]
        )
        if code != 0:
            sys.exit(code)
        seconds = time.process_time() - started
        run = Trajectory.open(out)
        spins, steps, lattice = np.asarray(run.fields[:]), run.steps.tolist(), square(extent)
    return {
        "lattice": [extent, extent],
        "cpu_seconds": round(seconds, 1),
        "steps": steps,
        "C1": correlation(spins, lattice).mean(1).tolist(),
        "structure_factor": rings(spins[-1], lattice, width),
    }


def main(
    checkpoint: str = "runs/double_exchange_square/best.ckpt",
    extent: int = 12,
    n_replicas: int = 4,
    n_steps: int = 500,
    large_extent: int = 48,
    out: str = "docs/benchmarks/spin_dynamics.json",
) -> None:
    """Run the measurements and write the results.

    Args:
        checkpoint: Force field, a file written by `lattgnn fit`.
        extent: Unit cells along both axes in measurement 1.
        n_replicas: Number of quenches in measurement 1.
        n_steps: Steps of all quenches.
        large_extent: Unit cells along both axes in measurement 2.
        out: JSON file.
    """
    torch.set_num_threads(1)
    started = time.time()
    results: dict = {"checkpoint": Path(checkpoint).name, "versions": versions()}
    results["comparison"] = compare(checkpoint, extent, n_replicas, n_steps)
    results["large"] = enlarge(checkpoint, large_extent, n_steps, 2 * np.pi / extent)
    small, large = (
        np.array(c1) for c1 in (results["comparison"]["C1"]["exact"], results["large"]["C1"])
    )
    results["largest_deviation_of_C1_large_from_exact"] = float(np.abs(large - small).max())
    results["seconds"], results["load"] = round(time.time() - started), os.getloadavg()[0]
    atomic_write_text(out, json.dumps(results, indent=1) + "\n")
    for part in ("C1", "energy"):
        short = {
            key: value for key, value in results["comparison"][part].items() if np.size(value) == 1
        }
        sys.stdout.write(f"{part}: {json.dumps(short)}\n")
    sys.stdout.write(f"C1 at the end: exact {small[-1]:.4f}, large and learned {large[-1]:.4f}\n")


if __name__ == "__main__":
    auto_cli(main)
