"""Cost and error of all solvers and of the shipped networks, against exact diagonalization.

    python scripts/benchmark_solvers.py                              # everything, about 40 minutes
    python scripts/benchmark_solvers.py --cases '[holstein-strong]'  # one case; the others are kept
    python scripts/benchmark_solvers.py --quick true --out runs/solvers

A case is a model with the temperature of its electrons and a distribution of fields. Errors are
those of the force on small lattices, where exact diagonalization gives the right values:
the mean over many fields, with its standard error. The cost is the time of one evaluation of the
forces on lattices of increasing size, the CPU time of one thread, which other work on the machine
disturbs least. Methods take turns, so that all see the same state of the machine. A size is left
out if a method would need more than `--most_seconds`.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from jsonargparse import auto_cli
from solver_report import EXACT, plot, report
from speed_timing import machine, threads
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.files import atomic_write_bytes, atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Hamiltonian, Holstein
from lattgnn.lattice import square
from lattgnn.report.style import figure_png
from lattgnn.serialize import versions
from lattgnn.solvers import (
    Chebyshev,
    DomainDiagonalization,
    ExactDiagonalization,
    GreenFunction,
    Solver,
)

ForceField = ExactForceField | LearnedForceField
# A method makes the force field of a model.
Method = Callable[[Hamiltonian], ForceField]

SHIPPED = ("holstein-square", "holstein-square-small")


@dataclass(frozen=True)
class Case:
    """A model, the ensemble of its electrons, and random fields.

    Attributes:
        model: The model on the lattice of a given extent.
        kT: Temperature of the electrons.
        mu: Chemical potential.
        std: Standard deviation of a scalar field; None for random spins.
        has_networks: Whether the shipped Holstein networks were trained for it.
        extent: Lattice of the errors; large enough that all domains are cut out of it.
        n_fields: Number of fields of the errors.
    """

    model: Callable[[int], Hamiltonian]
    kT: float
    mu: float = 0.0
    std: float | None = None
    has_networks: bool = False
    extent: int = 32
    n_fields: int = 60

    def fields(self, extent: int, n_fields: int, seed: int) -> Tensor:
        """Random fields [n_fields, ...] in float64."""
        generator = torch.Generator().manual_seed(seed)
        shape = (n_fields, *self.model(extent).field_shape)
        noise = torch.randn(shape, dtype=torch.float64, generator=generator)
        return noise / noise.norm(dim=-1, keepdim=True) if self.std is None else self.std * noise


def holstein(extent: int) -> Holstein:
    """The Holstein model of the benchmark."""
    return Holstein(square(extent))


def double_exchange(extent: int) -> DoubleExchange:
    """Double exchange on the square lattice."""
    return DoubleExchange(square(extent))


CASES = {
    "holstein-strong": Case(holstein, kT=0.1, std=5.27, has_networks=True),
    "holstein-weak": Case(holstein, kT=0.1, std=0.5, has_networks=True),
    "holstein-cold-strong": Case(holstein, kT=0.02, std=5.27),
    "holstein-cold-weak": Case(holstein, kT=0.02, std=0.5),
    "double-exchange": Case(double_exchange, kT=0.05, mu=-3.5, extent=24, n_fields=10),
}


def methods(case: Case, quick: bool) -> dict[str, Method]:
    """All methods of a case by name; the word before the first space is the family."""
    kT, mu = case.kT, case.mu
    solvers: dict[str, Solver] = {EXACT: ExactDiagonalization(kT, mu=mu)}
    for core, buffer in ((5, 1),) if quick else ((5, 1), (5, 3), (10, 5)):
        solvers[f"domains {core}+{buffer}"] = DomainDiagonalization(kT, mu, core, buffer)
    for tolerance in (1e-2,) if quick else (1e-2, 1e-3, 1e-4, 1e-5):
        name = f"Green tolerance {tolerance:.0e}"
        solvers[name] = GreenFunction(kT, mu=mu, tolerance=tolerance)
    # Programs of large blocks with several states per site take minutes to compile.
    largest = 4 if case.model is holstein else 2
    for block in (1,) if quick else range(largest + 1):
        solvers[f"Green block {block}"] = GreenFunction(kT, mu=mu, block=block)
    for tolerance in (1e-2,) if quick else (1e-2, 1e-3, 1e-4):
        name = f"Chebyshev tolerance {tolerance:.0e}"
        # Probing vectors with this spacing: see the class for the error that they add.
        solvers[name] = Chebyshev(kT, mu=mu, distance=12, tolerance=tolerance)
    found: dict[str, Method] = {
        name: partial(_exact_force_field, solver) for name, solver in solvers.items()
    }
    if case.has_networks:
        found |= {f"network {name}": partial(_network, name) for name in SHIPPED}
    return found


def _exact_force_field(solver: Solver, model: Hamiltonian) -> ExactForceField:
    return ExactForceField(model, solver, energy=False)


def _network(name: str, model: Hamiltonian) -> LearnedForceField:
    return LearnedForceField.pretrained(name, model.lattice)


def errors(case: Case, contestants: dict[str, Method], extent: int, n_fields: int) -> dict:
    """Mean square error of the force of each method, and its standard error."""
    model = case.model(extent)
    # In float32, as in production; the reference takes the same fields in float64.
    fields = case.fields(extent, n_fields, seed=1).float()
    exact = contestants[EXACT](model)(fields.double())[1]
    found = {}
    for name, method in contestants.items():
        if name == EXACT:
            continue
        squares = (method(model)(fields)[1] - exact).square().flatten(1).mean(1)
        found[name] = {
            "mse": float(squares.mean()),
            "standard_error": float(squares.std() / math.sqrt(n_fields)),
        }
    return found


def costs(
    case: Case, contestants: dict[str, Method], extents: tuple[int, ...], most_seconds: float
) -> list[dict]:
    """CPU seconds of one evaluation by size and method; median of three, or one if it is long."""
    rows: list[dict] = []
    slope = {EXACT: 3.0}  # the cost of all other methods is linear
    last: dict[str, tuple[int, float]] = {}
    for extent in extents:
        model = case.model(extent)
        n_sites = model.lattice.n_sites
        field = case.fields(extent, 1, seed=2).float()
        racing = {}
        for name, method in contestants.items():
            known = last.get(name)
            # Below 1024 states most Green's functions are dense matrices, not compiled programs.
            if known is not None and not (name.startswith("Green") and known[0] < 1000):
                predicted = known[1] * (n_sites / known[0]) ** slope.get(name, 1.0)
                if predicted > most_seconds:
                    continue
            racing[name] = method(model)
            racing[name](field)  # patterns are built and code is compiled at the first call
        times: dict[str, list[float]] = {name: [] for name in racing}
        for _ in range(3):
            for name, force_field in racing.items():
                if times[name] and times[name][0] > most_seconds / 3:
                    continue
                times[name].append(_seconds(force_field, field))
        for name, seconds in times.items():
            last[name] = (n_sites, median(seconds))
            rows.append({"method": name, "n_sites": n_sites, "seconds": median(seconds)})
    return rows


def _seconds(force_field: ForceField, field: Tensor) -> float:
    """CPU time of one evaluation; short ones are repeated for at least 0.05 s."""
    n_calls, start = 0, time.process_time()
    while n_calls == 0 or time.process_time() - start < 0.05:
        force_field(field)
        n_calls += 1
    return (time.process_time() - start) / n_calls


def measure(
    case: Case, quick: bool, most_seconds: float, known: dict[str, Any] | None
) -> dict[str, Any]:
    """Errors, or those of earlier results, and costs of one case."""
    extent, n_fields = (8, 4) if quick else (case.extent, case.n_fields)
    extents = (8, 12) if quick else (20, 32, 50, 100, 200, 320, 500, 1000)
    contestants = {}
    for name, method in methods(case, quick).items():
        try:
            method(case.model(extent))
        except InputError:  # no block reaches the tolerance in this model
            continue
        contestants[name] = method
    if known is None:
        found = errors(case, contestants, extent, n_fields)
        known = {"extent": extent, "n_fields": n_fields, "errors": found}
    return known | {
        "costs": costs(case, contestants, extents, most_seconds),
        "clock": "CPU",
        "load": os.getloadavg()[0],
    }


def main(
    cases: list[str] | None = None,
    quick: bool = False,
    most_seconds: float = 20.0,
    keep_errors: bool = False,
    out: str = "docs/benchmarks/solvers",
) -> None:
    """Measure, and write OUT.json, OUT.md and OUT.png.

    Args:
        cases: Names in CASES. Default: all of them. Other cases in OUT.json are kept.
        quick: Use tiny lattices and few fields, to test that everything works.
        most_seconds: Leave out evaluations that are predicted to take longer.
        keep_errors: Take the errors from OUT.json where it has them, and measure the costs only.
        out: Path of the results without a suffix.
    """
    path = Path(f"{out}.json")
    results: dict[str, Any] = {"cases": {}}
    if path.exists():
        results = json.loads(path.read_text(encoding="utf-8"))
    for name in CASES if cases is None else cases:
        known = results["cases"].get(name) if keep_errors else None
        with threads(1):
            results["cases"][name] = measure(CASES[name], quick, most_seconds, known)
        results |= {"machine": machine(), "versions": versions()}
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path, json.dumps(results, indent=1) + "\n")
    atomic_write_text(f"{out}.md", report(results))
    atomic_write_bytes(f"{out}.png", figure_png(plot(results)))


if __name__ == "__main__":
    auto_cli(main)
