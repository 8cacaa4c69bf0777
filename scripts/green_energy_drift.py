"""Energy drift of molecular dynamics with Green's functions: plain and conservative forces.

    python scripts/green_energy_drift.py --n_steps=2000

Oscillators of the Holstein model start at rest in a random field and move without friction or noise
(velocity Verlet, mass 1) in the forces of the electrons. With forces that are derivatives of an
energy, the total energy only fluctuates, by an amount quadratic in the time step. The results are
written to a JSON file.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from lattgnn.data.workers import threads
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.serialize import versions
from lattgnn.solvers import ExactDiagonalization, GreenFunction, Solver

N_FRAMES = 100


def energies(
    model: Holstein, solver: Solver, std: float, n_steps: int, dt: float
) -> tuple[list[float], list[float]]:
    """Times, and total energies per site, of `N_FRAMES` frames."""
    force_field, n_sites = ExactForceField(model, solver), model.lattice.n_sites
    generator = torch.Generator().manual_seed(0)
    field = std * torch.randn(n_sites, dtype=torch.float64, generator=generator)
    momentum = torch.zeros_like(field)
    energy, forces = force_field(field)
    times, found = [], []
    for step in range(n_steps + 1):
        if step % max(n_steps // N_FRAMES, 1) == 0:
            times.append(step * dt)
            found.append(float(energy + 0.5 * momentum.square().sum()) / n_sites)
        momentum = momentum + 0.5 * dt * forces
        field = field + dt * momentum
        energy, forces = force_field(field)
        momentum = momentum + 0.5 * dt * forces
    return times, found


def summary(times: list[float], found: list[float]) -> dict:
    """Drift, the slope of a straight line, and fluctuation about it, per site."""
    slope, start = np.polyfit(times, found, 1)
    rest = np.array(found) - slope * np.array(times) - start
    return {
        "drift_per_time": float(slope),
        "total_drift": float(slope * times[-1]),
        "rms_fluctuation": float(rest.std()),
    }


def main(
    n_steps: int = 10_000,
    dt: float = 0.02,
    extent: int = 6,
    stds: tuple[float, ...] = (2.0, 0.5),
    blocks: tuple[int, ...] = (0, 1),
    out: str = "docs/benchmarks/green_energy_drift.json",
) -> None:
    """Run the dynamics and write the results.

    Args:
        n_steps: Number of steps.
        dt: Time step.
        extent: Cells along each axis of the square lattice.
        stds: Standard deviations of the first field.
        blocks: Blocks of the solver.
        out: JSON file.
    """
    model = Holstein(square(extent))
    results = {"n_steps": n_steps, "dt": dt, "extent": extent, "rows": [], "versions": versions()}
    for std in stds:
        solvers: dict[str, Solver] = {"exact": ExactDiagonalization(0.1, 0.0)}
        for block in blocks:
            solvers[f"block {block}"] = plain = GreenFunction(0.1, 0.0, block=block)
            solvers[f"block {block}, conservative"] = replace(plain, conservative=True)
        for name, solver in solvers.items():
            with threads(1):
                times, found = energies(model, solver, std, n_steps, dt)
            row = {"std": std, "solver": name, **summary(times, found)}
            results["rows"].append(row | {"load": os.getloadavg()[0]})
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
            atomic_write_text(Path(out), json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    auto_cli(main)
