"""Cost of a run over many processes: time of a step, bytes of the halos, share of the exchange.

Weak scaling: each process has a block of the same size, of a lattice that grows with the number of
processes. Rounds of one, two and four processes take turns, so that a busy machine slows all alike.
Medians over rounds are reported, and the CPU time beside the wall time. Each process has one
thread.

    python scripts/benchmark_domains.py --output docs/benchmarks/domains.json
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from lattgnn.dynamics import VerletLangevin, initial_state
from lattgnn.dynamics.domains import HaloExchange, join
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import square
from lattgnn.patch_forces import domain_force_field

INTEGRATOR = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)
STD = (5 / 0.18) ** 0.5


class TimedExchange:
    """A halo exchange that adds up its wall time.

    Args:
        exchange: The exchange.
    """

    def __init__(self, exchange: HaloExchange) -> None:
        self.exchange, self.seconds = exchange, 0.0

    def __call__(self, field: torch.Tensor) -> torch.Tensor:
        """Exchange and time it; see `HaloExchange`."""
        begin = time.perf_counter()
        patch = self.exchange(field)
        self.seconds += time.perf_counter() - begin
        return patch


def measure(url: str, rank: int, mesh: tuple[int, int], options: Any, answers: Any) -> None:
    """Time some steps in one process; the first one reports.

    Args:
        url: Where the processes meet.
        rank: Number of this process.
        mesh: Number of processes along each axis.
        options: Arguments of the command line.
        answers: Queue for the result.
    """
    torch.set_num_threads(1)
    extent = [n * options.block for n in mesh]
    lattice = square(extent=extent)
    example = LearnedForceField.pretrained(options.network, square(20))
    size = mesh[0] * mesh[1]
    timed = n_bytes = None
    if size == 1:
        force_field: Any = LearnedForceField.pretrained(options.network, lattice)
    else:
        processes = join(url, rank, size)
        force_field = domain_force_field(example, lattice, processes, mesh)
    state = initial_state(force_field, 0, 1, STD, 5.0, dtype=torch.float32)
    if size > 1:
        n_bytes = force_field.exchange.n_bytes(state.field)
        timed = force_field.exchange = TimedExchange(force_field.exchange)
    spaces = cycle((state.workspace(), state.workspace()))
    state = INTEGRATOR.step(force_field, state, next(spaces))  # builds all tables
    if timed is not None:
        timed.seconds = 0.0
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(options.steps):
        state = INTEGRATOR.step(force_field, state, next(spaces))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    exchange = 0.0 if timed is None else timed.seconds
    answers.put({"wall": wall, "cpu": cpu, "exchange": exchange, "bytes": n_bytes or 0})
    if size > 1:
        force_field.processes.meet()
    os._exit(0)  # without the seconds that torch.distributed takes to close


def one_round(mesh: tuple[int, int], options: Any) -> dict[str, float]:
    """Wall, CPU and exchange time per step, means over the processes, in ms.

    Args:
        mesh: Number of processes along each axis.
        options: Arguments of the command line.
    """
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        url = f"file://{folder}/meeting"
        arguments = [(url, rank, mesh, options, answers) for rank in range(mesh[0] * mesh[1])]
        started = [context.Process(target=measure, args=some) for some in arguments]
        for process in started:
            process.start()
        for process in started:
            process.join()
            if process.exitcode:
                raise RuntimeError(f"a process failed with exit code {process.exitcode}")
        found = [answers.get() for _ in started]
    per_step = {name: statistics.mean(one[name] for one in found) for name in found[0]}
    return {
        name: value if name == "bytes" else 1000 * value / options.steps
        for name, value in per_step.items()
    }


def summary(rounds: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Medians over rounds, and efficiencies relative to one process.

    Args:
        rounds: Results of all rounds for each mesh.
    """
    rows = []
    for mesh, found in rounds.items():
        row: dict[str, Any] = {"mesh": mesh}
        for name in found[0]:
            row[name] = statistics.median(one[name] for one in found)
        # Ratios within a round, because rounds differ in the load of the machine.
        for name in ("wall", "cpu"):
            ratios = [a[name] / b[name] for a, b in zip(rounds["1x1"], found, strict=True)]
            row[f"efficiency_{name}"] = statistics.median(ratios)
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--network", default="holstein-square-small")
    parser.add_argument("--block", type=int, default=512, help="cells of a block along each axis")
    parser.add_argument("--steps", type=int, default=50, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--meshes", nargs="+", default=["1x1", "2x1", "1x2", "4x1", "2x2"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {mesh: [] for mesh in options.meshes}
    for _ in range(options.rounds):
        for mesh, found in rounds.items():
            rows, columns = map(int, mesh.split("x"))
            found.append(one_round((rows, columns), options))
    table = summary(rounds)
    print("processes  ms/step  CPU ms  exchange ms  halo kB  efficiency  by CPU time")
    for row in table:
        print(
            f"{row['mesh']:>9}  {row['wall']:7.2f}  {row['cpu']:6.2f}  {row['exchange']:11.2f}  "
            f"{row['bytes'] / 1000:7.1f}  {row['efficiency_wall']:10.1%}  "
            f"{row['efficiency_cpu']:11.1%}"
        )
    if options.output is not None:
        settings = {"network": options.network, "block": options.block, "steps": options.steps}
        about = {"machine": platform.processor(), "cores": os.cpu_count(), "load": os.getloadavg()}
        result = {"settings": settings, "rounds": options.rounds, **about, "results": table}
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
