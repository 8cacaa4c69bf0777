"""Electrons of coexisting magnetic phases, at the end of runs of `lattgnn simulate`.

    python scripts/phase_separation.py \
        '[runs/science/phase_separation, runs/science/phase_separation_learned]'

For the last frame of each run it prints means over replicas, with standard errors:

- the shares of sites whose mean S_i·S_j over neighbors is above 1/2 (parallel) or below −1/2
  (antiparallel), and the electrons per site in either,
- the correlation of this mean with the electron density,
- the chemical potential μ and the free energy per site at the filling of the run,
- the filling at another μ (`--mu`), which is that of the run if both phases are as in the run that
  has this μ,
- the mean square error of the tangent part of the effective fields with which the run was made.

The electrons are those of `ExactDiagonalization` on up to 600 sites, and of the kernel polynomial
method beyond. All replicas of a lattice of 24 × 24 sites take some CPU seconds each.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor

from lattgnn.analysis import alignment_shares, spin_alignment
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.run_records import RunRecord
from lattgnn.solvers import Chebyshev, ExactDiagonalization, Solver

MOST_SITES = 600  # for exact diagonalization


def reference(solver: Solver, n_sites: int, mu: float | None = None) -> Solver:
    """An accurate solver for the electrons of a run, at its filling or at a chemical potential."""
    filling = solver.filling if mu is None else None
    mu = solver.mu if mu is None else mu
    if n_sites <= MOST_SITES:
        return ExactDiagonalization(solver.kT, mu, filling)
    return Chebyshev(solver.kT, mu, filling, distance=12, tolerance=1e-2)


def densities(model: Hamiltonian, elements: Tensor) -> np.ndarray:
    """Electrons per site, from the density elements of one field."""
    is_diagonal = model.rows == model.cols
    sites = model.rows[is_diagonal] // model.n_orbitals
    zero = torch.zeros(model.lattice.n_sites, dtype=torch.float64)
    return zero.index_add(0, sites, elements[is_diagonal].real).numpy()


def tangent_error(errors: Tensor, spins: Tensor) -> float:
    """Mean square of a component of the part perpendicular to the spins."""
    tangent = errors - (errors * spins).sum(-1, keepdim=True) * spins
    return float(tangent.square().mean())


def measure(spins: Tensor, forces: Tensor, record: RunRecord, mu: float | None) -> dict[str, float]:
    """All numbers of one configuration."""
    model, n_sites = record.hamiltonian, record.lattice.n_sites
    solver = reference(record.solver, n_sites)
    state = solver.solve(model, spins)
    electrons = densities(model, state.density_elements)
    aligned = spin_alignment(spins.numpy(), record.lattice)
    shares = alignment_shares(aligned, record.lattice)
    exact = ExactForceField(model, solver)(spins)[1]
    found = {
        "parallel": float(shares.parallel),
        "antiparallel": float(shares.antiparallel),
        "others": float(shares.intermediate),
        "electrons, parallel": float(electrons[aligned > 0.5].mean()),
        "electrons, antiparallel": float(electrons[aligned < -0.5].mean()),
        "correlation": float(np.corrcoef(aligned, electrons)[0, 1]),
        "mu": float(state.mu),
        "free energy per site": float(state.energy) / n_sites,
        "tangent MSE": tangent_error(forces - exact, spins),
        "tangent mean square": tangent_error(exact, spins),
    }
    if mu is not None:
        other = reference(record.solver, n_sites, mu).solve(model, spins)
        count = densities(model, other.density_elements).sum()
        found[f"filling at mu = {mu:g}"] = float(count) / model.n_states
    return found


def main(runs: list[Path], mu: float | None = None) -> None:
    """Measure and print.

    Args:
        runs: Folders of runs of spins, exact or learned, at fixed filling.
        mu: Chemical potential at which the filling is printed too.
    """
    for path in runs:
        run = Trajectory.open(path)
        record = RunRecord(run)
        if record.solver.filling is None:
            raise InputError(f"{path} must be a run at fixed filling. Set filling in its solver.")
        spins = torch.as_tensor(np.asarray(run.fields[-1], dtype=np.float64))
        forces = torch.as_tensor(np.asarray(run.forces[-1], dtype=np.float64))
        rows = [measure(one, used, record, mu) for one, used in zip(spins, forces, strict=True)]
        sys.stdout.write(f"{path}: {record.lattice.extent}, {len(rows)} replicas\n")
        for name in rows[0]:
            values = np.array([row[name] for row in rows])
            error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.1g}" if len(values) > 1 else ""
            sys.stdout.write(f"  {name}: {values.mean():.5g}{error}\n")


if __name__ == "__main__":
    try:
        auto_cli(main)
    except InputError as error:
        raise SystemExit(f"phase_separation: error: {error}") from None
