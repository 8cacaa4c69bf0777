"""Energy drift of molecular dynamics with Green's functions: plain and conservative forces.

    python scripts/green_energy_drift.py --cases='[strong, weak]'

Oscillators of the Holstein model start at rest in a random field and move without friction or noise
(velocity Verlet, mass 1) in the forces of the electrons. With forces that are derivatives of an
energy, the error of the total energy comes from the integrator alone and falls with the square of
the time step. What stays at a small time step is the work of forces that are not derivatives. The
same time is therefore run with two time steps. Forces that are derivatives have a symmetric
Jacobian J = ∂F/∂Q; the asymmetry |J − J^T| / |J + J^T| is measured at the start. Errors of forces
and of the derivative of the energy are those of random fields like the start. The results are
written to a JSON file, in which a repeated case replaces its earlier results.
"""

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor

from lattgnn.data.workers import threads
from lattgnn.dynamics import Regular, VerletLangevin, initial_state, simulate
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.serialize import versions
from lattgnn.solvers import ExactDiagonalization, GreenFunction, Solver

KT, MU, SEED = 0.1, 0.0, 0
N_FRAMES, N_FIELDS = 100, 60


@dataclass(frozen=True)
class Case:
    """A coupling and the standard deviation of the field at the start."""

    g: float
    std: float


# With the default coupling a field grows to the strength of a charge-density wave, wherever it
# starts. With the weak one it stays weak: g Q has a standard deviation of about 0.5.
CASES = {"strong": Case(g=3.5, std=2.0), "weak": Case(g=0.4, std=1.25)}


def asymmetry(force_field: ExactForceField, field: Tensor) -> float:
    """|J − J^T| / |J + J^T| of the electronic force, by central differences."""
    shifts = 1e-4 * torch.eye(len(field), dtype=field.dtype)
    up, down = (force_field.electronic(field + sign * shifts)[1] for sign in (1, -1))
    jacobian = up - down
    return float((jacobian - jacobian.T).norm() / (jacobian + jacobian.T).norm())


def distance(model: Holstein, plain: Solver, conservative: Solver, std: float) -> dict:
    """Errors of the plain force and of the derivative of Ω, and their difference, all rms."""
    generator = torch.Generator().manual_seed(1)
    shape = (N_FIELDS, *model.field_shape)
    fields = std * torch.randn(shape, dtype=torch.float64, generator=generator)
    solvers = (ExactDiagonalization(KT, MU), plain, conservative)
    exact, force, derivative = (ExactForceField(model, s).electronic(fields)[1] for s in solvers)
    pairs = {
        "rms_error_of_force": force - exact,
        "rms_error_of_derivative": derivative - exact,
        "rms_difference": force - derivative,
    }
    return {name: float(part.square().mean().sqrt()) for name, part in pairs.items()}


def drift(times: np.ndarray, energies: np.ndarray) -> dict:
    """The slope of a straight line times the time, and the fluctuation about it."""
    slope, start = np.polyfit(times, energies, 1)
    return {
        "drift": float(slope * times[-1]),
        "rms_fluctuation": float((energies - slope * times - start).std()),
        "largest_change": float(np.abs(energies - energies[0]).max()),
    }


def run(model: Holstein, solver: Solver, std: float, n_steps: int, dt: float) -> dict:
    """Total energy per site along a run, summarized."""
    force_field = ExactForceField(model, solver)
    start = initial_state(force_field, SEED, field_std=std)
    frames = Regular(max(n_steps // N_FRAMES, 1))
    integrator = VerletLangevin(dt=dt, kT=KT, gamma=0.0, mass=1.0)
    result = simulate(force_field, integrator, start, n_steps, frames)
    assert result.energies is not None and result.kinetic_energies is not None
    total = result.energies[:] + result.kinetic_energies
    gQ = model.g * result.fields[:]
    return {
        "asymmetry_at_start": asymmetry(force_field, start.field[0]),
        "rms_gQ": float(np.sqrt((gQ**2).mean())),
        **drift(result.times, total[:, 0] / force_field.lattice.n_sites),
    }


def main(
    cases: list[str] | None = None,
    n_steps: int = 10_000,
    dt: float = 0.005,
    extent: int = 6,
    block: int = 1,
    out: str = "docs/benchmarks/green_energy_drift.json",
) -> None:
    """Run the dynamics and write the results.

    Args:
        cases: Names in CASES. Default: all of them.
        n_steps: Number of steps with the smaller time step.
        dt: The smaller time step. The other one is four times as large.
        extent: Cells along each axis of the square lattice.
        block: Block of the solver.
        out: JSON file.
    """
    plain = GreenFunction(KT, MU, block=block)
    conservative = replace(plain, conservative=True)
    solvers: dict[str, Solver] = {
        "exact": ExactDiagonalization(KT, MU),
        f"block {block}": plain,
        f"block {block}, conservative": conservative,
    }
    path = Path(out)
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in CASES if cases is None else cases:
        case = CASES[name]
        model = Holstein(square(extent), g=case.g)
        results[name] = {"g": case.g, "std": case.std, "extent": extent, "rows": []}
        results[name] |= distance(model, plain, conservative, case.std)
        for method, solver in solvers.items():
            for factor in (4, 1):
                with threads(1):
                    found = run(model, solver, case.std, n_steps // factor, factor * dt)
                row = {"forces": method, "dt": factor * dt, "n_steps": n_steps // factor, **found}
                results[name]["rows"].append(row | {"load": os.getloadavg()[0]})
                sys.stdout.write(f"{name}: {row}\n")
                sys.stdout.flush()
        results[name]["versions"] = versions()
        atomic_write_text(path, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    auto_cli(main)
