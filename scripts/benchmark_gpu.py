"""Speed on a GPU: steps of a learned simulation, training, and the agreement with the CPU.

    python scripts/benchmark_gpu.py                                  # three minutes
    python scripts/benchmark_gpu.py --device cpu --tiny true --out runs/gpu   # to test the script

It writes OUT.json and OUT.md. A step has the parameters of the papers and includes everything that
`simulate` does: forces, noise, update, and the check for runaway fields.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from pytorch_optimizer import SOAP
from speed_timing import EXACT, LANGEVIN, START, Plan, lasting, machine, race, random_network
from speed_training import train
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from lattgnn.devices import usable_device
from lattgnn.dynamics import Regular, State, initial_state, simulate
from lattgnn.errors import InputError
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.serialize import versions

NETWORK = "2,993"
STATE_TRAFFIC = 24
"""Bytes of a site that every step must move: field, momentum and force, read and written."""


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    extents: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    cpu_extents: tuple[int, ...] = (64, 512)
    copied_bytes: int = 2**28
    trajectory: tuple[int, int, int] = (64, 400, 50)  # extent, steps, steps between frames
    batches: tuple[int, ...] = (8, 64)
    plan: Plan = Plan()


TINY = Sizes(
    extents=(8, 16),
    cpu_extents=(8,),
    copied_bytes=2**16,
    trajectory=(16, 6, 3),
    batches=(2,),
    plan=replace(Plan(), seconds=1e-3, repeats=1),
)


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and add the sizes of its arguments and results."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            for tensor in pytree.tree_leaves((args, kwargs, result)):
                if isinstance(tensor, Tensor):
                    # An expanded tensor has more elements than there are in memory.
                    self.n_bytes += min(tensor.nbytes, tensor.untyped_storage().nbytes())
        return result


def main(device: str = "cuda", tiny: bool = False, out: str = "docs/benchmarks/gpu") -> None:
    """Measure and write the results.

    Args:
        device: Device to be measured.
        tiny: Use tiny sizes, to test the script.
        out: Path of the output files, without suffix.
    """
    try:
        place = usable_device(device)
    except InputError as error:
        raise SystemExit(str(error)) from error
    sizes = TINY if tiny else Sizes()
    bandwidth = copy_bandwidth(place, sizes)
    results = {
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else machine(),
        "cpu": machine(),
        "load": os.getloadavg()[0],
        "versions": versions(),
        "bandwidth": bandwidth,
        "steps": steps(place, sizes, bandwidth),
        "cpu_steps": step_times(torch.device("cpu"), sizes.cpu_extents, sizes.plan),
        "agreement": agreement(place, sizes),
        "training": {kind: training(torch.device(kind), sizes) for kind in {"cpu", place.type}},
    }
    text = report(results)
    atomic_write_text(Path(f"{out}.json"), json.dumps(results, indent=1) + "\n")
    atomic_write_text(Path(f"{out}.md"), text)
    sys.stdout.write(text)


def copy_bandwidth(device: torch.device, sizes: Sizes) -> float:
    """Bytes per second that a copy within the memory of the device moves."""
    source = torch.zeros(sizes.copied_bytes // 4, device=device, dtype=torch.float32)
    target = torch.empty_like(source)

    def copy(n: int) -> None:
        for _ in range(n):
            target.copy_(source)
        wait(device)

    copy(3)
    microseconds = race({"copy": lasting(copy, 1, sizes.plan)}, sizes.plan.repeats)["copy"]
    return 2 * source.nbytes / (1e-6 * microseconds["median"])


def steps(device: torch.device, sizes: Sizes, bandwidth: float) -> list[dict[str, Any]]:
    """Time of a step per site, and what the memory alone would take."""
    rows = step_times(device, sizes.extents, sizes.plan)
    for row in rows:
        force_field, state = start(row["extent"], device)
        with Traffic() as traffic:
            LANGEVIN.step(force_field, state)
        moved = traffic.n_bytes / force_field.lattice.n_sites
        row["state_floor_ns"] = 1e9 * STATE_TRAFFIC / bandwidth
        row["traffic_bytes"] = moved
        row["traffic_floor_ns"] = 1e9 * moved / bandwidth
    return rows


def step_times(device: torch.device, extents: tuple[int, ...], plan: Plan) -> list[dict[str, Any]]:
    """Median and shortest time of a step in nanoseconds per site, for each extent."""
    rows = []
    for extent in extents:
        force_field, state = start(extent, device)
        run = stepping(force_field, state)
        found = race({"step": lasting(run, extent**2, plan, least=10)}, plan.repeats)["step"]
        rows.append({"extent": extent} | {name: 1e3 * us for name, us in found.items()})
    return rows


def start(extent: int, device: torch.device) -> tuple[LearnedForceField, State]:
    """A force field with random weights, whose speed does not depend on them, and a state."""
    lattice = square(extent)
    net = random_network(lattice, NETWORK, "direct").to(device)
    force_field = LearnedForceField(net, Holstein(lattice), EXACT)
    return force_field, initial_state(
        force_field, seed=0, dtype=torch.float32, device=device, **START
    )


def stepping(force_field: LearnedForceField, state: State) -> Callable[[int], object]:
    """A run of n steps, which saves its first and last frame."""
    return lambda n: simulate(force_field, LANGEVIN, state, n, Regular(n))


def agreement(device: torch.device, sizes: Sizes) -> list[dict[str, float]]:
    """Largest difference of the fields on the device and the CPU, with the same noise.

    The difference of two runs on the CPU, with a state in single and in double precision, shows how
    rounding grows.
    """
    extent, n_steps, interval = sizes.trajectory
    runs = {}
    for name, place, dtype in (
        ("device", device, torch.float32),
        ("cpu", torch.device("cpu"), torch.float32),
        ("double", torch.device("cpu"), torch.float64),
    ):
        force_field = LearnedForceField.pretrained(
            "holstein-square-small", square(extent), device=place
        )
        state = initial_state(force_field, seed=0, dtype=dtype, device=place, **START)
        run = simulate(force_field, LANGEVIN, state, n_steps, Regular(interval))
        runs[name] = torch.as_tensor(run.fields[:]).double()
    rows = []
    for frame in range(len(runs["cpu"])):
        row = {"step": float(frame * interval)}
        for name in ("device", "double"):
            row[name] = float((runs[name][frame] - runs["cpu"][frame]).abs().max())
        rows.append(row)
    return rows


def training(device: torch.device, sizes: Sizes) -> list[dict[str, float]]:
    """Samples per second of a fit on 20 × 20 sites with SOAP, for each batch size."""
    lattice, rows = square(20), []
    for batch in sizes.batches:
        net = random_network(lattice, NETWORK, "direct").to(device)
        fields = (START["field_std"] * torch.randn(4, batch, lattice.n_sites)).to(device)
        optimizer = SOAP(net.parameters(), lr=6e-3, weight_decay=1e-4)

        def epochs(n: int, net: Any = net, optimizer: Any = optimizer, x: Tensor = fields) -> None:
            graph = net.graph(lattice)
            train(lambda f: net(f, graph)[1], optimizer.zero_grad, optimizer.step, x, x.tanh(), n)
            wait(device)

        epochs(3)
        found = race({"epoch": lasting(epochs, 4 * batch, sizes.plan)}, sizes.plan.repeats)
        rows.append({"batch": batch, "samples_per_s": 1e6 / found["epoch"]["median"]})
    return rows


def wait(device: torch.device) -> None:
    """Wait until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def report(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Speed on a GPU",
        "",
        f"{results['device']}, beside {results['cpu']} on one thread. A copy within the memory of "
        f"the device moves {results['bandwidth'] / 1e9:.0f} GB/s.",
        "",
        f"Whole steps of the network with {NETWORK} weights, float32, in ns per site. The floors "
        f"are what this memory takes for the state alone ({STATE_TRAFFIC} bytes per site), and for "
        "all that the operations of a step read and write.",
        "",
        "| Sites | Median | Shortest | Floor, state | Floor, operations |",
        "|---|---|---|---|---|",
    ]
    for row in results["steps"]:
        keys = ("median", "min", "state_floor_ns", "traffic_floor_ns")
        numbers = " | ".join(f"{row[key]:.3g}" for key in keys)
        lines.append(f"| {row['extent']}² | {numbers} |")
    for row in results["cpu_steps"]:
        lines.append(f"| {row['extent']}², CPU | {row['median']:.3g} | {row['min']:.3g} | | |")
    lines += [
        "",
        "Largest difference of the fields from those of the CPU, with the same noise:",
        "",
    ]
    lines += ["| Step | Device | Double precision, CPU |", "|---|---|---|"]
    for row in results["agreement"]:
        lines.append(f"| {row['step']:.0f} | {row['device']:.1e} | {row['double']:.1e} |")
    lines += ["", "Training on 20² sites with SOAP, samples per second:", ""]
    lines += ["| Device | Batch | Samples/s |", "|---|---|---|"]
    for kind, rows in results["training"].items():
        for row in rows:
            lines.append(f"| {kind} | {row['batch']} | {row['samples_per_s']:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    auto_cli(main)
