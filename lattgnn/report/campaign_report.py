"""The report of a campaign: curves over time, and numbers against the scanned parameter."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray
from matplotlib.figure import Figure

from lattgnn.report.campaign_arrays import Folders, Labels, campaign_dataset
from lattgnn.report.campaign_points import ScanPoint, scan_points
from lattgnn.report.comparison import systems_table
from lattgnn.report.fit_report import compare_fits
from lattgnn.report.page import Section, Table, write_report
from lattgnn.report.plots import curves_plot
from lattgnn.report.quench_arrays import write_dataset
from lattgnn.report.quench_numbers import with_error
from lattgnn.report.scan_plots import ScanCurve, scan_plot
from lattgnn.report.spin_numbers import EITHER_SIGN, magnetic_systems_table
from lattgnn.report.style import COLORS, save_figures

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
    "final_magnetization": "final mean spin $|m|$",
    "final_scalar_chirality": r"final scalar chirality $|\chi|$",
    "final_chirality_strength": r"final $\chi_\mathrm{rms}$",
    "final_vector_chirality": r"final vector chirality $\kappa$",
    "final_vector_chirality_strength": r"final $\kappa_\mathrm{rms}$",
    "final_topological_charge": "final |topological charge|",
    "final_skyrmions": "final number of skyrmions",
    "final_star_weight": "final share of the strongest star of $S(q)$",
    "final_effective_arms": "final effective number of arms $n_Q$",
    "final_chirality_length": "final length of chirality domains $(a)$",
    "growth_exponent_chirality": "growth exponent, L of chirality",
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
    "magnetization": ("mean spin $|m|$", False),
    "scalar_chirality": (r"scalar chirality $|\chi|$", False),
    "chirality_strength": (r"$\chi_\mathrm{rms}$", False),
    "vector_chirality": (r"vector chirality $\kappa$", False),
    "vector_chirality_strength": (r"$\kappa_\mathrm{rms}$", False),
    "topological_charge": ("|topological charge|", False),
    "star_weight": ("share of the strongest star of $S(q)$", False),
    "chirality_length": ("length of chirality domains $(a)$", True),
}


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
    table = scan_points(data, points, folders)
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


def _main_parameter(points: Sequence[Labels]) -> str | None:
    """The parameter of the horizontal axes: the one with the most numbers, if it has two."""
    counts = {}
    for name in points[0]:
        values = {point[name] for point in points}
        if all(isinstance(value, float) for value in values):
            counts[name] = len(values)
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] > 1 else None


def _time_figures(rows: Sequence[ScanPoint], main: str | None) -> dict[str, Figure]:
    """Observables over time: one picture for each choice of the other parameters."""
    groups: dict[str, list[ScanPoint]] = {}
    for row in rows:
        groups.setdefault(row.name(without=main) if main else "", []).append(row)
    figures = {}
    for name, (label, is_logarithmic) in _CURVES.items():
        for group, members in groups.items():
            curves = {}
            for row in members:
                curve = _curve(row, name)
                if curve is not None:
                    curves[row.name(only=main) if main else row.name()] = curve
            if curves:
                figures[f"{name} {group}".strip()] = curves_plot(curves, label, is_logarithmic)
    return figures


def _curve(row: ScanPoint, name: str) -> tuple[Array, Array] | None:
    """Times and values [time, seeds and replicas] of a point, without those that do not exist."""
    if row.metrics is None or name not in row.data:
        return None
    values = row.data[name]
    if "component" in values.dims:
        values = values.mean("component")
    if name in EITHER_SIGN:
        values = abs(values)
    values = values.stack(sample=("seed", "replica")).transpose("time", "sample")
    found = values.values[:, ~np.isnan(values.values).all(axis=0)]
    shown = np.isfinite(found).all(axis=1) & (values.time.values > 0)
    if not found.size or not shown.any():
        return None
    return values.time.values[shown], found[shown]


def _scan_figures(rows: Sequence[ScanPoint], main: str | None) -> dict[str, Figure]:
    """Numbers against the main parameter, with a curve for each choice of the others."""
    figures: dict[str, Figure] = {}
    if main is None:
        return figures
    for key, label in _NUMBERS.items():
        # A group without this number stays, so that a group has the same color in all pictures.
        groups: dict[str, list[tuple[float, ...]]] = {row.name(without=main): [] for row in rows}
        for row in rows:
            number = row.number(key)
            if number is not None:
                groups[row.name(without=main)].append((float(row.labels[main]), *number))
        # More curves than colors, each of one point: those of a search of several parameters.
        if len(COLORS) < len(groups) == len(rows):
            continue
        if any(groups.values()):
            curves = {name: _scan_curve(entries) for name, entries in groups.items()}
            guide = 0.5 if key.startswith(("growth", "last_slope")) else None
            figures[f"{key} against {main}"] = scan_plot(curves, label, main, guide)
    return figures


def _scan_curve(entries: Sequence[tuple[float, ...]]) -> ScanCurve:
    """Values of the parameter, numbers and ends of the intervals as one curve."""
    return ScanCurve(*np.array(sorted(entries)).reshape(-1, 4).T)


def _tables(rows: Sequence[ScanPoint], folders: Folders, out: Path) -> list[Section]:
    """The table of the simulations, and that of the fits."""
    sections = []
    metrics = {row.name() or "all": row.metrics for row in rows if row.metrics is not None}
    if metrics:
        sections.append(Section("Points", "", systems_table(metrics)))
    magnetic = magnetic_systems_table(metrics)
    if magnetic is not None:
        sections.append(Section("Magnetic order", "", magnetic))
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


def _heading(name: str) -> str:
    text = name.replace("_", " ")
    return text[0].upper() + text[1:]
