"""From a trajectory to a report: draw what was found, write the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lattgnn import analysis
from lattgnn.analysis.quench import FINITE_SIZE, analyze, order_maps, shortest_side
from lattgnn.dynamics import Trajectory
from lattgnn.files import atomic_write_bytes, atomic_write_text
from lattgnn.report.movie import write_movie
from lattgnn.report.page import Section, Table, write_report
from lattgnn.report.plots import time_series
from lattgnn.report.quench_plots import (
    correlation_plot,
    length_plot,
    snapshot_panel,
    structure_factor_map,
)
from lattgnn.report.style import figure_png
from lattgnn.serialize import versions

TEXTS = {
    "snapshots": (
        "Domains",
        "Local order of the first replica: half the staggered difference between a site and the mean of its "
        "neighbours. Red and blue are the two checkerboards; walls are pale. Of a vector "
        "the part along one axis is shown, the one that carries most of it at the end.",
    ),
    "domain_length": (
        "Growth of the domains",
        "Two definitions of the length. From C(r): the first distance at which the correlation of the "
        "staggered field has fallen to {fraction:g} of C(0). From S(q): 2π divided by the mean distance from "
        "the ordering wavevector, weighted with S(q), within π/2 of it (inverse bond lengths).\n\n"
        "Points are means over replicas with their standard error, lines the power law fitted in its window, "
        "with a {level:.0%} interval from a bootstrap over replicas.",
    ),
    "correlation": (
        "Correlation of the order",
        "Left: correlation of the staggered field at several times. Right: the same against r/L(t). Where "
        "the curves fall on one another, the pattern stays statistically the same but for its scale.",
    ),
    "structure_factor": (
        "Structure factor",
        "Mean over replicas, in one zone around the ordering wavevector, on a logarithmic scale.",
    ),
    "order": (
        "Order over time",
        "Modulus of the order parameter of the whole lattice, small while domains compete, and the "
        "correlation of nearest neighbours, which follows the local order. Means over replicas with their "
        "standard error.",
    ),
}

# Of a lattice without a checkerboard.
WAVE_TEXTS = TEXTS | {
    "snapshots": (
        "Field",
        "Field of the first replica less its mean. Of a vector the part along one axis is shown, the one "
        "that carries most of it at the end.",
    ),
    "domain_length": (
        "Growth of the domains",
        "2π divided by the mean distance from the ordering wavevector, the largest S(q) of the last frame, "
        "weighted with S(q), within π/2 of it (inverse bond lengths).\n\n"
        "Points are means over replicas with their standard error, lines the power law fitted in its window, "
        "with a {level:.0%} interval from a bootstrap over replicas.",
    ),
    "correlation": ("Correlation", "Correlation of the field less its mean at several times."),
    "order": (
        "Order over time",
        "Modulus of the Fourier component at the ordering wavevector, and the correlation of nearest "
        "neighbours, of the field less its mean. Means over replicas with their standard error.",
    ),
}


def analysis_figures(trajectory: Trajectory, result: dict[str, Any]) -> dict[str, Figure]:
    """Pictures of what `analyze` found, by file name; domains and S(q) only in two dimensions.

    Args:
        trajectory: the run.
        result: of `analyze`.
    """
    lattice, times, shown = trajectory.lattice, result["times"], result["shown"]
    figures = {}
    if lattice.dim == 2:
        snapshots = np.stack([np.asarray(trajectory.fields[int(frame)][0]) for frame in shown])
        figures["snapshots"] = snapshot_panel(order_maps(snapshots, lattice), lattice, times[shown])
    # A domain of the lattice's size is no longer a domain.
    side = shortest_side(lattice)
    lengths = {f"from ${k}$": np.where(v < side, v, np.nan) for k, v in result["lengths"].items()}
    fits = {f"from ${name}$": fit for name, fit in result["fits"].items()}
    if any(np.isfinite(v[times > 0]).all(axis=1).any() for v in lengths.values()):
        figures["domain_length"] = length_plot(times, lengths, fits)
    curves = shown[-6:]
    correlation = result["correlation"][curves]
    length = analysis.domain_length(result["distances"], correlation, result["fraction"])
    length = np.where((length < FINITE_SIZE * side) & ("C(r)" in result["lengths"]), length, np.nan)
    figures["correlation"] = correlation_plot(
        result["distances"], correlation, times[curves], length, result["fraction"]
    )
    if lattice.dim == 2:
        last = np.unique(np.linspace(len(shown) // 3, len(shown) - 1, 3).round().astype(int))
        figures["structure_factor"] = structure_factor_map(
            result["structure"][last], lattice, times[shown[last]], result["center"]
        )
    observables = {
        r"$\langle|m_Q|\rangle$": np.abs(result["order_parameter"]),
        r"$-C(1)/C(0)$": -result["neighbor_correlation"],
    }
    figures["order"] = time_series(times, observables, "order parameter, correlation")
    return figures


def write_quench_report(
    trajectory: Trajectory,
    out: str | Path,
    title: str = "Quench",
    window: tuple[float, float] | None = None,
    movie: bool = False,
) -> dict[str, Any]:
    """Analyse a trajectory and write report.html, metrics.json and the pictures as PNG (and quench.mp4).

    Args:
        trajectory: the run.
        out: directory, made if needed; files of an earlier report are replaced.
        title: of the page.
        window: of the growth fit, see `analyze`.
        movie: also write a movie of the first replica (needs the extra `movie`).

    Returns:
        The metrics.
    """
    out = Path(out)
    result = analyze(trajectory, window)
    figures = analysis_figures(trajectory, result)
    for name, figure in figures.items():
        atomic_write_bytes(out / f"{name}.png", figure_png(figure))
    if movie:
        order = order_maps(np.asarray(trajectory.fields[:, 0]), trajectory.lattice)
        write_movie(out / "quench.mp4", order, trajectory.lattice, result["times"])
    write_report(out / "report.html", title, quench_sections(trajectory, result, figures))
    atomic_write_text(
        out / "metrics.json", json.dumps(result["metrics"], indent=2, allow_nan=False) + "\n"
    )
    return result["metrics"]


def quench_sections(
    trajectory: Trajectory, result: dict[str, Any], figures: dict[str, Figure]
) -> list[Section]:
    """The sections of the report, to be joined with others on one page.

    Args:
        trajectory: the run.
        result: of `analyze`.
        figures: of `analysis_figures`.
    """
    summary = {name.replace("_", " "): value for name, value in result["metrics"].items()}
    sections = [Section("Summary", "", Table.of(summary))]
    texts = TEXTS if result["order"].is_checkerboard else WAVE_TEXTS
    for name, figure in figures.items():
        heading, text = texts[name]
        sections.append(
            Section(heading, text.format(fraction=result["fraction"], level=0.95), figure)
        )
    provenance = {
        "trajectory": str(trajectory.path),
        "frames complete": trajectory.complete,
    } | versions()
    sections.append(Section("Configuration", "", Table.of(trajectory.config)))
    sections.append(Section("Versions and provenance", "", Table.of(provenance)))
    return sections
