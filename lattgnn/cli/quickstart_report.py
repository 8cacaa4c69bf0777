"""The report of a quickstart: accuracy of the forces and of the dynamics, and the large quench."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lattgnn import analysis
from lattgnn.data import LatticeDataset
from lattgnn.data.dataset import WINDOW_NAMES
from lattgnn.dynamics import Trajectory
from lattgnn.report import (
    Section,
    Table,
    analysis_figures,
    analyze_trajectory,
    dynamics_comparison,
    loss_curves,
    parity_plot,
    quench_metrics,
    quench_sections,
    read_fit,
    save_figures,
    window_errors,
    write_report,
)
from lattgnn.serialize import versions

Times = Mapping[str, Mapping[str, float]]
COLUMNS = ("stage", "result", "s", "CPU s")
ERRORS = {"mse": "MSE", "mae": "MAE", "p99.9": "99.9th percentile", "unexplained": "1 − R²"}
SUMMARY = (
    "A network is trained on the electronic forces of small lattices, which are solved exactly. It "
    "then drives the dynamics of lattices that are too large for exact diagonalization. The growth "
    "exponent is measured shortly after the first domains have formed; the asymptotic growth law "
    "needs longer runs."
)
# Heading and text of each picture, by file name.
TEXTS = {
    "loss": (
        "Fit",
        "Mean squared error of the electronic forces during the fit, on the training batches and "
        "on a quench that is not used for training.",
    ),
    "parity": (
        "Forces of unseen quenches",
        "Electronic force g(n − ½) of the network against exact diagonalization, for every site of "
        "every test frame. The data are split by trajectory: no test frame is close in time to a "
        "training frame.",
    ),
    "windows": (
        "Error along a quench",
        "The error is largest while domains form out of a random field, and small in ordered "
        "domains.",
    ),
    "dynamics": (
        "Learned against exact dynamics",
        "New quenches on a lattice larger than that of the training data, run twice with the same "
        "initial state and the same noise: once with exact diagonalization, once with the network.",
    ),
}


def write_quickstart_report(
    out: Path, times: Times, window: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Write report.html and the pictures as PNG.

    Args:
        out: Directory of a quickstart whose stages are finished.
        times: Wall-clock and CPU seconds of the stages.
        window: First and last time of the growth fit, see `analyze_quench`.

    Returns:
        The contents of metrics.json.
    """
    quench = Trajectory.open(out / "quench")
    result = analyze_trajectory(quench, window)
    times_compared, exact, learned = _neighbor_correlations(out)
    test = _read_json(next((out / "fit").glob("test-*.json")))
    figures = {
        "data": _data(out),
        "fit": _read_json(out / "fit" / "fit.json"),
        "test": test,
        "dynamics": _deviation(out, exact, learned),
        "quench": {"extent": _extent(quench.lattice)} | quench_metrics(quench, result),
        "versions": versions(),
        "times": dict(times),
    }
    pictures = {
        "loss": _loss(out / "fit"),
        "parity": _parity(out / "fit" / "predictions.npz"),
        "windows": _windows(test),
        "dynamics": dynamics_comparison(times_compared, exact, learned),
    }
    drawn = analysis_figures(quench, result)
    save_figures(pictures | drawn, out)
    sections = [Section("Summary", SUMMARY, Table(COLUMNS, summary_rows(figures)))]
    sections += [Section(*TEXTS[name], picture) for name, picture in pictures.items()]
    sections.insert(4, Section("Errors in numbers", "", _error_table(test)))
    sections += quench_sections(quench, result, drawn)[1:]
    write_report(out / "report.html", "From exact diagonalization to a coarsening quench", sections)
    return figures


def summary_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, float | None, float | None]]:
    """Make one row per stage: its name, result, seconds and CPU seconds; the total is last.

    Args:
        figures: Contents of metrics.json.

    Returns:
        The rows.
    """
    data, fit, test = figures["data"], figures["fit"], figures["test"]
    dynamics, quench, times = figures["dynamics"], figures["quench"], figures["times"]
    runs = "{n_replicas} quenches of {extent}, {n_steps} steps"
    deviation = dynamics["largest_deviation"]
    results = {
        "data": f"{data['n_frames']} exact fields on {data['extent']}",
        "fit": f"{fit['parameters']} parameters, {fit['epochs']} epochs",
        "test": (
            f"force MSE {test['test/quench/mse']:.1e} quench,"
            f" {test['test/random/mse']:.1e} random (t²)"
        ),
        "exact dynamics": runs.format(**dynamics),
        "learned dynamics": "the same noise"
        + ("" if deviation is None else f": C(1) within {100 * deviation:.2g} % of exact"),
        "quench": runs.format(**quench, n_steps=quench["final_step"]),
        "report": _growth(quench),
    }
    rows = [(name, result, *_seconds(times.get(name))) for name, result in results.items()]
    total = {kind: sum(stage[kind] for stage in times.values()) for kind in ("wall", "cpu")}
    return [*rows, ("total", "", *_seconds(total))]


def _seconds(stage: Mapping[str, float] | None) -> tuple[float | None, float | None]:
    return (None, None) if stage is None else (round(stage["wall"], 1), round(stage["cpu"], 1))


def _growth(quench: Mapping[str, Any]) -> str:
    parts = []
    for name, key in (("C(r)", "from_correlation"), ("S(q)", "from_structure_factor")):
        if (exponent := quench.get(f"growth_exponent_{key}")) is not None:
            low, high = quench[f"growth_interval_{key}"]
            interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
            parts.append(f"{exponent:.2f}{interval} from {name}")
    return "growth exponent " + ", ".join(parts) if parts else "too short for a growth exponent"


def _data(out: Path) -> dict[str, Any]:
    dataset = LatticeDataset.open(next((out / "datasets").glob("*/manifest.json")).parent)
    n_frames = sum(record.n_frames for record in dataset.records)
    return {"n_frames": n_frames, "extent": _extent(dataset.lattice)}


def _extent(lattice: Any) -> str:
    return "×".join(map(str, lattice.extent))


def _neighbor_correlations(out: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, and C(1)/C(0) of exact and learned dynamics [frame, replica]."""
    runs = [Trajectory.open(out / name) for name in ("exact", "learned")]
    exact, learned = (
        analysis.nearest_neighbor_correlation(run.fields[:], run.lattice) for run in runs
    )
    return runs[0].times, exact, learned


def _deviation(out: Path, exact: np.ndarray, learned: np.ndarray) -> dict[str, Any]:
    """How far the learned dynamics deviates from the exact one.

    C(1) of a random field is close to zero, where a relative deviation means nothing. Only frames
    with |C(1)| > 0.1 C(0) are counted.
    """
    run = Trajectory.open(out / "exact")
    ordered = np.abs(exact.mean(axis=1)) > 0.1
    deviation = np.abs(analysis.relative_deviation(learned, exact)[ordered])
    return {
        "extent": _extent(run.lattice),
        "n_replicas": run.fields.shape[1],
        "n_steps": int(run.steps[-1]),
        "largest_deviation": float(deviation.max()) if ordered.any() else None,
        "final_deviation": float(deviation[-1]) if ordered.any() else None,
    }


def _loss(folder: Path) -> Figure:
    """Training and validation curves."""
    run = read_fit(folder)
    names = {"train_loss": "training", "val/quench/mse": "validation"}
    return loss_curves(run.epochs, {label: run.column(key) for key, label in names.items()})


def _parity(path: Path) -> Figure:
    with np.load(path) as arrays:
        quench = arrays["step"] >= 0
        return parity_plot(arrays["exact_forces"][quench], arrays["forces"][quench])


def _windows(test: Mapping[str, float]) -> Figure:
    found = [name for name in WINDOW_NAMES if f"test/{name}/mse" in test]
    return window_errors(
        [name.replace("-", "–") for name in found],
        {"network": [test[f"test/{name}/mse"] for name in found]},
    )


def _error_table(test: Mapping[str, float]) -> Table:
    windows = [name for name in ("quench", *WINDOW_NAMES) if f"test/{name}/mse" in test]
    rows = [
        (window.replace("-", "–"), *(test[f"test/{window}/{key}"] for key in ERRORS))
        for window in windows
    ]
    caption = (
        "Electronic forces of the test set by step of the quench. MSE in t²; MAE and percentile in "
        "t."
    )
    return Table(("steps", *ERRORS.values()), rows, caption)


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
