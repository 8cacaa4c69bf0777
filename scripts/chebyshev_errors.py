"""Measure errors and cost of the kernel polynomial method for double exchange.

    python scripts/chebyshev_errors.py

Three questions on the square lattice: how close are all unit vectors to exact diagonalization
(30 × 30 sites), how do probing vectors and domains compare at 10,000 sites, and how does the cost
grow with the lattice? The spins are random and independent, and the electrons form a metal at about
quarter filling (μ = −3.5) unless stated otherwise. Exact diagonalization cannot do 10,000 sites;
there some columns of ρ come from a converged Chebyshev series of single states. Costs are CPU times
of one thread. The results are written to a JSON file.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import Tensor

from lattgnn.data.workers import threads
from lattgnn.files import atomic_write_text
from lattgnn.hamiltonians import DoubleExchange
from lattgnn.lattice import square
from lattgnn.serialize import versions
from lattgnn.solvers import Chebyshev, DomainDiagonalization, ExactDiagonalization, Solver
from lattgnn.solvers.chebyshev.expansion import Interval, converged_order, series

MU = -3.5
N_SAMPLES = 24


def random_spins(extent: int) -> tuple[DoubleExchange, Tensor]:
    """Double exchange on a square lattice, and spins that are uniform on the sphere."""
    generator = torch.Generator().manual_seed(0)
    field = torch.randn(extent**2, 3, dtype=torch.float64, generator=generator)
    return DoubleExchange(square(extent)), field / field.norm(dim=-1, keepdim=True)


def timed(solver: Solver, model: DoubleExchange, field: Tensor) -> tuple[Tensor, dict]:
    """Density elements, and the CPU time per site in µs."""
    density, seconds = field, 0.0
    for _ in range(2):
        start = time.process_time()
        density = solver.solve(model, field).density_elements
        seconds = time.process_time() - start
        if seconds > 5:  # the index tables, which only the first call builds, do not matter
            break
    return density, {"us_per_site": round(1e6 * seconds / model.lattice.n_sites, 1)}


def columns_of_density(model: DoubleExchange, field: Tensor, kT: float, states: Tensor) -> Tensor:
    """Columns of ρ for some states, by a series that is exact to 1e-7: [n_states, n_columns]."""
    interval = Interval(0.0, 7.5)  # contains the spectrum at J = 3.5, t = 1
    coefficients = series(
        MU, kT, interval, converged_order(kT, interval.half_width, 1e-7)
    ).occupation.tolist()
    pattern = torch.stack([model.rows, model.cols])
    values, shape = model.elements(field) / interval.half_width, 2 * (model.n_states,)
    scaled = torch.sparse_coo_tensor(pattern, values, shape, check_invariants=True).coalesce()
    before = torch.zeros(model.n_states, len(states), dtype=torch.complex128)
    before[states, torch.arange(len(states))] = 1
    vectors = scaled @ before
    result = coefficients[0] * before + coefficients[1] * vectors
    for coefficient in coefficients[2:]:
        before, vectors = vectors, 2 * (scaled @ vectors) - before
        result += coefficient * vectors
    return result


def force_mse(model: DoubleExchange, difference: Tensor) -> float:
    """MSE of J⟨σ⟩ from differences of on-site elements [..., 4], row by row."""
    up, up_down, down_up, down = difference.unbind(-1)
    parts = ((up_down + down_up).real, (1j * (up_down - down_up)).real, (up - down).real)
    return float((model.J * torch.stack(parts)).square().mean())


def unit_vectors() -> list[dict]:
    """All unit vectors against exact diagonalization."""
    model, field = random_spins(30)
    rows = []
    for exact_solver, solvers in (
        (
            ExactDiagonalization(0.02, mu=MU),
            [Chebyshev(0.02, mu=MU, tolerance=tolerance) for tolerance in (1e-2, 1e-4, 1e-8)],
        ),
        (
            ExactDiagonalization(0.0, filling=0.5),
            [Chebyshev(0.0, filling=0.5, order=order) for order in (500, 2000)],
        ),
        (
            ExactDiagonalization(0.0, filling=0.48),
            [Chebyshev(0.0, filling=0.48, order=order) for order in (500, 2000)],
        ),
    ):
        exact, cost = timed(exact_solver, model, field)
        rows.append({"solver": repr(exact_solver), **cost})
        for solver in solvers:
            density, cost = timed(solver, model, field)
            error = (density - exact).abs()
            found = {"max": float(error.max()), "rms": float(error.square().mean().sqrt())}
            rows.append({"solver": repr(solver), **found, **cost})
    return rows


def ten_thousand_sites() -> list[dict]:
    """Probing vectors and domains at 100 × 100 sites."""
    model, field = random_spins(100)
    generator = torch.Generator().manual_seed(1)
    sites = torch.randperm(model.lattice.n_sites, generator=generator)[:N_SAMPLES]
    states = (2 * sites[:, None] + torch.arange(2)).flatten()
    # The pattern ends with the 2 × 2 matrix of each site, element [row, column] row by row.
    on_site = len(model.rows) - 4 * model.lattice.n_sites + 4 * sites[:, None] + torch.arange(4)
    rows = []
    for kT in (0.1, 0.02):
        columns = columns_of_density(model, field, kT, states)
        number = torch.zeros(model.n_states, dtype=torch.int64)
        number[states] = torch.arange(len(states))
        # density_elements hold ρ[col, row].
        exact = columns[model.cols[on_site], number[model.rows[on_site]]]
        solvers: list[Solver] = [
            *(Chebyshev(kT, mu=MU, distance=d, tolerance=1e-2) for d in (4, 6, 8, 10, 12, 14)),
            *(DomainDiagonalization(kT, MU, core=8, buffer=buffer) for buffer in (3, 4, 5)),
        ]
        for solver in solvers:
            density, cost = timed(solver, model, field)
            mse = force_mse(model, density[on_site] - exact)
            rows.append({"solver": repr(solver), "kT": kT, "force_mse": mse, **cost})
    return rows


def linear() -> list[dict]:
    """Cost at 50² to 200² sites."""
    rows = []
    for extent in (50, 100, 200):
        model, field = random_spins(extent)
        solver = Chebyshev(0.1, mu=MU, distance=10, tolerance=1e-2)
        rows.append({"extent": extent, **timed(solver, model, field)[1]})
    return rows


def main(out: str = "docs/benchmarks/chebyshev.json") -> None:
    """Run the measurements and write the results.

    Args:
        out: JSON file.
    """
    results: dict = {}
    for measure in (unit_vectors, ten_thousand_sites, linear):
        with threads(1):
            rows = measure()
        results[measure.__name__] = {"rows": rows, "load": os.getloadavg()[0]}
        results["versions"] = versions()
        atomic_write_text(Path(out), json.dumps(results, indent=1) + "\n")
        for row in rows:
            sys.stdout.write(f"{measure.__name__}: {json.dumps(row)}\n")


if __name__ == "__main__":
    auto_cli(main)
