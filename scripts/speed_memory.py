"""Memory of a simulation, each case in a fresh process; run by benchmark_speed.py."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from speed_report import HEADS, MAIN
from speed_timing import CUTOFFS, LANGEVIN, NETWORKS, START, STATE_BYTES, Plan, random_force_field

from lattgnn import lattice as lattices
from lattgnn.dynamics import Regular, initial_state, simulate
from lattgnn.lattice import square


def memory(plan: Plan) -> list[dict[str, Any]]:
    """Peak memory of all cases."""
    cases = [("square", size, MAIN, head) for size in plan.sizes if size >= 256 for head in HEADS]
    cases += [("square", 1024, network, head) for network in NETWORKS for head in HEADS]
    cases += [(name, plan.other_size, MAIN, head) for name in CUTOFFS for head in HEADS]
    return [spawned("memory", *case) for case in plan.memory or dict.fromkeys(cases)]


def memory_worker(name: str, size: int, network: str, head: str) -> dict[str, Any]:
    """Peak memory of one simulation.

    Bytes per site are the excess over the peak with a small lattice, which includes all imports,
    without the two saved frames.
    """
    torch.set_num_threads(1)
    for extent in (16, size):
        before = memory_bytes("VmHWM")
        force_field = random_force_field(getattr(lattices, name)(extent), network, head)
        state = initial_state(force_field, seed=0, dtype=torch.float32, **START)
        simulate(force_field, LANGEVIN, state, 5, Regular(5))
    n_sites, peak = force_field.lattice.n_sites, memory_bytes("VmHWM")
    case = {"lattice": name, "size": size, "n_sites": n_sites, "network": network, "head": head}
    return case | {"bytes_per_site": (peak - before) / n_sites - 2 * STATE_BYTES, "peak": peak}


def long_worker(size: int, *n_steps: int) -> dict[str, Any]:
    """Memory in use after each of several numbers of steps, to find leaks."""
    torch.set_num_threads(1)
    force_field = random_force_field(square(size), MAIN, "direct")
    state, found = initial_state(force_field, seed=0, dtype=torch.float32, **START), []
    for n in n_steps:
        left = n - state.step
        state = simulate(force_field, LANGEVIN, state, left, Regular(left)).state(-1)
        found.append(memory_bytes("VmRSS"))
    return {"size": size, "steps": n_steps, "bytes": found}


def memory_bytes(key: str) -> int:
    """Memory of this process: "VmRSS" is the current value, "VmHWM" the peak.

    The peak of `resource.getrusage` is not suitable, because a new process inherits it.
    """
    (line,) = (t for t in Path("/proc/self/status").read_text().splitlines() if t.startswith(key))
    return 1024 * int(line.split()[1])


def spawned(worker: str, *arguments: Any) -> dict[str, Any]:
    """The result of a worker in a fresh process."""
    command = [sys.executable, __file__, worker, json.dumps(arguments)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{worker}{arguments} failed: {run.stderr[-2000:]}")
    return json.loads(run.stdout)


WORKERS = {"memory": memory_worker, "long": long_worker}

if __name__ == "__main__":
    worker, arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(WORKERS[worker](*json.loads(arguments))))
