"""What the parts of benchmark_speed.py share: sizes, models, and how time is measured."""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from speed_report import MAIN
from threadpoolctl import threadpool_limits

from lattgnn.dynamics import Regular, VerletLangevin, initial_state, simulate
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import Lattice
from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.solvers import ExactDiagonalization

LANGEVIN = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)
START = {"field_std": (5 / 0.18) ** 0.5, "momentum_std": 5.0}
EXACT = ExactDiagonalization(kT=0.1, mu=0.0)
CUTOFFS = {"square": 1.5, "triangular": 1.8, "honeycomb": 1.8, "kagome": 1.8}
"""Cutoffs that include two shells of neighbors."""
NETWORKS = {"833": (8, 2), "2,993": (11, 5), "15,745": (24, 6)}
"""Channels and layers of each network, by its number of weights on the square lattice."""
STATE_BYTES = 12
"""Memory for field, momentum and force of a site, float32."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often."""

    sizes: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    other_size: int = 256
    networks: tuple[str, ...] = tuple(NETWORKS)
    cores: tuple[int, ...] = tuple(sorted({1, os.cpu_count() or 1}))
    rival_sizes: tuple[int, ...] = (20, 40, 100)
    exact_up_to: int = 40  # larger ones take minutes
    others_from: int = 40  # smaller ones fit into one domain
    memory: tuple[tuple[str, int, str, str], ...] | None = None  # None: all cases
    seconds: float = 0.3  # shortest duration of a measurement
    repeats: int = 5
    n_rows: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192, 16384)  # sizes of matrix products
    quench: tuple[int, int, int] = (40, 2000, 24)  # for the errors: size, steps, frames
    training: tuple[int, int] = (2788, 40)  # samples per epoch, batches per measurement
    long: tuple[int, int] = (10_000, 100_000)
    production: tuple[int, int, int] = (200, 25_000, 100)  # size, steps, steps between frames


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
    n_rows=(256,),
    quench=(20, 20, 3),
    training=(64, 2),
    long=(20, 60),
    production=(16, 60, 4),
)


def random_network(lattice: Lattice, network: str, head: str) -> OrbitNetwork:
    """A network with random weights; its speed does not depend on them."""
    torch.manual_seed(0)
    channels, n_layers = NETWORKS[network]
    cutoff, kind = CUTOFFS[lattice.name], Holstein(lattice).field_type
    return OrbitNetwork(
        lattice, kind, cutoff, n_layers, HiddenChannels(channels), conservative=head == "energy"
    )


def random_force_field(lattice: Lattice, network: str, head: str) -> LearnedForceField:
    """A force field with random weights."""
    return LearnedForceField(random_network(lattice, network, head), Holstein(lattice), EXACT)


def lasting(
    run: Callable[[int], object], n_sites: int, plan: Plan, least: int = 1
) -> Callable[[], float]:
    """A measurement of the time per repetition and site, in microseconds.

    Args:
        run: `run(n)` does the same thing n times.
        n_sites: Number of sites, or samples, of one repetition.
        plan: Its `seconds` are the shortest duration; n is increased until it is reached.
        least: Smallest n.
    """

    def measured(n: int) -> float:
        start = time.perf_counter()
        run(n)
        return time.perf_counter() - start

    n = least
    while (elapsed := measured(n)) < plan.seconds:
        n = math.ceil(n * min(10.0, 1.3 * plan.seconds / elapsed))
    return lambda: 1e6 * measured(n) / (n * n_sites)


def race(contestants: dict[Any, Callable[[], float]], repeats: int) -> dict[Any, dict[str, float]]:
    """Median and minimum of each candidate; they take turns, so that all see the same machine."""
    times: dict[Any, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            times[name].append(contestant())
    return {name: {"median": median(found), "min": min(found)} for name, found in times.items()}


def stepping(force_field: ExactForceField | LearnedForceField, plan: Plan) -> Callable[[], float]:
    """A measurement of whole steps: all of `simulate`, which saves the first and the last frame."""
    state = initial_state(force_field, seed=0, dtype=torch.float32, **START)
    run, n_sites = partial(simulate, force_field, LANGEVIN, state), force_field.lattice.n_sites
    # The start of a run and its two frames cost 10 ns per site, at most 2 % of the time of 5 steps.
    return lasting(lambda n: run(n, Regular(n)), n_sites, plan, least=10 if n_sites < 2**21 else 5)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads in torch and in LAPACK."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(n):
            yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """Processor, number of cores and vector instructions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor()
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
