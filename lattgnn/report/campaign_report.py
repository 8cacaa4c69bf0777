"""The report of a campaign: curves over time, and numbers against the scanned parameter."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy import stats

from lattgnn.report.campaign_arrays import Folders, Labels, campaign_dataset, point_metrics
from lattgnn.report.comparison import systems_table
from lattgnn.report.fit_report import compare_fits
from lattgnn.report.page import Section, Table, write_report
from lattgnn.report.plots import curves_plot
from lattgnn.report.quench_arrays import write_dataset
from lattgnn.report.quench_numbers import with_error
from lattgnn.report.style import (
    COLORS,
    FAINT,
    MARKERS,
    new_axes,
    plain_log_ticks,
    save_figures,
    styled,
)

Array = np.ndarray
# Numbers against the scanned parameter: name in metrics.json, and label of the axis.
_NUMBERS = {
    "growth_exponent_from_correlation": "growth exponent, L from C(r)",
    "growth_exponent_from_structure_factor": "growth exponent, L from S(q)",
    "last_slope_correlation": r"last $\mathrm{d}\ln L/\mathrm{d}\ln t$, L from C(r)",
    "last_slope_structure_factor": r"last $\mathrm{d}\ln L/\mathrm{d}\ln t$, L from S(q)",
    "final_length_from_correlation": r"final length from C(r) $(a)$",
    "final_length_from_structure_factor": r"final length from S(q) $(a)$",
    "final_order_share": "final share of the order",
    "final_order_parameter": r"final order parameter $|m|$",
    "final_potential_energy": r"final $E_\mathrm{pot}/N\;(t_\mathrm{hop})$",
    "fit_validation_mse": "validation MSE",
    "fit_test_mse": "test MSE",
}
# Curves over time: name of the array, label, and whether the axis is logarithmic.
_CURVES = {
    "length_correlation": (r"domain length from C(r) $(a)$", True),
    "length_structure_factor": (r"domain length from S(q) $(a)$", True),
    "order_share": ("share of the order", False),
    "potential_energy": (r"$E_\mathrm{pot}/N\;(t_\mathrm{hop})$", False),
    "kinetic_temperature": (r"$T_\mathrm{kin}\;(t_\mathrm{hop}/k_B)$", True),
}


@dataclass(frozen=True)
class ScanCurve:
    """A number against a scanned parameter.

    Attributes:
        x: Values of the parameter.
        y: The number.
        low: Lower end of its 95 % interval, NaN where there is none.
        high: Upper end.
    """

    x: Float[Array, " n"]
    y: Float[Array, " n"]
    low: Float[Array, " n"]
    high: Float[Array, " n"]


def write_campaign_report(
    out: str | Path,
    title: str,
    points: Sequence[Labels],
    n_seeds: int,
    folders: Folders,
    options: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write results.nc, report.html and the pictures of a campaign.

    Nothing is written before a fit or an analysis is finished.

    Args:
        out: Folder of the campaign.
        title: Title of the page.
        points: The scanned parameters of each point.
        n_seeds: Number of seeds of each point.
        folders: Output folders of the tasks that are finished.
        options: Options that each parameter sets.
    """
    out = Path(out)
    if not any(stage in ("fit", "analyze") for stage, _, _ in folders):
        return
    data = campaign_dataset(points, n_seeds, folders, options)
    write_dataset(data, out / "results.nc")
    table = _points(data, points, folders)
    main = _main_parameter(points)
    figures = _time_figures(table, main) | _scan_figures(table, main)
    files = {re.sub(r"[^\w.=+-]+", "_", name): figure for name, figure in figures.items()}
    save_figures(files, out / "figures")
    sections = _tables(table, folders, out)
    text = (
        "Means over seeds and replicas. Bars are 95 % intervals, bands are standard errors. A "
        "point is missing where the number does not exist, such as the exponent of lengths that "
        "follow no power law. The last slope is that of the last half decade in time."
    )
    sections += [Section(_heading(name), text, figure) for name, figure in figures.items()]
    write_report(out / "report.html", title, sections, str(out))


@styled
def scan_plot(
    curves: Mapping[str, ScanCurve], label: str, x_label: str, guide: float | None = None
) -> Figure:
    """Draw a number against a scanned parameter, with intervals.

    Args:
        curves: Curves by name, one for each choice of the other parameters.
        label: Label of the vertical axis.
        x_label: The parameter.
        guide: Height of a gray line, such as the exponent 1/2.
    """
    figure, axes = new_axes()
    for (name, curve), color, marker in zip(
        curves.items(), cycle(COLORS), cycle(MARKERS), strict=False
    ):
        bars = np.stack([curve.y - curve.low, curve.high - curve.y])
        style = {"color": color, "markerfacecolor": "white", "elinewidth": 0.8, "capsize": 2}
        bars = np.where(np.isfinite(bars), np.maximum(bars, 0), 0)
        axes.errorbar(curve.x, curve.y, bars, fmt=f"{marker}-", label=name or None, **style)
    if guide is not None:
        axes.axhline(guide, color=FAINT, linewidth=0.8, linestyle="--")
    axes.set(xlabel=x_label, ylabel=label)
    values = np.concatenate([curve.x for curve in curves.values()])
    if values.min() > 0 and values.max() >= 10 * values.min():
        axes.set_xscale("log")
        plain_log_ticks(axes, "x")
    if any(curves):
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@dataclass(frozen=True)
class _Row:
    """What the report shows of one point."""

    labels: Labels
    metrics: dict[str, Any] | None
    data: xarray.Dataset

    def name(self, without: str | None = None) -> str:
        """Text such as "g=3.5, kT=0.1"."""
        shown = {key: value for key, value in self.labels.items() if key != without}
        return ", ".join(
            f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items()
        )

    def number(self, key: str) -> tuple[float, float, float] | None:
        """A number with the ends of its 95 % interval, or None if it does not exist."""
        if key.startswith("fit_"):
            return _mean(self.data[key].values) if key in self.data else None
        metrics = self.metrics or {}
        if key.startswith("growth_exponent"):
            ends = metrics.get(key.replace("exponent", "interval"), [None, None])
            value = metrics.get(key)
            low, high = (np.nan if end is None else end for end in ends)
            return None if value is None else (value, low, high)
        if key.startswith("last_slope"):
            return self._last_slope(key.removeprefix("last_slope_"))
        value, error = metrics.get(key), metrics.get(f"{key}_error")
        if value is None:
            return None
        n = metrics.get("n_replicas", 1)
        half = np.nan if error is None or n < 2 else float(stats.t.ppf(0.975, n - 1)) * error
        return value, value - half, value + half

    def _last_slope(self, name: str) -> tuple[float, float, float] | None:
        if f"local_slope_{name}" not in self.data:
            return None
        slope = self.data[f"local_slope_{name}"].values
        kept = np.flatnonzero(np.isfinite(slope))
        if not len(kept):
            return None
        value = float(slope[kept[-1]])
        half = float(self.data[f"local_slope_{name}_error"].values[kept[-1]])
        return value, value - half, value + half


def _points(data: xarray.Dataset, points: Sequence[Labels], folders: Folders) -> list[_Row]:
    """The points in the order of the scan, each with its part of the results."""
    rows = []
    for number, labels in enumerate(points):
        part = data
        if "point" in data.dims:
            part = data.isel(point=number)
        elif labels:
            texts = {name: data[name].dtype.kind in "UO" for name in labels}
            part = data.sel({n: _as_text(v) if texts[n] else v for n, v in labels.items()})
        rows.append(_Row(labels, point_metrics(number, folders), part))
    return rows


def _main_parameter(points: Sequence[Labels]) -> str | None:
    """The parameter of the horizontal axes: the one with the most numbers, if it has two."""
    counts = {}
    for name in points[0]:
        values = {point[name] for point in points}
        if all(isinstance(value, float) for value in values):
            counts[name] = len(values)
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] > 1 else None


def _time_figures(rows: Sequence[_Row], main: str | None) -> dict[str, Figure]:
    """Observables over time: one picture for each choice of the other parameters."""
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.name(without=main) if main else "", []).append(row)
    figures = {}
    for name, (label, is_logarithmic) in _CURVES.items():
        for group, members in groups.items():
            curves = {row.name(): curve for row in members if (curve := _curve(row, name))}
            if curves:
                figures[f"{name} {group}".strip()] = curves_plot(curves, label, is_logarithmic)
    return figures


def _curve(row: _Row, name: str) -> tuple[Array, Array] | None:
    """Times and values [time, seeds and replicas] of a point, without those that do not exist."""
    if row.metrics is None or name not in row.data:
        return None
    values = row.data[name]
    if "component" in values.dims:
        values = values.mean("component")
    values = values.stack(sample=("seed", "replica")).transpose("time", "sample")
    found = values.values[:, ~np.isnan(values.values).all(axis=0)]
    shown = np.isfinite(found).all(axis=1) & (values.time.values > 0)
    if not found.size or not shown.any():
        return None
    return values.time.values[shown], found[shown]


def _scan_figures(rows: Sequence[_Row], main: str | None) -> dict[str, Figure]:
    """Numbers against the main parameter, with a curve for each choice of the others."""
    figures: dict[str, Figure] = {}
    if main is None:
        return figures
    for key, label in _NUMBERS.items():
        groups: dict[str, list[tuple[float, ...]]] = {}
        for row in rows:
            number = row.number(key)
            if number is not None:
                entry = (float(row.labels[main]), *number)
                groups.setdefault(row.name(without=main), []).append(entry)
        curves = {name: ScanCurve(*np.array(sorted(entries)).T) for name, entries in groups.items()}
        if curves:
            guide = 0.5 if key.startswith(("growth", "last_slope")) else None
            figures[f"{key} against {main}"] = scan_plot(curves, label, main, guide)
    return figures


def _tables(rows: Sequence[_Row], folders: Folders, out: Path) -> list[Section]:
    """The table of the simulations, and that of the fits."""
    sections = []
    metrics = {row.name() or "all": row.metrics for row in rows if row.metrics is not None}
    if metrics:
        sections.append(Section("Points", "", systems_table(metrics)))
    fits = sorted({folder for (stage, _, _), folder in folders.items() if stage == "fit"})
    if fits:
        compare_fits(fits, out / "fits")
        names = ("fit_parameters", "fit_cpu_minutes", "fit_validation_mse", "fit_test_mse")
        cells = []
        for row in rows:
            if names[0] in row.data:
                cells.append((row.name() or "all", *(_with_interval(row.data[n]) for n in names)))
        columns = ("point", "parameters", "CPU min", "validation MSE", "test MSE")
        caption = "Mean over seeds ± standard error. The page in fits/ compares the single fits."
        sections.append(Section("Fits", "", Table(columns, cells, caption)))
    return sections


def _with_interval(values: xarray.DataArray) -> str:
    found = values.values[np.isfinite(values.values)]
    if not len(found):
        return "–"
    error = found.std(ddof=1) / np.sqrt(len(found)) if len(found) > 1 else None
    return with_error(float(found.mean()), error)


def _mean(values: Array) -> tuple[float, float, float] | None:
    """Mean over seeds with its 95 % interval (Student)."""
    found = values[np.isfinite(values)]
    if not len(found):
        return None
    mean, n = float(found.mean()), len(found)
    half = np.nan
    if n > 1:
        half = float(stats.t.ppf(0.975, n - 1)) * found.std(ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def _heading(name: str) -> str:
    text = name.replace("_", " ")
    return text[0].upper() + text[1:]


def _as_text(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
