"""Quenches of several systems on one page, overlaid by the parameter in which they differ."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from matplotlib.figure import Figure

from lattgnn.analysis import QuenchAnalysis
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.files import atomic_write_text
from lattgnn.report.ensemble import Ensemble, group_runs
from lattgnn.report.page import Section, Table, format_value, write_report
from lattgnn.report.plots import curves_plot
from lattgnn.report.provenance import run_warnings
from lattgnn.report.quench_numbers import with_error
from lattgnn.report.quench_report import analyze_trajectory, write_quench_report
from lattgnn.report.spin_numbers import magnetic_systems_table
from lattgnn.report.style import save_figures

Curve = tuple[np.ndarray, np.ndarray]
# Columns of the table: heading, and name in metrics.json.
COLUMNS = {
    "share of the order": "final_order_share",
    "|m|": "final_order_parameter",
    "L from C(r) (a)": "final_length_from_correlation",
    "L from S(q) (a)": "final_length_from_structure_factor",
    "T_kin (t_hop)": "kinetic_temperature",
    "E_pot/N (t_hop)": "final_potential_energy",
}

# Curves of spins: name in arrays.nc, heading, and label.
MAGNETIC = {
    "magnetization": ("Mean spin", r"$|m|$"),
    "scalar_chirality": ("Scalar chirality", r"$|\chi|$"),
    "vector_chirality": ("Vector chirality", r"$\kappa$"),
    "topological_charge": ("Topological charge", "|topological charge|"),
}


def write_comparison(
    runs: Sequence[Trajectory],
    out: str | Path,
    title: str = "Quenches",
    window: tuple[float, float] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write one page that compares systems, and the full report of each system in a folder.

    Runs of the same system are analyzed together.

    Args:
        runs: Runs of at least two systems, such as several temperatures.
        out: Directory of the report, created if needed.
        title: Title of the page.
        window: First and last time of the growth fits. Default: chosen for each system.
        **options: Other arguments of `write_quench_report`.

    Returns:
        The metrics of each system, by its name such as "kT=0.1".

    Raises:
        InputError: If all runs are of one system.
    """
    groups = group_runs(runs)
    if len(groups) < 2:
        raise InputError("runs must be of at least two systems. Use write_quench_report.")
    out, metrics, results, folders = Path(out), {}, {}, {}
    for values, ensemble in groups:
        name = ", ".join(f"{key}={_plain(value)}" for key, value in values.items())
        if name in metrics:  # long values that begin alike
            name = f"{name} ({len(metrics) + 1})"
        folder = folders[name] = out / _folder_name(name)
        metrics[name] = write_quench_report(ensemble, folder, f"{title}: {name}", window, **options)
        results[name] = analyze_trajectory(ensemble, window)
    ensembles = dict(zip(results, [ensemble for _, ensemble in groups], strict=True))
    figures = _overlays(ensembles, results) | _magnetic_overlays(folders)
    save_figures(figures, out)
    headings = {
        "length_overlay": "Length of the domains",
        "order_overlay": "Share of the order",
        "temperature_overlay": "Kinetic temperature",
        "energy_overlay": "Potential energy",
        **{f"{name}_overlay": heading for name, (heading, _) in MAGNETIC.items()},
    }
    text = "Means over replicas with their standard errors. Definitions are on the page of each."
    sections = [Section("Systems", "", systems_table(metrics))]
    magnetic = magnetic_systems_table(metrics)
    if magnetic is not None:
        sections.append(Section("Magnetic order", "", magnetic))
    sections += [Section(headings[name], text, figure) for name, figure in figures.items()]
    warnings = [line for ensemble in ensembles.values() for line in run_warnings(ensemble.runs)]
    if warnings:
        sections.insert(1, Section("Warnings", "\n\n".join(warnings)))
    write_report(out / "report.html", title, sections)
    atomic_write_text(out / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return metrics


def _overlays(
    ensembles: dict[str, Ensemble], results: dict[str, QuenchAnalysis]
) -> dict[str, Figure]:
    """One picture per quantity, with a curve for each system that has it."""

    def length(name: str) -> Curve | None:
        values = next(iter(results[name].lengths.values()))
        shown = np.isfinite(values).all(axis=1)
        return (results[name].times[shown], values[shown]) if shown.any() else None

    def temperature(name: str) -> Curve | None:
        thermal = ensembles[name].thermalization
        if thermal is None:
            return None
        return ensembles[name].times, thermal.temperature.mean(axis=2)

    def energy(name: str) -> Curve | None:
        values = ensembles[name].energies
        n_sites = ensembles[name].lattice.n_sites
        return None if values is None else (ensembles[name].times, values / n_sites)

    quantities: dict[str, tuple[Callable[[str], Curve | None], str, bool]] = {
        "length_overlay": (length, r"domain length $L\;(a)$", True),
        "order_overlay": (
            lambda name: (results[name].times, results[name].share),
            "share of the order",
            False,
        ),
        "temperature_overlay": (temperature, r"$T_\mathrm{kin}\;(t_\mathrm{hop}/k_B)$", True),
        "energy_overlay": (energy, r"$E_\mathrm{pot}/N\;(t_\mathrm{hop})$", False),
    }
    figures = {}
    for picture, (values, label, is_logarithmic) in quantities.items():
        curves = {name: curve for name in results if (curve := values(name)) is not None}
        if curves:
            figures[picture] = curves_plot(curves, label, is_logarithmic)
    return figures


def _magnetic_overlays(folders: Mapping[str, Path]) -> dict[str, Figure]:
    """One picture per magnetic quantity, from what the reports of the systems have saved."""
    curves: dict[str, dict[str, Curve]] = {name: {} for name in MAGNETIC}
    for system, folder in folders.items():
        with xarray.open_dataset(folder / "arrays.nc", engine="scipy") as arrays:
            for name in MAGNETIC:
                if name in arrays:
                    values = np.abs(arrays[name].transpose("time", "replica").values)
                    curves[name][system] = (arrays.time.values, values)
    figures = {}
    for name, (_, label) in MAGNETIC.items():
        # Rounding errors of coplanar spins are no chirality.
        if any(values.max() > 1e-9 for _, values in curves[name].values()):
            figures[f"{name}_overlay"] = curves_plot(curves[name], label, False)
    return figures


def systems_table(metrics: dict[str, dict[str, Any]]) -> Table:
    """A table with one row for each system.

    Args:
        metrics: Contents of metrics.json by name of the system.
    """
    rows = []
    for name, numbers in metrics.items():
        cells: list[Any] = [name, numbers["n_runs"], numbers["n_replicas"]]
        for key in COLUMNS.values():
            cells.append(with_error(numbers.get(key), numbers.get(f"{key}_error")))
        interval = numbers.get("growth_interval_from_correlation")
        exponent = numbers.get("growth_exponent_from_correlation")
        low_high = "" if not interval or None in interval else " [{:.3f}, {:.3f}]".format(*interval)
        cells.append(format_value(exponent) + low_high)
        rows.append(tuple(cells))
    columns = ("system", "runs", "replicas", *COLUMNS, "growth exponent")
    caption = (
        "Last frame, mean over replicas ± standard error. The growth exponent is that of L from "
        "C(r), with its 95 % interval; a dash means that the data show no power law. The page of "
        "each system lies in the folder of its name, shortened if it is long, and says why."
    )
    return Table(columns, rows, caption)


def _folder_name(system: str) -> str:
    """The name of a system as that of a folder, at most 60 characters long."""
    name = system.replace("/", "_").replace(" ", "")
    if len(name) <= 60:
        return name
    # Two long names may begin alike.
    return f"{name[:51]}-{hashlib.sha256(system.encode()).hexdigest()[:8]}"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)[:40]
