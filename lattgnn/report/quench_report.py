"""From runs to a report: analyze them, save the arrays, draw the results, write the page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from lattgnn.analysis import QuenchAnalysis, analyze_quench
from lattgnn.analysis.growth import check_window
from lattgnn.analysis.order import Order
from lattgnn.dynamics import Trajectory
from lattgnn.files import atomic_write_text
from lattgnn.report.averages import average_metrics, averaged_frames, averages_table
from lattgnn.report.ensemble import Ensemble, as_ensemble
from lattgnn.report.movie import write_movie, write_spin_movie
from lattgnn.report.page import Movie, Section, Table, write_report
from lattgnn.report.provenance import provenance_sections, run_warnings
from lattgnn.report.quench_arrays import definition_rows, quench_dataset, write_dataset
from lattgnn.report.quench_figures import (
    analysis_figures,
    map_label,
    order_maps,
    picture_frames,
    shown_order,
)
from lattgnn.report.quench_numbers import (
    growth_reasons,
    growth_table,
    order_table,
    quench_metrics,
    summary_table,
)
from lattgnn.report.quench_texts import GROWTH, picture_text
from lattgnn.report.spin_numbers import spin_metrics
from lattgnn.report.spin_report import (
    analyze_spin_runs,
    spin_arrays,
    spin_figures,
    spin_sections,
)
from lattgnn.report.style import save_figures

Runs = Trajectory | Ensemble | Sequence[Trajectory]
# The movie is part of the page, so it has at most this many frames; 60 of them take about 1 MB.
MOVIE_FRAMES = 60


def analyze_trajectory(
    runs: Runs, window: tuple[float, float] | None = None, fraction: float = 0.5
) -> QuenchAnalysis:
    """Analyze a run, or several runs of one system, with S(q) in the frames of the pictures.

    Args:
        runs: The run, or several runs of one system with different noise.
        window: First and last time of the growth fit. Default: chosen by `find_growth_law`.
        fraction: Value of C(r)/C(0) that defines the domain length.

    Returns:
        The observables, see `lattgnn.analysis.analyze_quench`.

    Raises:
        InputError: If a window is given that does not ascend, or lies outside the run.
    """
    ensemble = as_ensemble(runs)
    return analyze_quench(
        ensemble.times,
        ensemble.fields,
        ensemble.lattice,
        window,
        fraction,
        picture_frames(ensemble.times),
        ensemble.subtracts_mean,
    )


def write_quench_report(
    runs: Runs,
    out: str | Path,
    title: str = "Quench",
    window: tuple[float, float] | None = None,
    movie: Literal["webp", "gif", "mp4", "none"] = "webp",
    average: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Analyze runs of one system and write report.html, metrics.json, arrays.nc and the pictures.

    Args:
        runs: The run, or several runs of one system with different noise. Their replicas are
            analyzed together.
        out: Directory of the report, created if needed. Files of an earlier report are replaced.
        title: Title of the page.
        window: First and last time of the growth fit, such as [10,100]. Default: the longest late
            window in which the local slope is constant.
        movie: Format of the movie of the first replica, on a lattice in two dimensions. It is part
            of the page. mp4 needs the extra `movie`.
        average: First and last time of the averages over frames, such as [50,100]. Default: the
            last half of the time.

    Returns:
        The metrics.

    Raises:
        InputError: If the runs do not belong together, or a window does not ascend or has no
            place in the run.
        MissingExtraError: If an mp4 movie is requested and imageio is not installed.
    """
    out, ensemble = Path(out), as_ensemble(runs)
    check_windows(ensemble.times, window, average)
    result = analyze_trajectory(ensemble, window)
    spins = analyze_spin_runs(ensemble, window)
    metrics = quench_metrics(ensemble, result) | spin_metrics(spins)
    metrics |= average_metrics(ensemble, result, spins, average)
    figures, magnetic = analysis_figures(ensemble, result), spin_figures(ensemble, spins)
    save_figures(figures | magnetic, out)
    dataset = quench_dataset(ensemble, result).merge(spin_arrays(spins))
    write_dataset(dataset, out / "arrays.nc")
    film = None
    if movie != "none" and ensemble.lattice.dim == 2 and len(ensemble.times) > 1:
        film = _write_film(ensemble, shown_order(result), out / f"quench.{movie}")
    more = [*spin_sections(spins, magnetic), Section("Averages", "", averages_table(metrics))]
    sections = quench_sections(ensemble, result, figures, film, more)
    write_report(out / "report.html", title, sections, _subtitle(ensemble))
    atomic_write_text(out / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return metrics


def check_windows(
    times: np.ndarray,
    window: tuple[float, float] | None = None,
    average: tuple[float, float] | None = None,
) -> None:
    """Refuse windows outside the run before anything is analyzed.

    Args:
        times: Time of each frame [n_frames], ascending.
        window: See `write_quench_report`.
        average: See `write_quench_report`.

    Raises:
        InputError: If a window does not ascend or lies outside the run, or an average has no
            frame.
    """
    if window is not None:
        check_window(window, times)
    averaged_frames(times, average)


def quench_sections(
    runs: Runs,
    result: QuenchAnalysis,
    figures: dict[str, Figure],
    movie: Movie | None = None,
    more: Sequence[Section] = (),
) -> list[Section]:
    """Make the sections of the report, which may be joined with others on one page.

    Args:
        runs: The run, or several runs of one system.
        result: What `analyze_trajectory` returned for it.
        figures: What `analysis_figures` returned.
        movie: A movie of the run.
        more: Further sections, such as those on magnetic order.

    Returns:
        The sections in order; the first one is the summary.
    """
    ensemble = as_ensemble(runs)
    sections = [Section("Summary", "", summary_table(ensemble, result))]
    warnings = run_warnings(ensemble.runs)
    if warnings:
        sections.append(Section("Warnings", "\n\n".join(warnings)))
    sections.append(Section("Order", "", order_table(result)))
    text = f"{GROWTH}\n\n{growth_reasons(result)}"
    sections += [Section("Growth law", text, growth_table(result)), *more]
    order = shown_order(result)
    drawn = order.kind if order.subtracts_mean or order.is_checkerboard else "spins"
    for name, figure in figures.items():
        heading, text = picture_text(name, drawn, result.fraction)
        sections.append(Section(heading, text, figure))
        if name == "snapshots" and movie is not None:
            film = "movie" if ensemble.subtracts_mean else "spin_movie"
            heading, text = picture_text(film, order.kind, result.fraction)
            sections.append(Section(heading, text, movie))
    rows = definition_rows(quench_dataset(ensemble, result))
    sections.append(
        Section(
            "Definitions",
            "φ_i is the field minus its mean over sites (of spins, the spin itself), s_i the sign "
            "of the checkerboard (1 for other patterns), ⟨…⟩ the mean over sites, and Q the "
            "ordering wavevector. Products of vector fields are summed over components. Units: a "
            "is the unit of length of the lattice, t_hop the hopping, and time is measured in "
            "ħ/t_hop. All of these arrays are in arrays.nc.",
            Table(("quantity", "definition", "unit"), rows),
        )
    )
    return sections + provenance_sections(ensemble.runs)


def _write_film(ensemble: Ensemble, order: Order, path: Path) -> Movie:
    """A movie of the first replica, with frames spread evenly over those that are saved."""
    n = len(ensemble.times)
    frames = np.unique(np.linspace(0, n - 1, MOVIE_FRAMES).round().astype(int))
    fields = np.stack([ensemble.fields[int(frame)][0] for frame in frames])
    lattice, times = ensemble.lattice, ensemble.times[frames]
    if ensemble.subtracts_mean:
        maps = order_maps(fields, order)
        write_movie(path, maps, lattice, times, label=map_label(order), dpi=120)
    else:
        write_spin_movie(path, fields, lattice, times, dpi=120)
    return Movie(path)


def _subtitle(ensemble: Ensemble) -> str:
    names = [str(run.path) for run in ensemble.runs if run.path is not None]
    return "lattgnn analyze " + " ".join(names) if names else ""
