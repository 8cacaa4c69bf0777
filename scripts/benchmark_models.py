"""Every network of configs/benchmark on the standard benchmark, at equal labels and equal CPU time.

    python scripts/benchmark_models.py --minutes 2                   # every recipe, seed 0
    python scripts/benchmark_models.py --minutes 12 --seeds [0,1,2]  # three seeds
    python scripts/benchmark_models.py --report-only true            # tables and plots again

A network joins the comparison by a file in configs/benchmark, a configuration of `lattgnn fit`: no
code. Its steps are timed first, and as many are made as fit into the CPU time (one thread); the
learning rate falls over just these. What is done is kept in docs/benchmarks/models/*.json, and is
done again only when its recipe changes.
"""

import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
import yaml
from jsonargparse import auto_cli
from torch.utils._python_dispatch import TorchDispatchMode

from lattgnn.files import atomic_write_text
from lattgnn.forcefield import LearnedForceField
from lattgnn.graph import apply_operation
from lattgnn.lattice import site_permutations, translation_permutation
from lattgnn.serialize import config_hash, versions

aten = torch.ops.aten
WINDOWS = ("0-40", "41-200", "201-600", "601-1200", "1201-2000")


def main(
    recipes: list[str] | None = None,
    minutes: list[float] | None = None,
    seeds: list[int] | None = None,
    workers: int = 2,
    out: str = "docs/benchmarks/models",
    report_only: bool = False,
) -> None:
    """Fit, test and measure what is missing, then write the table and the plot.

    Args:
        recipes: Configurations of `lattgnn fit`; all of configs/benchmark by default.
        minutes: CPU-minutes of each fit.
        seeds: Seeds of weights and of the order of the data.
        workers: Fits at a time, one thread each.
        out: Folder of the results.
        report_only: Only write the report.
    """
    folder = Path(out)
    files = (
        [Path(r) for r in recipes] if recipes else sorted(Path("configs/benchmark").glob("*.yaml"))
    )
    todo = [
        (file, budget, seed)
        for budget in minutes or [2.0]
        for seed in seeds or [0]
        for file in files
        if not _is_done(folder / f"{_title(file, budget, seed)}.json", file)
    ]
    if not report_only:
        with ThreadPoolExecutor(workers) as pool:
            for title in pool.map(lambda job: _one(job, folder), todo):
                sys.stdout.write(f"{title}\n")
                sys.stdout.flush()
    results = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    atomic_write_text(folder.with_suffix(".md"), report(results))
    standard = [r for r in results if _lattice(r) == "square"]
    plot(standard or results, folder.with_suffix(".png"))


def _title(recipe: Path, minutes: float, seed: int) -> str:
    return f"{recipe.stem}-{minutes:g}min-seed{seed}"


def _is_done(result: Path, recipe: Path) -> bool:
    return result.exists() and json.loads(result.read_text())["recipe"] == _hash(recipe)


def _hash(recipe: Path) -> str:
    """Of the resolved text: comments and order do not matter."""
    return config_hash(yaml.safe_load(recipe.read_text()))


def _one(job: tuple[Path, float, int], folder: Path) -> str:
    """Fit and measure in a process of its own, with one thread."""
    recipe, minutes, seed = job
    title = _title(recipe, minutes, seed)
    command = [
        sys.executable,
        __file__,
        "--worker",
        str(recipe),
        str(minutes),
        str(seed),
        str(folder),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    return (
        title
        if run.returncode == 0
        else f"{title} failed:\n{run.stdout[-2000:]}{run.stderr[-2000:]}"
    )


def worker(recipe: Path, minutes: float, seed: int, folder: Path) -> None:
    """One network, one budget, one seed: fit, test, measure, write the record."""
    from lattgnn.cli import main as lattgnn

    torch.set_num_threads(1)
    title = _title(recipe, minutes, seed)
    run = Path("runs/benchmark") / f"{title}-{_hash(recipe)}"
    steps = steps_within(minutes, recipe)
    arguments = {
        "seed_everything": seed,
        "data.shuffle_seed": seed,
        "data.progress": "false",
        "trainer.max_epochs": -1,
        "trainer.max_steps": steps,
        "trainer.check_val_every_n_epoch": "null",
        "trainer.val_check_interval": max(1, steps // 4),
        "run_dir": run,
        "test": "true",
    }
    load = os.getloadavg()[0]
    if (
        lattgnn(["fit", "--config", str(recipe), *(f"--{k}={v}" for k, v in arguments.items())])
        != 0
    ):
        raise SystemExit(1)
    (figures,) = (json.loads(path.read_text()) for path in run.glob("test-*.json"))
    cost = json.loads((run / "fit.json").read_text())
    record = {"network": recipe.stem, "minutes": minutes, "seed": seed, "steps": cost["steps"]}
    record |= {key: cost[key] for key in ("parameters", "cpu_minutes")}
    record |= {
        "recipe": _hash(recipe),
        "machine": machine(),
        "load": load,
        "test": figures,
        "versions": versions(),
    }
    learned = LearnedForceField.load(run / "best.ckpt")
    record |= {"lattice": learned.lattice.name} | measure(learned)
    atomic_write_text(folder / f"{title}.json", json.dumps(record, indent=1) + "\n")


def machine() -> str:
    """Processor and number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores"


def steps_within(minutes: float, recipe: Path) -> int:
    """Training steps that fit into the CPU time, from the median of a few."""
    from lattgnn.cli import main as lattgnn

    run = Path("runs/benchmark") / f"{recipe.stem}-clock-{_hash(recipe)}"
    if not (run / "fit.json").exists():
        arguments = [
            "--trainer.max_steps=100",
            "--trainer.max_time=00:00:00:40",
            "--trainer.max_epochs=-1",
        ]
        arguments += [
            "--trainer.limit_val_batches=0",
            f"--run_dir={run}",
            "--test=false",
            "--data.progress=false",
        ]
        if lattgnn(["fit", "--config", str(recipe), *arguments]) != 0:
            raise SystemExit(1)
    return max(4, int(60 * minutes / json.loads((run / "fit.json").read_text())["step_seconds"]))


def measure(learned: LearnedForceField) -> dict[str, float]:
    """Cost per site of the forces on 8 lattices, and the largest violation of symmetry."""
    net, lattice = learned.net, learned.lattice
    graph = net.graph(lattice)
    rng = torch.Generator().manual_seed(0)
    fields = (5 / 0.18) ** 0.5 * torch.randn(8, lattice.n_sites, generator=rng)
    with torch.no_grad():
        net(fields, graph)
        times = []
        for _ in range(11):
            start = time.process_time()
            net(fields, graph)
            times.append(time.process_time() - start)
        with Multiplications() as counter:
            net(fields, graph)
        forces = net(fields, graph)[1]
        shift = torch.from_numpy(translation_permutation(lattice, (3, 5)))
        errors = []
        for operation in torch.from_numpy(site_permutations(lattice)):
            moved = net(apply_operation(fields, shift[operation]), graph)[1]
            errors.append(float((moved - apply_operation(forces, shift[operation])).abs().max()))
    n_sites = fields.numel()
    return {
        "mac": counter.total / n_sites,
        "us": 1e6 * median(times) / n_sites,
        "equivariance_error": max(errors),
    }


class Multiplications(TorchDispatchMode):
    """Counts the multiply-adds of matrix products, of a sparse matrix those of its entries."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (aten.mm, aten.bmm, aten.addmm):
            a, b = args[-2:]
            entries = a._nnz() if a.layout == torch.sparse_csr else a.numel()
            self.total += entries * b.shape[-1]
        elif func.overloadpacket in (aten._embedding_bag, aten._embedding_bag_forward_only):
            table, indices = args[:2]  # a sparse product in single precision
            self.total += indices.numel() * table.shape[1]
        return result


def table(results: list[dict[str, Any]]) -> str:
    """Markdown with a row for each network and budget: means over seeds, and their spread."""
    head = [
        "Network",
        "Parameters",
        "CPU-min",
        "Seeds",
        "Steps",
        "MSE quench",
        "MSE random",
        *WINDOWS,
    ]
    head += ["MAE quench", "p99.9 quench", "MAC per site", "µs per site", "Equivariance error"]
    rows = []
    for group in _groups(results):
        first = group[0]
        rows.append(
            [
                first["network"],
                f"{first['parameters']:,}",
                f"{mean(r['cpu_minutes'] for r in group):.1f}",
                str(len(group)),
                f"{mean(r['steps'] for r in group):.0f}",
                _figure(group, "quench/mse", spread=True),
                _figure(group, "random/mse", spread=True),
                *(_figure(group, f"{window}/mse") for window in WINDOWS),
                _figure(group, "quench/mae"),
                _figure(group, "quench/p99.9"),
                f"{first['mac']:,.0f}",
                f"{median(r['us'] for r in group):.2f}",
                f"{max(r['equivariance_error'] for r in group):.0e}",
            ]
        )
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def report(results: list[dict[str, Any]]) -> str:
    """The page: what all rows have in common, then a table for each lattice."""
    parts = [preface(results)]
    for lattice in sorted(
        {_lattice(r) for r in results}, key=lambda name: (name != "square", name)
    ):
        parts.append(f"## {lattice.capitalize()}\n\n")
        parts.append(table([r for r in results if _lattice(r) == lattice]) + "\n")
    return "".join(parts).rstrip() + "\n"


def _lattice(result: dict[str, Any]) -> str:
    """The lattice of a record; the oldest ones do not name theirs, the square."""
    return result.get("lattice", "square")


def preface(results: list[dict[str, Any]]) -> str:
    """What all rows have in common."""
    machines = "; ".join(sorted({r["machine"] for r in results}))
    packages = {
        key: sorted({r["versions"][key] for r in results}) for key in ("python", "torch", "lattgnn")
    }
    loads = [r["load"] for r in results]
    versions_used = ", ".join(f"{key} {' and '.join(found)}" for key, found in packages.items())
    return f"""\
# Networks side by side

Every network is fitted to the same labels for the same CPU time by one thread;
`configs/benchmark` has one file per network. The square lattice is the standard benchmark:
Holstein model, 20 × 20 sites, kT = 0.1, μ = 0. Errors are mean square errors of a force
component in units of t², of quenches also by windows of steps: means over seeds 0, 1, ..., with
the standard deviation where there are three seeds or more.

Made by `python scripts/benchmark_models.py` on {machines}; {versions_used}. The load of the
machine when the fits began was {min(loads):.1f} to {max(loads):.1f}. With more processes than
cores the same work takes up to half more CPU time.

"""


def _groups(results: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Seeds of one network and budget together, the best networks of a budget first."""
    groups: dict[tuple, list] = {}
    for result in results:
        groups.setdefault((result["minutes"], result["network"]), []).append(result)
    ordered = sorted(
        groups, key=lambda key: (key[0], mean(r["test"]["test/quench/mse"] for r in groups[key]))
    )
    return [groups[key] for key in ordered]


def _figure(group: list[dict[str, Any]], name: str, spread: bool = False) -> str:
    """The mean over seeds, with its spread from three seeds on; a dash if not measured."""
    values = [r["test"][f"test/{name}"] for r in group if f"test/{name}" in r["test"]]
    if not values:
        return "–"
    return f"{mean(values):.2e}" + (f" ± {stdev(values):.0e}" if spread and len(values) > 2 else "")


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against cost: error of each network against the time of a forward pass."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharex=True, layout="constrained")
    groups = _groups(results)
    names = sorted({group[0]["network"] for group in groups})
    budgets = sorted({group[0]["minutes"] for group in groups})
    markers = dict(zip(budgets, "os^Dv", strict=False))
    for ax, kind in zip(axes, ("quench", "random"), strict=True):
        for group in groups:
            values = [r["test"][f"test/{kind}/mse"] for r in group]
            cost, name, budget = (
                median(r["us"] for r in group),
                group[0]["network"],
                group[0]["minutes"],
            )
            color = plt.get_cmap("tab20")(names.index(name) % 20)
            ax.plot(
                [cost] * len(values),
                values,
                markers[budget],
                color=color,
                label=f"{name}, {budget:g} min",
            )
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="CPU time per site (µs)",
            ylabel="MSE of a force (t²)",
        )
        ax.set_title(kind)
        ax.grid(alpha=0.3)
    axes[1].legend(fontsize=6, ncols=2, bbox_to_anchor=(1.02, 1), loc="upper left")
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        recipe, minutes, seed, folder = sys.argv[2:]
        worker(Path(recipe), float(minutes), int(seed), Path(folder))
    else:
        auto_cli(main)
