"""What a step costs: time, memory and training, beside rivals and the floors of the machine, in one run.

    python scripts/benchmark_speed.py --long true --production holstein-square-small    # everything
    python scripts/benchmark_speed.py --only rivals                       # one part anew, the others kept
    python scripts/benchmark_speed.py --sizes [64,128] --out runs/speed

Parts are steps, rivals, memory and training, and on demand long and production. What is compared takes turns,
again and again; medians are compared and minima given as well. Networks have random weights where only speed
counts, which does not depend on them. States are float32; a step is the papers' and all that `simulate` adds.
"""

import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from jsonargparse import auto_cli
from pytorch_optimizer import SOAP
from relational_network import RelationalNetwork, compare
from speed_report import HEADS, MAIN, plot, report
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from lattgnn import lattice as lattices
from lattgnn.dynamics import LogSpaced, Regular, VerletLangevin, initial_state, simulate
from lattgnn.files import atomic_write_bytes, atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import Lattice, square
from lattgnn.nn import ConvLayers, GraphNetwork, HiddenChannels, OrbitConv, OrbitNetwork
from lattgnn.report import write_quench_report
from lattgnn.report.style import figure_png
from lattgnn.serialize import versions
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization

LANGEVIN = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)
START = {"field_std": (5 / 0.18) ** 0.5, "momentum_std": 5.0}
EXACT = ExactDiagonalization(kT=0.1, mu=0.0)
CUTOFFS = {"square": 1.5, "triangular": 1.8, "honeycomb": 1.8, "kagome": 1.8}  # two shells each
NETWORKS = {
    "833": (8, 2),
    "2,993": (11, 5),
    "15,745": (24, 6),
}  # weights on square: channels and layers
SHIPPED = ("holstein-square-small", "holstein-square", "holstein-square-energy")
DOMAINS = ((4, 1), (5, 1), (5, 2), (10, 3), (10, 5))  # cells of the core, hops of the buffer
STATE_BYTES = 12  # field, momentum and force of a site, float32


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    other_size: int = 256
    networks: tuple[str, ...] = tuple(NETWORKS)
    cores: tuple[int, ...] = tuple(sorted({1, os.cpu_count() or 1}))
    rival_sizes: tuple[int, ...] = (20, 40, 100)
    exact_up_to: int = 40  # larger takes minutes
    others_from: int = 40  # smaller fits into one domain
    memory: tuple[tuple[str, int, str, str], ...] | None = None  # all cases
    seconds: float = 0.3  # that a measurement lasts at least
    repeats: int = 5
    blocks: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192, 16384)
    quench: tuple[int, int, int] = (40, 2000, 24)  # of the errors: size, steps, frames
    training: tuple[int, int] = (2788, 40)  # samples an epoch, batches a measurement
    long: tuple[int, int] = (10_000, 100_000)
    production: tuple[int, int, int] = (200, 25_000, 100)  # size, steps, steps from frame to frame


QUICK = Plan(
    sizes=(16,),
    other_size=6,
    networks=(MAIN,),
    cores=(1,),
    rival_sizes=(20,),
    others_from=20,
    memory=(("square", 64, MAIN, "direct"),),
    seconds=1e-3,
    repeats=1,
    blocks=(256,),
    quench=(20, 20, 3),
    training=(64, 2),
    long=(20, 60),
    production=(16, 60, 4),
)


def main(
    only: str | None = None,
    sizes: list[int] | None = None,
    networks: list[str] | None = None,
    quick: bool = False,
    long: bool = False,
    production: str | None = None,
    out: str = "docs/benchmarks/speed",
) -> None:
    """Measure, then write OUT.json, OUT.md and OUT.png (and OUT_production/), and print the tables.

    Args:
        only: The one part to measure; the others stay as they are in OUT.json.
        sizes: Sides of the square lattices.
        networks: Names of our networks, their numbers of weights.
        quick: Tiny sizes, seconds: to see that all works.
        long: Also the memory over 100,000 steps.
        production: Also the papers' production run, with this pretrained network.
        out: Where the files go, without suffix.
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
            f"{file} was made on {results['machine']}, this is {machine()}. Measure all parts."
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


# How time is taken


def lasting(
    run: Callable[[int], object], n_sites: int, plan: Plan, least: int = 1
) -> Callable[[], float]:
    """Microseconds a site of one of the n equal things that `run(n)` does, with n so large that it lasts."""

    def measured(n: int) -> float:
        start = time.perf_counter()
        run(n)
        return time.perf_counter() - start

    n = least
    while (elapsed := measured(n)) < plan.seconds:
        n = math.ceil(n * min(10.0, 1.3 * plan.seconds / elapsed))
    return lambda: 1e6 * measured(n) / (n * n_sites)


def race(contestants: dict[Any, Callable[[], float]], repeats: int) -> dict[Any, dict[str, float]]:
    """Median and minimum of each; they take turns, so that all see the same machine."""
    times: dict[Any, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            times[name].append(contestant())
    return {name: {"median": median(found), "min": min(found)} for name, found in times.items()}


def stepping(force_field: LearnedForceField, plan: Plan) -> Callable[[], float]:
    """Microseconds a site of a whole step: all of `simulate`, with the first and the last frame saved."""
    state = initial_state(force_field, seed=0, dtype=torch.float32, **START)
    run, n_sites = partial(simulate, force_field, LANGEVIN, state), force_field.lattice.n_sites
    # What a run costs beside its steps, its start and two frames, is 10 ns a site: 2 % of 5 steps at most.
    return lasting(lambda n: run(n, Regular(n)), n_sites, plan, least=10 if n_sites < 2**21 else 5)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """So many threads for torch and for LAPACK."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(n):
            yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """Processor, number of cores, vector instructions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor()
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


def spawned(worker: str, *arguments: Any) -> dict[str, Any]:
    """What a worker finds in a fresh process."""
    command = [sys.executable, __file__, "--worker", worker, json.dumps(arguments)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{worker}{arguments} failed: {run.stderr[-2000:]}")
    return json.loads(run.stdout)


# Steps and their floors


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


def random_network(lattice: Lattice, network: str, head: str) -> OrbitNetwork:
    torch.manual_seed(0)
    channels, n_layers = NETWORKS[network]
    cutoff, kind = CUTOFFS[lattice.name], Holstein(lattice).field_type
    return OrbitNetwork(
        lattice, kind, cutoff, n_layers, HiddenChannels(channels), conservative=head == "energy"
    )


def random_force_field(lattice: Lattice, network: str, head: str) -> LearnedForceField:
    return LearnedForceField(random_network(lattice, network, head), Holstein(lattice), EXACT)


def steps(plan: Plan) -> list[dict[str, Any]]:
    """Whole steps of all networks: on squares of all sizes, then on all lattices of one size."""
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
    """One network; all lattices, both heads and, on one core, the floors take turns.

    Not more than 8 lattices: so many graphs are kept.
    """
    contestants: dict[Any, Callable[[], float]] = {}
    rows: list[dict[str, Any]] = []
    entrants: list[dict[str, Any]] = []  # of each row, what is raced by its names there
    for head, lattice in product(HEADS, members):
        net = random_network(lattice, network, head)
        row = {
            "network": network,
            "weights": sum(p.numel() for p in net.parameters()),
            "head": head,
        }
        row |= {"cores": cores, "lattice": lattice.name, "size": lattice.extent[0]}
        rows.append(row | {"n_sites": lattice.n_sites, "neighbours": neighbours(lattice)})
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


def neighbours(lattice: Lattice) -> int:
    small = getattr(lattices, lattice.name)(8)
    return len(small.bonds(CUTOFFS[lattice.name])) // small.n_sites


def product_shapes(net: nn.Module) -> tuple[tuple[int, ...], ...]:
    """Channels out and in of all matrix products of one force: the floor of arithmetic.

    The gradient of an energy to the field needs as many products again, with the transposed weights.
    """
    convs = [module for module in net.modules() if isinstance(module, OrbitConv)]
    shapes = [tuple(weight.shape) for conv in convs for weight in conv.weights.values()]
    return tuple(shapes + [shape[::-1] for shape in shapes] * getattr(net, "conservative", False))


@cache
def fastest_chain(
    shapes: tuple[tuple[int, ...], ...], plan: Plan
) -> tuple[Callable[[int], None], int]:
    """All these products in the fastest layout and size of blocks, and the sites of a block."""
    brief = replace(plan, seconds=plan.seconds / 10)
    chains = [(chain(shapes, block, kind), block) for block in plan.blocks for kind in range(3)]
    times = race({number: lasting(*pair, brief) for number, pair in enumerate(chains)}, 3)
    return chains[min(times, key=lambda number: times[number]["min"])]


def chain(shapes: tuple[tuple[int, ...], ...], block: int, kind: int) -> Callable[[int], None]:
    """Products [block, into] × [into, out], in two layouts of the weights, or [out, into] × [into, block]."""
    operands = {}
    for out, into in set(shapes):
        w, x = torch.randn(out, into), torch.randn(block, into)
        left, right = [(x, w.T), (x, w.T.contiguous()), (w, x.T.contiguous())][kind]
        operands[out, into] = left, right, left @ right
    sequence = [operands[shape[0], shape[1]] for shape in shapes]

    def run(n: int) -> None:
        for _ in range(n):
            for left, right, result in sequence:
                torch.mm(left, right, out=result)

    return run


def copying(n_sites: int, plan: Plan) -> Callable[[], float]:
    """The floor of memory: the state read and written once."""
    state = torch.randn(n_sites * STATE_BYTES // 4)
    copy = torch.empty_like(state)
    return lasting(partial(repeat, partial(copy.copy_, state)), n_sites, plan)


# Rivals


def rivals(plan: Plan) -> dict[str, Any]:
    """Forces by the rivals against whole steps by the networks that ship, on one core; errors of both."""
    with threads(1):
        rows = [row for size in plan.rival_sizes for row in rivals_at(size, plan)]
        return {"rows": rows, "mse": errors(*plan.quench), "quench": plan.quench}


def solvers() -> dict[str, Any]:
    domains = {
        f"domain {core}+{hops}": DomainDiagonalization(0.1, 0.0, core, hops)
        for core, hops in DOMAINS
    }
    return {"ED": EXACT} | domains


def rivals_at(size: int, plan: Plan) -> list[dict[str, Any]]:
    """All on one lattice."""
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
    for _ in range(n):
        call()


def errors(size: int, n_steps: int, n_frames: int) -> dict[str, float]:
    """Mean square error of the forces on frames of a quench, against ED."""
    lattice = square(size)
    learned = {name: LearnedForceField.pretrained(name, lattice) for name in SHIPPED}
    exact = {name: ExactForceField(Holstein(lattice), solver) for name, solver in solvers().items()}
    start = initial_state(learned["holstein-square"], seed=7, **START)
    run = simulate(learned["holstein-square"], LANGEVIN, start, n_steps, LogSpaced(n_frames))
    fields = torch.from_numpy(run.fields[:][:, 0])
    labels = exact.pop("ED").electronic(fields)[1]
    forces = {name: method.electronic(fields)[1] for name, method in (learned | exact).items()}
    return {name: float((force - labels).square().mean()) for name, force in forces.items()}


# Memory


def memory(plan: Plan) -> list[dict[str, Any]]:
    """Peak memory, in a fresh process each."""
    cases = [("square", size, MAIN, head) for size in plan.sizes if size >= 256 for head in HEADS]
    cases += [("square", 1024, network, head) for network in NETWORKS for head in HEADS]
    cases += [(name, plan.other_size, MAIN, head) for name in CUTOFFS for head in HEADS]
    return [spawned("memory", *case) for case in plan.memory or dict.fromkeys(cases)]


def memory_worker(name: str, size: int, network: str, head: str) -> dict[str, Any]:
    """Peak beyond imports and a small lattice, less the two frames that are saved."""
    torch.set_num_threads(1)
    for extent in (16, size):
        before = memory_bytes("VmHWM")
        force_field = random_force_field(getattr(lattices, name)(extent), network, head)
        state = initial_state(force_field, seed=0, dtype=torch.float32, **START)
        simulate(force_field, LANGEVIN, state, 5, Regular(5))
    n_sites, peak = force_field.lattice.n_sites, memory_bytes("VmHWM")
    case = {"lattice": name, "size": size, "n_sites": n_sites, "network": network, "head": head}
    return case | {"bytes_a_site": (peak - before) / n_sites - 2 * STATE_BYTES, "peak": peak}


def long_worker(size: int, *n_steps: int) -> dict[str, Any]:
    """Memory in use after fewer and after more steps."""
    torch.set_num_threads(1)
    force_field = random_force_field(square(size), MAIN, "direct")
    state, found = initial_state(force_field, seed=0, dtype=torch.float32, **START), []
    for n in n_steps:
        left = n - state.step
        state = simulate(force_field, LANGEVIN, state, left, Regular(left)).state(-1)
        found.append(memory_bytes("VmRSS"))
    return {"size": size, "steps": n_steps, "bytes": found}


def memory_bytes(key: str) -> int:
    """Memory of this process, "VmRSS" now or "VmHWM" at its peak (that of getrusage is also its parent's)."""
    (line,) = (t for t in Path("/proc/self/status").read_text().splitlines() if t.startswith(key))
    return 1024 * int(line.split()[1])


# Training


def training(plan: Plan) -> dict[str, Any]:
    """The network of configs/fit/holstein_square_small.yaml in training, by orbit sums and by RGCNConv."""
    lattice, batch, (n_samples, n_batches) = square(20), 8, plan.training
    net = random_network(lattice, MAIN, "direct")
    rival = RelationalNetwork(net, lattice, batch)
    graph = net.graph(lattice)
    fields = START["field_std"] * torch.randn(n_batches, batch, lattice.n_sites)
    targets = torch.tanh(fields)
    deviations = compare(net, rival, fields[0], targets[0])
    if max(deviations) > 1e-5:
        raise SystemExit(
            f"both networks must be the same, forces and gradients differ by {deviations}."
        )
    runs = {}
    with threads(1):
        forwards = {
            "OrbitConv": (net, lambda field: net(field, graph)[1]),
            "RGCNConv": (rival, rival),
        }
        for name, (module, forward) in forwards.items():
            optimizer = SOAP(module.parameters(), lr=6e-3, weight_decay=1e-4)
            for kind in ("gradient", "with SOAP"):
                take = optimizer.step if kind == "with SOAP" else lambda: None
                epoch = partial(train, forward, optimizer.zero_grad, take, fields, targets)
                runs[f"{name}, {kind}"] = lasting(epoch, n_batches * batch, plan)
        times = race(runs, plan.repeats)
    return {"us_a_sample": times, "n_samples": n_samples, "batch": batch, "deviations": deviations}


def train(
    forward: Any, zero: Any, take: Any, fields: Tensor, targets: Tensor, n_rounds: int
) -> None:
    """Steps of training, n_rounds times over all batches."""
    for _ in range(n_rounds):
        for field, target in zip(fields, targets, strict=True):
            zero()
            nn.functional.mse_loss(forward(field), target).backward()
            take()


# The papers' run


def produce(network: str, plan: Plan, folder: Path) -> dict[str, Any]:
    """A quench of the papers' size from start to disk on all cores, then its report."""
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


WORKERS = {"memory": memory_worker, "long": long_worker}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        sys.stdout.write(json.dumps(WORKERS[sys.argv[2]](*json.loads(sys.argv[3]))))
    else:
        auto_cli(main)
