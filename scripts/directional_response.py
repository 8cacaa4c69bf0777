"""Measure the linear response of networks at (π, 0) and (π/2, π/2) against the exact one.

    python scripts/directional_response.py --workers 2

A network that sums over nearest neighbors without regard to direction responds to a weak wave on a
uniform field by a function of cos kx + cos ky. This sum vanishes at both wavevectors, so the two
responses are equal. The exact responses of free electrons at kT = 0.1 differ by a factor of 1.7.
Networks of 1, 2, ... layers with 8 neighbors, and the published GCN with its widths divided by 8,
are fitted to weak random fields (configs/fit/holstein_weak.yaml). The response is measured with a
wave of amplitude 0.001 at Q = 0.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jsonargparse import auto_cli

from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import Lattice
from lattgnn.serialize import versions
from lattgnn.solvers import ExactDiagonalization

RECIPE = "configs/fit/holstein_weak.yaml"
WAVES = {"(π, 0)": (np.pi, 0.0), "(π/2, π/2)": (np.pi / 2, np.pi / 2)}
GCN = """{class_path: lattgnn.nn.GraphNetwork, init_args: {cutoff: 1.0, bounded: false, layers: {
conv: torch_geometric.nn.GraphConv, channels: [16, 64, 128, 256, 128, 64, 16], edge_features: none,
normalize: true, activation: relu}}}"""


def lindhard(k: tuple[float, float], size: int, kT: float = 0.1) -> float:
    """Static response −(1/N) Σ_q [f(ε_q) − f(ε_{q+k})] / (ε_q − ε_{q+k}) at half filling, t = 1."""
    x, y = np.meshgrid(*[2 * np.pi * np.arange(size) / size] * 2, indexing="ij")
    before, after = (-2 * (np.cos(x + dx) + np.cos(y + dy)) for dx, dy in ((0, 0), k))
    fermi = [1 / (np.exp(energy / kT) + 1) for energy in (before, after)]
    same = np.abs(before - after) < 1e-9
    ratio = -(fermi[0] - fermi[1]) / np.where(same, 1, before - after)
    return float(np.where(same, fermi[0] * (1 - fermi[0]) / kT, ratio).mean())


def response(
    force_field: Any, lattice: Lattice, k: tuple[float, float], g: float, step: float = 1e-3
) -> float:
    """∂n_k / ∂(g Q_k) at Q = 0, by a central difference."""
    wave = torch.from_numpy(np.cos(lattice.positions @ np.array(k)))
    plus, minus = (force_field.electronic(sign * step * wave)[1] for sign in (1, -1))
    return float((plus - minus) @ wave / (wave @ wave)) / (2 * step * g**2)


def fit(name: str, arguments: list[str], seed: int) -> Path:
    """Fit in a separate process with one thread; returns the directory of the run."""
    run = (
        Path("runs/directional_response")
        / f"{name.replace(' / ', '-').replace(' ', '-')}-seed{seed}"
    )
    if not (run / "fit.json").exists():
        command = [sys.executable, "-m", "lattgnn", "fit", "--config", RECIPE, *arguments]
        command += [f"--run_dir={run}", f"--seed_everything={seed}", f"--data.shuffle_seed={seed}"]
        done = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return run


def measured(run: Path) -> dict[str, float]:
    """The responses of a fitted network, its error and its cost."""
    learned = LearnedForceField.load(run / "best.ckpt")
    learned.net.double()
    (test,) = (json.loads(path.read_text()) for path in run.glob("test-*.json"))
    cost = json.loads((run / "fit.json").read_text())
    g = cast(Holstein, learned.hamiltonian).g
    found = {wave: response(learned, learned.lattice, k, g) for wave, k in WAVES.items()}
    found["mse"] = test["test/all/mse"]
    return found | {name: cost[name] for name in ("parameters", "cpu_minutes")}


def main(
    hops: list[int] | None = None,
    seed: int = 0,
    epochs: int = 30,
    workers: int = 2,
    out: str = "docs/benchmarks/directional_response",
) -> None:
    """Fit the networks, measure, and write a JSON file, a table and a plot.

    Args:
        hops: Numbers of layers. Default: 1 to 6.
        seed: Seed of weights and of the order of the data.
        epochs: Epochs of each fit.
        workers: Number of fits that run at the same time.
        out: Path of the results, without a suffix.
    """
    torch.set_num_threads(1)
    jobs = {
        f"{n} hops": [f"--model.net.init_args.n_layers={n}", f"--trainer.max_epochs={epochs}"]
        for n in hops or range(1, 7)
    }
    adam = ["--model.optimizer=torch.optim.AdamW", "--model.lr=1e-3"]
    jobs["GCN of 2603.02039, widths / 8"] = [
        f"--model.net={GCN}",
        *adam,
        f"--trainer.max_epochs={epochs}",
    ]

    def fitted(job: tuple[str, list[str]]) -> Path:
        return fit(job[0].replace(" ", "_").replace("/", ""), job[1], seed)

    with ThreadPoolExecutor(workers) as pool:
        folders = list(pool.map(fitted, jobs.items()))
    rows = {name: measured(run) for name, run in zip(jobs, folders, strict=True)}
    lattice = LearnedForceField.load(folders[-1] / "best.ckpt").lattice
    exact = ExactForceField(Holstein(lattice), ExactDiagonalization(kT=0.1, mu=0.0))
    exact_rows = {
        f"exact diagonalization, {lattice.extent[0]} × {lattice.extent[1]}": {
            wave: response(exact, lattice, k, 3.5) for wave, k in WAVES.items()
        },
        "free electrons, infinite lattice": {wave: lindhard(k, 1000) for wave, k in WAVES.items()},
    }
    atomic_write_text(
        f"{out}.json",
        json.dumps(
            {"exact": exact_rows, "networks": rows, "seed": seed, "versions": versions()}, indent=1
        )
        + "\n",
    )
    atomic_write_text(f"{out}.md", table(exact_rows, rows))
    plot(exact_rows, rows, f"{out}.png")
    sys.stdout.write(table(exact_rows, rows))


def table(exact: dict[str, dict], networks: dict[str, dict]) -> str:
    """Markdown table with the deviations from exact diagonalization on the lattice of the fit."""
    reference = next(iter(exact.values()))
    lines = [
        "| | (π, 0) | (π/2, π/2) | deviation | MSE of a force | parameters |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in (exact | networks).items():
        deviation = " / ".join(
            f"{100 * (row[wave] / reference[wave] - 1):+.1f} %" for wave in WAVES
        )
        costs = f"{row['mse']:.1e} | {row['parameters']:,}" if name in networks else " | "
        lines.append(
            f"| {name} | {row['(π, 0)']:.4f} | {row['(π/2, π/2)']:.4f} | {deviation} | {costs} |"
        )
    return "\n".join(lines) + "\n"


def plot(exact: dict[str, dict], networks: dict[str, dict], path: str) -> None:
    """Plot responses against the number of layers; those of ED and the GCN are lines."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(5.6, 4), layout="constrained")
    hops = {int(name.split()[0]): row for name, row in networks.items() if name.endswith(" hops")}
    reference = next(iter(exact.values()))
    (gcn,) = (row for name, row in networks.items() if name.startswith("GCN"))
    for wave, color in zip(WAVES, ("C0", "C1"), strict=True):
        ax.plot(
            list(hops),
            [row[wave] for row in hops.values()],
            "o-",
            color=color,
            label=f"orbit network, {wave}",
        )
        ax.axhspan(0.9 * reference[wave], 1.1 * reference[wave], color=color, alpha=0.15, lw=0)
        ax.axhline(reference[wave], color=color, lw=1, label=f"exact, {wave}, ± 10 %")
    ax.axhline(gcn["(π, 0)"], color="0.4", ls="--", label="GCN, both")
    ax.set(xlabel="hops", ylabel="density response ∂n/∂(gQ)")
    ax.legend(fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    auto_cli(main)
