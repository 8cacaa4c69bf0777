"""CPU time of effective fields and LLG steps of a network of spins, on one thread.

    python scripts/spin_speed.py --extents '[30, 128, 512]'

It compares the compiled code with the network's own code, tile by tile, on square lattices in
float32 with random spins. A step of `HeunLLG` needs two effective fields and includes everything
that `simulate` does. Each line has the median and the minimum of five measurements; methods take
turns. The largest difference of the two effective fields is printed as well.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch
from jsonargparse import auto_cli
from speed_timing import threads

from lattgnn.backends import TiledForces
from lattgnn.dynamics import HeunLLG, Regular, initial_spins, simulate
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import square

INTEGRATOR = HeunLLG(dt=0.05, kT=0.01, alpha=0.1)
REPEATS, STEPS = 5, 5


def main(extents: Sequence[int] = (30, 128, 512), network: str = "kondo-square") -> None:
    """Measure and print.

    Args:
        extents: Linear sizes of the lattices.
        network: Name of a pretrained network of spins.
    """
    with threads(1):
        for extent in extents:
            learned = LearnedForceField.pretrained(network, square(extent))
            measure(learned)
    sys.stdout.write(f"load {os.getloadavg()[0]:.1f}\n")


def measure(learned: LearnedForceField) -> None:
    """Print the figures of one lattice."""
    state = initial_spins(learned, seed=0, dtype=torch.float32)
    own, field = TiledForces(learned.net, learned.lattice), state.field
    n_sites = learned.lattice.n_sites
    difference = (learned(field)[1] - own(field)[1]).abs().max()
    n_calls = math.ceil(20_000 / n_sites)
    candidates: dict[str, tuple[Callable[[], object], int]] = {
        "compiled": (partial(learned, field), n_calls),
        "own code": (partial(own, field), max(1, n_calls // 10)),
        "LLG step": (partial(simulate, learned, INTEGRATOR, state, STEPS, Regular(STEPS)), 1),
    }
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(REPEATS):
        for name, (call, n) in candidates.items():
            n_done = n * (STEPS if name == "LLG step" else 1)
            times[name].append(1e6 * cpu_seconds(call, n) / (n_done * n_sites))
    for name, found in times.items():
        text = f"{median(found):.2f} ({min(found):.2f}) CPU-µs per site"
        sys.stdout.write(f"{learned.lattice.extent}, {name}: {text}\n")
    sys.stdout.write(f"{learned.lattice.extent}, largest difference {difference:.1e}\n")


def cpu_seconds(call: Callable[[], object], n: int) -> float:
    """CPU time of n calls."""
    start = time.process_time()
    for _ in range(n):
        call()
    return time.process_time() - start


if __name__ == "__main__":
    auto_cli(main)
