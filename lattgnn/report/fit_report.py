"""The report of a fit: curves, cost, errors and configuration; and several fits side by side."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lattgnn.errors import InputError
from lattgnn.files import atomic_write_text
from lattgnn.report.page import Section, Table, flatten, write_report
from lattgnn.report.plots import loss_curves
from lattgnn.report.style import COLORS, DPI, PAGE, plain_log_ticks, save_figures, styled

CURVES = {"train_loss": "training", "val/all/mse": "validation"}
COLUMNS = (
    "run",
    "network",
    "parameters",
    "epochs",
    "lr",
    "CPU min",
    "samples/s",
    "validation MSE",
    "test MSE",
)
_TEXTS = {
    "curves": (
        "Errors during the fit",
        "training: the mean of the loss over the batches of an epoch, each before its step. "
        "validation: mean squared error of the electronic forces of the validation set, all "
        "samples. Forces are in units of the energy over that of the field.",
    ),
    "progress": (
        "Learning rate and speed",
        "lr: the learning rate of the last step of the epoch. samples/s: fields per second of "
        "all processes, without validation.",
    ),
}


@dataclass(frozen=True)
class FitRun:
    """What a fit has written into its folder.

    Attributes:
        folder: The folder.
        epochs: Numbers of the epochs, from 1.
        columns: Logged values by name, one for each epoch, NaN where nothing was logged.
        record: Contents of `fit.json`; empty for a fit that is not finished.
        config: The resolved configuration.
        tests: Contents of the `test-DATASET.json`, by file name.
    """

    folder: Path
    epochs: Float[np.ndarray, " n"]
    columns: Mapping[str, Float[np.ndarray, " n"]]
    record: Mapping[str, Any]
    config: Mapping[str, Any]
    tests: Mapping[str, Mapping[str, float]]

    def column(self, name: str) -> Float[np.ndarray, " n"]:
        """The values of a column; NaN if there is none of this name."""
        return np.asarray(self.columns.get(name, np.full(len(self.epochs), np.nan)))


def read_fit(folder: str | Path) -> FitRun:
    """Read the logs and records of a fit. Of the logs of a resumed fit, later ones override.

    Raises:
        InputError: If the folder is not that of a fit.
    """
    folder = Path(folder)
    config = folder / "config.yaml"
    logs = sorted((folder / "logs").glob("version_*/metrics.csv"), key=_version)
    if not config.is_file() or not logs:
        raise InputError(f"run must be the folder of a fit, got {str(folder)!r} without its logs.")
    rows: dict[int, dict[str, float]] = {}
    for path in logs:
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                known = {key: float(value) for key, value in row.items() if value not in ("", None)}
                epoch = int(known.pop("epoch"))
                # The errors of the test come after the last epoch and belong to none.
                known = {k: v for k, v in known.items() if not k.startswith("test/")}
                if known.keys() - {"step"}:
                    rows.setdefault(epoch, {}).update(known)
    epochs = sorted(rows)
    names = sorted({name for row in rows.values() for name in row})
    columns = {
        name: np.array([rows[epoch].get(name, np.nan) for epoch in epochs]) for name in names
    }
    return FitRun(
        folder,
        np.array(epochs, dtype=np.float64) + 1,
        columns,
        _json(folder / "fit.json"),
        yaml.safe_load(config.read_text(encoding="utf-8")),
        {path.name: _json(path) for path in sorted(folder.glob("test-*.json"))},
    )


def write_fit_report(folder: str | Path) -> Path:
    """Write report.html, and the curves as PNG and PDF, into the folder of a fit.

    Args:
        folder: The folder.

    Returns:
        The page.
    """
    run = read_fit(folder)
    figures = {"curves": fit_curves(run), "progress": progress_plot(run)}
    save_figures(figures, run.folder)
    sections = [Section("Summary", "", Table.of(_summary(run)))]
    sections += [Section(*_TEXTS[name], figure) for name, figure in figures.items()]
    for name, errors in run.tests.items():
        sections.append(_test_section(name, errors))
    settings = {key: value for key, value in flatten(run.config).items() if value is not None}
    sections.append(Section("Configuration", "", Table.of(settings)))
    return write_report(run.folder / "report.html", f"Fit {run.folder.name}", sections)


def compare_fits(folders: Sequence[str | Path], out: str | Path | None = None) -> str:
    """Compare fits: a table, and their curves in one picture.

    Args:
        folders: Folders of at least one fit.
        out: Folder for comparison.csv, report.html, and the curves as PNG and PDF. None writes
            nothing.

    Returns:
        The table as text.
    """
    runs = [read_fit(folder) for folder in folders]
    rows = [_row(run) for run in runs]
    if out is not None:
        figure = comparison_plot(runs)
        save_figures({"curves": figure}, out)
        text = io.StringIO()
        csv.writer(text).writerows([COLUMNS, *rows])
        atomic_write_text(Path(out) / "comparison.csv", text.getvalue())
        sections = [
            Section("Fits", "", Table(COLUMNS, rows)),
            Section(
                "Validation errors", "Errors of the training batches without validation.", figure
            ),
        ]
        write_report(Path(out) / "report.html", "Comparison of fits", sections)
    return _as_text(rows)


def fit_curves(run: FitRun) -> Figure:
    """Draw training and validation errors against the epoch."""
    curves = {label: run.column(name) for name, label in CURVES.items() if name in run.columns}
    return loss_curves(run.epochs, curves, label="mean squared error")


@styled
def progress_plot(run: FitRun) -> Figure:
    """Draw learning rate and samples per second against the epoch."""
    figure = Figure(figsize=(PAGE, 2.5), dpi=DPI, layout="constrained")
    panels = zip(
        figure.subplots(1, 2),
        (("lr", "learning rate"), ("samples_per_s", "samples/s")),
        strict=True,
    )
    for axes, (name, label) in panels:
        axes.plot(run.epochs, run.column(name), color=COLORS[0])
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return figure


@styled
def comparison_plot(runs: Sequence[FitRun]) -> Figure:
    """Draw the errors of several fits against the epoch and against the time."""
    figure = Figure(figsize=(PAGE, 2.9), dpi=DPI, layout="constrained")
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    for number, run in enumerate(runs):
        errors = run.column("val/all/mse" if "val/all/mse" in run.columns else "train_loss")
        kept = np.isfinite(errors)
        # There are fewer colors than there may be runs; the line tells them apart.
        style = {
            "color": COLORS[number % len(COLORS)],
            "linestyle": ("-", "--", ":", "-.")[number // len(COLORS) % 4],
        }
        by_epoch.plot(run.epochs[kept], errors[kept], label=run.folder.name, **style)
        by_time.plot(run.column("seconds")[kept] / 60, errors[kept], **style)
    by_epoch.set(yscale="log", xlabel="epoch", ylabel="force error, MSE")
    by_time.set(xlabel="time (min)")
    by_epoch.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    plain_log_ticks(by_epoch)
    by_epoch.legend()
    return figure


def _summary(run: FitRun) -> dict[str, object]:
    """Names and values of the first table of a report."""
    values = dict(zip(COLUMNS, _row(run), strict=True))
    values |= {"steps": run.record.get("steps"), "seconds": run.record.get("seconds")}
    return values | {"finished": bool(run.record)}


def _row(run: FitRun) -> tuple[object, ...]:
    """The row of a fit in the table of a comparison."""
    net = run.config["model"]["net"]["class_path"].rpartition(".")[2]
    speed, errors = run.column("samples_per_s"), run.column("val/all/mse")
    test = next((t["test/all/mse"] for t in run.tests.values() if "test/all/mse" in t), None)
    return (
        run.folder.name,
        net,
        run.record.get("parameters"),
        int(run.epochs[-1]),
        run.config["model"]["lr"],
        run.record.get("cpu_minutes"),
        float(np.nanmedian(speed)) if np.isfinite(speed).any() else None,
        float(np.nanmin(errors)) if np.isfinite(errors).any() else None,
        test,
    )


def _test_section(name: str, errors: Mapping[str, float]) -> Section:
    """Errors of a test set by window of the quench."""
    rows: dict[str, dict[str, float]] = {}
    for key, value in errors.items():
        _, window, quantity = key.split("/")
        rows.setdefault(window, {})[quantity] = value
    quantities = list(dict.fromkeys(quantity for row in rows.values() for quantity in row))
    cells = [(window, *(row.get(q) for q in quantities)) for window, row in rows.items()]
    text = f"Errors of the electronic forces, from {name}, by step of the quench."
    return Section("Test errors", text, Table(("samples", *quantities), cells))


def _as_text(rows: Sequence[Sequence[object]]) -> str:
    cells = [COLUMNS, *([_plain(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _plain(value: object) -> str:
    """A cell without the typographic signs of a page, so that programs can read it."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _version(path: Path) -> int:
    return int(path.parent.name.removeprefix("version_"))


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
