"""Measure force errors on 40 x 40 of a network that was trained on 20 x 20.

    python scripts/size_transfer.py --checkpoint holstein-square --out
    docs/benchmarks/size_transfer.json

Exact dynamics on 40 x 40 takes half an hour per quench, so the quenches are driven by the learned
forces, which follow the exact ones (see validate_dynamics.py), and exact forces are computed for
the saved frames. The same is done for four times as many quenches on 20 x 20, so that both sizes
have equally many sites. One site in a thousand contributes most of the error, and early frames of a
quench are nearly equal, so few frames of many quenches are used. The errors in each window are
written to a JSON file.
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

from lattgnn.data import WINDOW_NAMES, window_index
from lattgnn.dynamics import LogSpaced, VerletLangevin, initial_state, simulate
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.serialize import versions
from lattgnn.solvers import ExactDiagonalization


def exact_forces(extent: int, fields: np.ndarray) -> np.ndarray:
    torch.set_num_threads(1)
    lattice = square(extent)
    exact = ExactForceField(Holstein(lattice), ExactDiagonalization(kT=0.1, mu=0.0))
    return exact.electronic(torch.from_numpy(fields))[1].numpy()


def errors(
    checkpoint: str, extent: int, n_quenches: int, n_frames: int, workers: int
) -> dict[str, float]:
    lattice = square(extent)
    load = LearnedForceField.load if Path(checkpoint).suffix else LearnedForceField.pretrained
    learned = load(checkpoint, lattice=lattice)
    start = initial_state(learned, 7, n_quenches, field_std=(5 / 0.18) ** 0.5, momentum_std=5.0)
    run = simulate(learned, VerletLangevin(0.05, 0.1, 0.2, 5.0), start, 2000, LogSpaced(n_frames))
    fields = run.fields[:]  # [frame, replica, site]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        labels = np.stack(
            pool.starmap(exact_forces, [(extent, frame) for frame in fields], chunksize=1)
        )
    predicted = learned.electronic(torch.from_numpy(fields))[1].numpy()
    squares = ((predicted - labels) ** 2).mean((1, 2))
    window = window_index(run.steps)
    figures = {name: float(squares[window == i].mean()) for i, name in enumerate(WINDOW_NAMES[:-1])}
    return figures | {"quench": float(squares.mean())}


def main(
    checkpoint: str = "holstein-square",
    n_quenches: int = 8,
    n_frames: int = 34,
    workers: int = 2,
    out: str = "docs/benchmarks/size_transfer.json",
) -> None:
    """Run the measurement and write the results.

    Args:
        checkpoint: Force field: a file, or the name of a shipped one.
        n_quenches: Quenches on 40 x 40; four times as many are run on 20 x 20.
        n_frames: Labeled frames per quench.
        workers: Processes for exact diagonalization.
        out: JSON file.
    """
    torch.set_num_threads(1)
    started = time.time()
    results: dict = {"checkpoint": checkpoint, "versions": versions()}
    for extent, replicas in ((20, 4 * n_quenches), (40, n_quenches)):
        results[f"{extent}x{extent}"] = errors(checkpoint, extent, replicas, n_frames, workers)
    small, large = results["20x20"], results["40x40"]
    results["ratio"] = {name: large[name] / small[name] for name in small}
    results["seconds"], results["load"] = round(time.time() - started), os.getloadavg()[0]
    atomic_write_text(out, json.dumps(results, indent=1) + "\n")
    for name in small:
        sys.stdout.write(
            f"{name:>10}: {small[name]:.2e} {large[name]:.2e} ratio "
            f"{large[name] / small[name]:.2f}\n"
        )


if __name__ == "__main__":
    auto_cli(main)
