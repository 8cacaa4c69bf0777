"""Recompute published snapshots by exact diagonalization and print the deviations.

python scripts/check_published.py configs/generate/peierls_published.yaml
data/peierls_square_50x50.npz python scripts/check_published.py
configs/generate/kondo_published.yaml data/kondo_square_30x30.npz --every 10
"""

import argparse

import numpy as np
import torch
import yaml

from lattgnn.data import PublishedSnapshots
from lattgnn.data.workers import threads
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.serialize import build
from lattgnn.solvers import ExactDiagonalization


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "config", help="configuration of `lattgnn generate` with lattice, hamiltonian and solver"
    )
    parser.add_argument("file", help="npz file with the snapshots")
    parser.add_argument("--every", type=int, default=1, help="compare every n-th snapshot")
    options = parser.parse_args()
    with open(options.config) as file:
        config = yaml.safe_load(file)
    lattice = build(config["lattice"], Lattice)
    model = build(config["hamiltonian"], Hamiltonian, lattice)
    exact = ExactForceField(model, build(config["solver"], ExactDiagonalization))
    source = PublishedSnapshots("test", options.file)
    worst_force = worst_energy = 0.0
    with threads(1):
        for task in range(source.n_tasks):
            labels = source.label(exact, task, seed=0)
            for row, frame in enumerate(source.groups[task]):
                if frame % options.every:
                    continue
                energy, forces = exact.electronic(torch.from_numpy(labels.field[row]))
                error = np.abs(forces.numpy() - labels.forces[row])
                shift = abs(float(energy) - labels.energy[row])
                worst_force, worst_energy = (
                    max(worst_force, error.max()),
                    np.fmax(worst_energy, shift),
                )
                rms = np.sqrt(np.mean(error**2))
                print(
                    f"snapshot {frame}: force max {error.max():.2e}, rms {rms:.2e}, energy "
                    f"{shift:.1e}"
                )
    print(f"largest deviation of a force {worst_force:.2e}, of an energy {worst_energy:.1e}")


if __name__ == "__main__":
    main()
