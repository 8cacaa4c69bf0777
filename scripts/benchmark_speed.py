"""Speed and memory of simulations and training, compared with other methods and lower bounds.

    python scripts/benchmark_speed.py --long true --production holstein-square-small  # everything
    python scripts/benchmark_speed.py --only rivals  # measure one part again and keep the others
    python scripts/benchmark_speed.py --sizes [64,128] --out runs/speed

The parts are steps, rivals, memory and training; long and production run only on request. Within a
part, the candidates take turns, so that all of them see the same state of the machine. Reports give
medians and minima. Where only the speed matters, networks have random weights, because the speed
does not depend on them. States are float32, a step has the parameters of the papers, and its time
includes everything that `simulate` does.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from speed_memory import memory, spawned
from speed_report import HEADS, MAIN, plot, report
from speed_timing import (
    CUTOFFS,
    EXACT,
    LANGEVIN,
    QUICK,
    START,
    STATE_BYTES,
    Plan,
    lasting,
    machine,
    race,
    random_network,
    stepping,
    threads,
)
from speed_training import training
from torch import nn

from lattgnn import lattice as lattices
from lattgnn.dynamics import LogSpaced, Regular, initial_state, simulate
from lattgnn.files import atomic_write_bytes, atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import Lattice, square
from lattgnn.nn import ConvLayers, GraphNetwork, OrbitConv
from lattgnn.report import write_quench_report
from lattgnn.report.style import figure_png
from lattgnn.serialize import versions
from lattgnn.solvers import DomainDiagonalization

SHIPPED = ("holstein-square-small", "holstein-square", "holstein-square-energy")
DOMAINS = ((4, 1), (5, 1), (5, 2), (10, 3), (10, 5))  # cells of the core, hops of the buffer


def main(
    only: str | None = None,
    sizes: list[int] | None = None,
    networks: list[str] | None = None,
    quick: bool = False,
    long: bool = False,
    production: str | None = None,
    out: str = "docs/benchmarks/speed",
) -> None:
    """Measure, write OUT.json, OUT.md, OUT.png and OUT_production/, and print the tables.

    Args:
        only: The part to measure; the others stay as they are in OUT.json.
        sizes: Linear sizes of the square lattices.
        networks: Names of the networks, which are their numbers of weights.
        quick: Use tiny sizes, to test that all parts work.
        long: Also measure the memory over 100,000 steps.
        production: Also do the production run of the papers, with this pretrained network.
        out: Path of the output files, without suffix.
    """
    plan = QUICK if quick else Plan()
    plan = replace(plan, sizes=tuple(sizes)) if sizes else plan
    plan = replace(plan, networks=tuple(networks)) if networks else plan
    parts: dict[str, Callable[[], Any]] = {
        "steps": lambda: steps(plan),
        "rivals": lambda: rivals(plan),
        "memory": lambda: memory(plan),
        "training": lambda: training(plan),
    }
    if long:
        parts["long"] = lambda: spawned("long", plan.sizes[0], *plan.long)
    if production:
        parts["production"] = lambda: produce(production, plan, Path(f"{out}_production"))
    if only not in (None, *parts):
        raise SystemExit(f"only must be one of {', '.join(parts)}, got {only}.")
    file = Path(f"{out}.json")
    results = json.loads(file.read_text()) if only and file.exists() else {}
    if results.get("machine", machine()) != machine():
        raise SystemExit(
            f"{file} was made on {results['machine']}, but this is {machine()}. Measure all parts."
        )
    results |= {"machine": machine(), "versions": versions()}
    torch.manual_seed(0)
    for name in [only] if only else parts:
        begun, load = time.time(), os.getloadavg()[0]
        found = parts[name]()
        results[name] = {"load": load, "seconds": round(time.time() - begun, 1), "found": found}
        atomic_write_text(file, json.dumps(results, indent=1) + "\n")
    text = report(results)
    atomic_write_text(f"{out}.md", text)
    atomic_write_bytes(Path(f"{out}.png"), figure_png(plot(results)))
    sys.stdout.write(text)


# Steps and their lower bounds


def steps(plan: Plan) -> list[dict[str, Any]]:
    """Whole steps of all networks, on square lattices of all sizes and on all lattices."""
    squares = [square(size) for size in plan.sizes]
    others = [getattr(lattices, name)(plan.other_size) for name in CUTOFFS]
    rows = []
    for network, cores in product(plan.networks, plan.cores):
        for series, members in (("sizes", squares), ("lattices", others)):
            with threads(cores):
                rows += [
                    {"series": series} | row for row in steps_of(network, members, cores, plan)
                ]
    return rows


def steps_of(network: str, members: list[Lattice], cores: int, plan: Plan) -> list[dict[str, Any]]:
    """Whole steps of one network on several lattices, and on one core their lower bounds.

    All candidates of both heads take turns. At most 8 lattices make sense: only so many graphs are
    cached.
    """
    contestants: dict[Any, Callable[[], float]] = {}
    rows: list[dict[str, Any]] = []
    entrants: list[dict[str, Any]] = []  # for each row, its measurements by name
    for head, lattice in product(HEADS, members):
        net = random_network(lattice, network, head)
        row = {
            "network": network,
            "weights": sum(p.numel() for p in net.parameters()),
            "head": head,
        }
        row |= {"cores": cores, "lattice": lattice.name, "size": lattice.extent[0]}
        rows.append(row | {"n_sites": lattice.n_sites, "neighbors": neighbors(lattice)})
        entrants.append({"us": len(rows)})
        contestants[len(rows)] = stepping(LearnedForceField(net, Holstein(lattice), EXACT), plan)
        if cores == 1:
            shapes, copied = product_shapes(net), f"copy {lattice.n_sites}"
            entrants[-1] |= {"products": shapes, "copy": copied}
            if shapes not in contestants:
                contestants[shapes] = lasting(*fastest_chain(shapes, plan), plan)
            if copied not in contestants:
                contestants[copied] = copying(lattice.n_sites, plan)
    times = race(
        contestants, plan.repeats if network == MAIN and cores == 1 else min(plan.repeats, 3)
    )
    return [
        row | {kind: times[name] for kind, name in raced.items()}
        for row, raced in zip(rows, entrants, strict=True)
    ]


def neighbors(lattice: Lattice) -> int:
    """Neighbors per site within the cutoff."""
    small = getattr(lattices, lattice.name)(8)
    return len(small.bonds(CUTOFFS[lattice.name])) // small.n_sites


def product_shapes(net: nn.Module) -> tuple[tuple[int, ...], ...]:
    """Output and input channels of all matrix products of one force, a lower bound on its work.

    The gradient of an energy needs the same products again, with transposed weights.
    """
    convs = [module for module in net.modules() if isinstance(module, OrbitConv)]
    shapes = [tuple(weight.shape) for conv in convs for weight in conv.weights.values()]
    return tuple(shapes + [shape[::-1] for shape in shapes] * getattr(net, "conservative", False))


@cache
def fastest_chain(
    shapes: tuple[tuple[int, ...], ...], plan: Plan
) -> tuple[Callable[[int], None], int]:
    """The products in the fastest layout and size, and the number of sites that they treat."""
    brief = replace(plan, seconds=plan.seconds / 10)
    chains = [(chain(shapes, n, kind), n) for n, kind in product(plan.n_rows, range(3))]
    times = race({number: lasting(*pair, brief) for number, pair in enumerate(chains)}, 3)
    return chains[min(times, key=lambda number: times[number]["min"])]


def chain(shapes: tuple[tuple[int, ...], ...], n_rows: int, kind: int) -> Callable[[int], None]:
    """Matrix products in one of three layouts.

    Args:
        shapes: Output and input channels of each product.
        n_rows: Number of sites.
        kind: 0 for [n_rows, into] × [into, out] with transposed weights, 1 for the same with
            contiguous weights, 2 for [out, into] × [into, n_rows].
    """
    operands = {}
    for out, into in set(shapes):
        w, x = torch.randn(out, into), torch.randn(n_rows, into)
        left, right = [(x, w.T), (x, w.T.contiguous()), (w, x.T.contiguous())][kind]
        operands[out, into] = left, right, left @ right
    sequence = [operands[shape[0], shape[1]] for shape in shapes]

    def run(n: int) -> None:
        for _ in range(n):
            for left, right, result in sequence:
                torch.mm(left, right, out=result)

    return run


def copying(n_sites: int, plan: Plan) -> Callable[[], float]:
    """A lower bound on the memory traffic: the state is read and written once."""
    state = torch.randn(n_sites * STATE_BYTES // 4)
    copy = torch.empty_like(state)
    return lasting(partial(repeat, partial(copy.copy_, state)), n_sites, plan)


# Rivals


def rivals(plan: Plan) -> dict[str, Any]:
    """Times of other methods and of the shipped networks on one core, and the errors of both.

    Other methods evaluate the forces once; the networks take a whole step.
    """
    with threads(1):
        rows = [row for size in plan.rival_sizes for row in rivals_at(size, plan)]
        return {"rows": rows, "mse": errors(*plan.quench), "quench": plan.quench}


def solvers() -> dict[str, Any]:
    """Exact and domain diagonalization by name."""
    domains = {
        f"domain {core}+{hops}": DomainDiagonalization(0.1, 0.0, core, hops)
        for core, hops in DOMAINS
    }
    return {"ED": EXACT} | domains


def published_gcn(lattice: Lattice) -> GraphNetwork:
    """The graph convolutional network of arXiv 2603.02039, as in configs/benchmark/gcn.yaml."""
    layers = ConvLayers(
        "torch_geometric.nn.GraphConv",
        (128, 512, 1024, 2048, 1024, 512, 128),
        edge_features="none",
        normalize=True,
        activation="relu",
    )
    return GraphNetwork(lattice, Holstein(lattice).field_type, layers, 1.0, bounded=False)


def rivals_at(size: int, plan: Plan) -> list[dict[str, Any]]:
    """Times of all methods on one square lattice."""
    lattice = square(size)
    model, field = Holstein(lattice), START["field_std"] * torch.randn(size**2, dtype=torch.float64)
    calls: dict[str, Callable[[], Any]] = {
        name: partial(ExactForceField(model, solver), field) for name, solver in solvers().items()
    }
    for name in ("float64", "float32"):
        gcn = published_gcn(lattice).to(getattr(torch, name))
        inputs = field.to(next(gcn.parameters()))[None], gcn.graph(lattice)
        calls[f"GCN {name}"] = torch.no_grad()(partial(gcn, *inputs))
    contestants = {
        name: stepping(LearnedForceField.pretrained(name, lattice), plan) for name in SHIPPED
    }
    for name, call in calls.items():
        if size <= plan.exact_up_to if name == "ED" else size >= plan.others_from:
            contestants[name] = lasting(partial(repeat, call), lattice.n_sites, plan)
    times = race(contestants, min(plan.repeats, 3))
    return [
        {"size": size, "n_sites": lattice.n_sites, "method": name, "us": us}
        for name, us in times.items()
    ]


def repeat(call: Callable[[], Any], n: int) -> None:
    """Call a function n times."""
    for _ in range(n):
        call()


def errors(size: int, n_steps: int, n_frames: int) -> dict[str, float]:
    """Mean square errors of the forces on frames of a quench, relative to ED."""
    lattice = square(size)
    learned = {name: LearnedForceField.pretrained(name, lattice) for name in SHIPPED}
    exact = {name: ExactForceField(Holstein(lattice), solver) for name, solver in solvers().items()}
    start = initial_state(learned["holstein-square"], seed=7, **START)
    run = simulate(learned["holstein-square"], LANGEVIN, start, n_steps, LogSpaced(n_frames))
    fields = torch.from_numpy(run.fields[:][:, 0])
    labels = exact.pop("ED").electronic(fields)[1]
    forces = {name: method.electronic(fields)[1] for name, method in (learned | exact).items()}
    return {name: float((force - labels).square().mean()) for name, force in forces.items()}


# Production run


def produce(network: str, plan: Plan, folder: Path) -> dict[str, Any]:
    """A quench of the size of the papers, written to disk, on all cores; then its report."""
    size, n_steps, every = plan.production
    path, cores = Path("runs/benchmark/production"), plan.cores[-1]
    shutil.rmtree(path, ignore_errors=True)
    begun = time.perf_counter()
    with threads(cores):
        learned = LearnedForceField.pretrained(network, square(size))
        start = initial_state(learned, seed=0, dtype=torch.float32, **START)
        trajectory = simulate(learned, LANGEVIN, start, n_steps, Regular(every), path)
    seconds = time.perf_counter() - begun
    metrics = write_quench_report(trajectory, folder, f"Quench of {size} × {size} sites")
    run = {"network": network, "size": size, "steps": n_steps, "frames": len(trajectory.steps)}
    return run | {"cores": cores, "wall_seconds": seconds, "metrics": metrics}


if __name__ == "__main__":
    auto_cli(main)
