"""Cost and errors of LLG dynamics by a network and by the kernel polynomial method.

    python scripts/spin_solvers.py
    python scripts/spin_solvers.py --network=runs/double_exchange_square/best.ckpt \
        --out=docs/benchmarks/spin_solvers_quench.json

Cost: CPU and wall time of whole steps of `HeunLLG` on 100 × 100 sites, one thread. All methods take
turns. Errors: mean square errors of the effective fields against exact diagonalization on smaller
lattices with the same electrons, for random spins and for later spins of a learned run. No network
has seen these spins. Prints a table and writes a JSON file.
"""

import json
import os
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from jsonargparse import auto_cli
from speed_timing import machine, threads
from torch import Tensor

from lattgnn.dynamics import ForceField, HeunLLG, Regular, State, initial_spins, simulate
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.lattice import square
from lattgnn.pretrained import find_checkpoint
from lattgnn.serialize import versions
from lattgnn.solvers import Chebyshev, Solver

INTEGRATOR = HeunLLG(dt=0.1, kT=0.01, alpha=0.1)
SEED = 20260901  # a seed that is not used by any dataset
LEARNED = "network"
LEARNED_STEPS = 20  # steps per measurement of the network; one step is enough for a solver
COLD = 0.02  # no series resolves kT = 0 in a metal, so it is tried at several temperatures


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        extent: Linear size of the lattice for the cost.
        error_extent: Linear size of the lattice for the errors.
        n_fields: Number of fields at each time.
        later: Steps of the learned run before the later fields.
        repeats: Number of measurements of each time.
    """

    extent: int = 100
    error_extent: int = 20
    n_fields: int = 8
    later: int = 200
    repeats: int = 5


def series(solver: Solver) -> list[Chebyshev]:
    """Kernel polynomial solvers for the electrons of a network, the cheapest first."""
    if solver.kT > 0:
        settings = [(solver.kT, distance) for distance in (4, 6, 8, 10)]
    else:
        settings = [(0.1, 4), (0.1, 6), (0.05, 6), (COLD, 6), (COLD, 10)]
    first = Chebyshev(0.1, mu=solver.mu, filling=solver.filling, tolerance=1e-2)
    found = [replace(first, kT=kT, distance=distance) for kT, distance in settings]
    return found if solver.kT > 0 else [*found, replace(first, kT=0.0, order=1000, distance=10)]


def load(network: str, extent: int) -> LearnedForceField:
    """A network by the path of its checkpoint, or a shipped one by its name."""
    return LearnedForceField.load(find_checkpoint(network), square(extent))


def errors(network: str, plan: Plan) -> dict[str, dict]:
    """Mean square errors of the effective fields, by method and by the time of the fields."""
    learned = load(network, plan.error_extent)
    model = learned.hamiltonian
    methods: dict[str, ForceField] = {LEARNED: learned}
    for solver in series(learned.solver):
        methods[repr(solver)] = ExactForceField(model, solver)
    exact = ExactForceField(model, learned.solver)
    start = initial_spins(learned, SEED, plan.n_fields)
    run = simulate(learned, INTEGRATOR, start, plan.later, Regular(plan.later))
    found: dict[str, dict] = {name: {} for name in methods}
    for when, spins in zip(("random", "later"), (run.fields[0], run.fields[-1]), strict=True):
        field = torch.as_tensor(spins)
        labels = exact(field)[1]
        for name, method in methods.items():
            found[name][when] = squares(method(field)[1].to(labels) - labels, field)
    return found


def squares(difference: Tensor, spins: Tensor) -> dict[str, list[float]]:
    """Mean squares of a component and standard errors over fields, whole and tangent to the spins.

    Args:
        difference: Error of the effective fields, [n_fields, n_sites, 3].
        spins: The spins, of the same shape.

    Returns:
        Mean and standard error of "whole" and of "tangent".
    """
    tangent = difference - (difference * spins).sum(-1, keepdim=True) * spins
    result = {}
    for name, part in (("whole", difference), ("tangent", tangent)):
        means = part.square().mean((-1, -2))
        result[name] = [float(means.mean()), float(means.std() / len(means) ** 0.5)]
    return result


def costs(network: str, plan: Plan) -> dict[str, dict]:
    """Median time of a step in seconds, by method."""
    learned = load(network, plan.extent)
    methods: dict[str, tuple[ForceField, int]] = {LEARNED: (learned, LEARNED_STEPS)}
    for solver in series(learned.solver):
        methods[repr(solver)] = (ExactForceField(learned.hamiltonian, solver), 1)
    state = initial_spins(learned, SEED)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for repeat in range(plan.repeats + 1):
        for name, (method, n_steps) in methods.items():
            measured = seconds_per_step(method, state, n_steps)
            if repeat > 0:  # the first call builds tables and compiles
                times[name].append(measured)
    return {
        name: {
            "cpu_seconds": median(cpu for cpu, _ in found),
            "wall_seconds": median(wall for _, wall in found),
        }
        for name, found in times.items()
    }


def seconds_per_step(force_field: ForceField, state: State, n_steps: int) -> tuple[float, float]:
    """CPU and wall time of a step, from a run of several steps."""
    cpu, wall = time.process_time(), time.perf_counter()
    simulate(force_field, INTEGRATOR, state, n_steps, Regular(n_steps))
    return (time.process_time() - cpu) / n_steps, (time.perf_counter() - wall) / n_steps


def table(rows: dict[str, dict]) -> str:
    """The results as a table in Markdown."""
    lines = [
        "| Method | CPU-ms per step | Slower by | Tangent MSE, random | later |",
        "|" + 5 * "---|",
    ]
    first = rows[LEARNED]["cpu_seconds"]
    for name, row in rows.items():
        cost = f"{1e3 * row['cpu_seconds']:.3g} | {row['cpu_seconds'] / first:.3g}"
        mse = [
            "{:.1e} ± {:.0e}".format(*row["errors"][when]["tangent"])
            for when in ("random", "later")
        ]
        lines.append(f"| {name} | {cost} | {mse[0]} | {mse[1]} |")
    return "\n".join(lines) + "\n"


def main(
    network: str = "kondo-square",
    plan: Plan = Plan(),  # noqa: B008
    out: str = "docs/benchmarks/spin_solvers.json",
) -> None:
    """Run the measurements, print a table and write the results.

    Args:
        network: Name of a shipped network of spins, or the path of a checkpoint.
        plan: What is measured.
        out: JSON file.
    """
    with threads(1), warnings.catch_warnings():
        # A series at kT = 0 says that it cannot resolve all levels. The errors show how much.
        warnings.filterwarnings("ignore", "a series of order")
        wrong = errors(network, plan)
        before = os.getloadavg()[0]
        rows = {
            name: {**cost, "errors": wrong[name]} for name, cost in costs(network, plan).items()
        }
    load = [before, os.getloadavg()[0]]
    results = {"network": Path(network).name, "rows": rows, "load": load, "machine": machine()}
    atomic_write_text(Path(out), json.dumps({**results, "versions": versions()}, indent=1) + "\n")
    sys.stdout.write(f"{table(rows)}load {load[0]:.1f} to {load[1]:.1f}\n")


if __name__ == "__main__":
    auto_cli(main)
