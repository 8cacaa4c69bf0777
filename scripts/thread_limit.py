"""Time of exact forces with one thread of BLAS and with as many as the program has.

    env -u OMP_NUM_THREADS python scripts/thread_limit.py

Exact diagonalization limits BLAS and torch to one thread by itself
(`lattgnn.solvers.single_thread`). Here the limit is lifted in every second call. Times are medians
of wall and CPU time of one force. The load of the machine matters: threads that wait for a busy
core spin. The results are written to a JSON file.
"""

import json
import os
import sys
import time
from pathlib import Path
from statistics import median

import torch
from jsonargparse import auto_cli
from threadpoolctl import threadpool_info

from lattgnn.errors import InputError
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.serialize import versions
from lattgnn.solvers import ExactDiagonalization, single_thread


def times(extent: int, n_calls: int) -> dict:
    """Medians in ms, with the limit and without it; the two take turns."""
    force_field = ExactForceField(Holstein(square(extent)), ExactDiagonalization(kT=0.1, mu=0.0))
    generator = torch.Generator().manual_seed(0)
    field = 5 * torch.randn(extent**2, dtype=torch.float64, generator=generator)
    limit = single_thread.MOST_STATES
    found: dict[str, list[float]] = {}
    for call in range(2 * n_calls + 2):
        is_limited = call % 2 == 0
        single_thread.MOST_STATES = limit if is_limited else 0
        wall, cpu = time.perf_counter(), time.process_time()
        force_field(field)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if call >= 2:  # the first calls prepare index tables
            name = "one thread" if is_limited else "all threads"
            found.setdefault(f"{name}, wall ms", []).append(1e3 * wall)
            found.setdefault(f"{name}, CPU ms", []).append(1e3 * cpu)
    single_thread.MOST_STATES = limit
    return {name: round(median(values), 3) for name, values in found.items()}


def main(
    extents: tuple[int, ...] = (12, 20, 30),
    n_calls: int = 15,
    out: str = "docs/benchmarks/thread_limit.json",
) -> None:
    """Measure and write the results.

    Args:
        extents: Cells along each axis of the square lattices.
        n_calls: Number of forces with the limit, and as many without it.
        out: JSON file.
    """
    n_threads = max(library["num_threads"] for library in threadpool_info())
    if n_threads == 1:
        raise InputError(
            "there is only one thread to compare with. Unset OMP_NUM_THREADS, as in "
            "`env -u OMP_NUM_THREADS python scripts/thread_limit.py`."
        )
    rows = []
    for extent in extents:
        rows.append({"extent": extent, **times(extent, n_calls), "load": os.getloadavg()[0]})
        sys.stdout.write(f"{rows[-1]}\n")
    results = {"threads": n_threads, "rows": rows, "versions": versions()}
    atomic_write_text(Path(out), json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    auto_cli(main)
