"""Measure errors and cost of divide and conquer by core and buffer, against exact diagonalization.

    python scripts/domain_errors.py --cases='[holstein-square, linear]'

The fields are those of quenches driven by divide and conquer with a small buffer; energies and
forces of both methods are compared on the same fields. The cost is the CPU time of one thread, the
minimum over all fields. It still depends on the load of the machine. The results are written to a
JSON file, in which a repeated case replaces its earlier results.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import Tensor

from lattgnn.data import Quench, RandomFields, Source, SpinQuench
from lattgnn.data.workers import threads
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Hamiltonian, Holstein
from lattgnn.lattice import honeycomb, kagome, square, triangular
from lattgnn.serialize import versions
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization, Solver

LINEAR = {"extents": (40, 80, 160), "settings": ((8, 5), (10, 5))}
quench = partial(Quench, "test", n_trajectories=1, n_steps=400, n_frames=14)


@dataclass(frozen=True)
class Case:
    """The fields of a model, and the cores and buffers to measure."""

    model: Hamiltonian
    source: Source
    cores: Sequence[int]
    buffers: Sequence[int]
    kT: float = 0.1
    mu: float = 0.0


CASES = {
    "holstein-square": Case(Holstein(square(40)), quench(), (5, 8, 10, 16), range(2, 8)),
    "holstein-square-weak": Case(
        Holstein(square(40)),
        RandomFields("test", n_samples=4, variances=(0.25,)),
        (8,),
        range(2, 9),
    ),
    "holstein-triangular": Case(Holstein(triangular(30)), quench(), (8,), range(2, 8)),
    "holstein-honeycomb": Case(Holstein(honeycomb(20)), quench(), (5,), range(1, 7)),
    "holstein-kagome": Case(Holstein(kagome(16)), quench(), (4,), range(1, 6)),
    "double-exchange-square": Case(
        DoubleExchange(square(20)),
        SpinQuench("test", n_trajectories=1, n_steps=200, n_frames=6),
        (4, 8),
        range(1, 6),
        mu=-3.5,
    ),
}


def labels(model: Hamiltonian, solver: Solver, fields: Tensor) -> tuple[Tensor, Tensor, float]:
    """Electronic energies and forces, and the CPU time of one field in µs per site."""
    force_field, results, seconds = ExactForceField(model, solver), [], []
    force_field.electronic(fields[0])  # not timed: index patterns are built at the first call
    for field in fields:
        start = time.process_time()
        results.append(force_field.electronic(field))
        seconds.append(time.process_time() - start)
    energies, forces = (torch.stack(part) for part in zip(*results, strict=True))
    return energies, forces, 1e6 * min(seconds) / model.lattice.n_sites


def measure(case: Case) -> dict:
    """Errors and cost of every core and buffer."""
    model, n_sites = case.model, case.model.lattice.n_sites
    driver = DomainDiagonalization(case.kT, case.mu, case.cores[0], 3)
    drawn = case.source.label(ExactForceField(model, driver), 0, 1)
    fields = torch.from_numpy(drawn.field)
    energy, forces, cost = labels(model, ExactDiagonalization(case.kT, mu=case.mu), fields)
    rows = []
    for core in case.cores:
        for buffer in case.buffers:
            solver = DomainDiagonalization(case.kT, case.mu, core, buffer)
            found_energy, found, microseconds = labels(model, solver, fields)
            squares = (found - forces).square().flatten(1).mean(1)
            rows.append(
                {
                    "core": core,
                    "buffer": buffer,
                    "us_per_site": round(microseconds, 1),
                    "force_mse": float(squares.mean()),
                    "force_mse_worst_field": float(squares.max()),
                    "energy_rms_per_site": float((found_energy - energy).square().mean().sqrt())
                    / n_sites,
                }
            )
    return {
        "lattice": [model.lattice.name, *model.lattice.extent],
        "steps": drawn.step.tolist(),
        "exact_us_per_site": round(cost, 1),
        "rows": rows,
    }


def linear() -> dict:
    """Cost of one field on lattices of increasing size."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for extent in LINEAR["extents"]:
        model = Holstein(square(extent))
        fields = 5.3 * torch.randn(3, extent**2, dtype=torch.float64, generator=generator)
        for core, buffer in LINEAR["settings"]:
            cost = labels(model, DomainDiagonalization(0.1, 0.0, core, buffer), fields)[2]
            rows.append(
                {"extent": extent, "core": core, "buffer": buffer, "us_per_site": round(cost, 1)}
            )
    return {"rows": rows}


def main(cases: list[str] | None = None, out: str = "docs/benchmarks/domain.json") -> None:
    """Run the measurements and write the results.

    Args:
        cases: Names in CASES, or "linear". Default: all of them.
        out: JSON file.
    """
    results = json.loads(Path(out).read_text()) if Path(out).exists() else {}
    for name in [*CASES, "linear"] if cases is None else cases:
        with threads(1):
            results[name] = linear() if name == "linear" else measure(CASES[name])
        results[name] |= {"load": os.getloadavg()[0], "versions": versions()}
        atomic_write_text(out, json.dumps(results, indent=1) + "\n")
        for row in results[name]["rows"]:
            sys.stdout.write(
                f"{name}: {', '.join(f'{key} {value:.4g}' for key, value in row.items())}\n"
            )


if __name__ == "__main__":
    auto_cli(main)
