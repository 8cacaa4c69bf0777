"""From a trajectory to a report: analyze it, draw the results, write the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from lattgnn.analysis import QuenchAnalysis, analyze_quench, domain_length, local_order
from lattgnn.analysis.correlations import shortest_side
from lattgnn.analysis.quench import FINITE_SIZE, components
from lattgnn.dynamics import Trajectory
from lattgnn.files import atomic_write_bytes, atomic_write_text
from lattgnn.lattice import Lattice
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

Array = np.ndarray
# Heading and text of each picture, by file name.
TEXTS = {
    "snapshots": (
        "Domains",
        "Local order of the first replica: half of the staggered difference between a site and the "
        "mean of its neighbors. Red and blue are the two checkerboards; domain walls are pale. Of "
        "a vector field, the component along the axis that carries most of the final order is "
        "shown.",
    ),
    "domain_length": (
        "Growth of the domains",
        "Two definitions of the domain length. From C(r): the first distance at which the "
        "correlation of the staggered field has fallen to {fraction:g} of C(0). From S(q): 2π "
        "divided by the mean distance from the ordering wavevector, weighted with S(q), within π/2 "
        "of it (in inverse bond lengths).\n\nPoints are means over replicas with their standard "
        "errors. Lines are power laws fitted in the window that they span; brackets give the "
        "{level:.0%} confidence interval of the exponent from a bootstrap over replicas.",
    ),
    "correlation": (
        "Correlation of the order",
        "Left: correlation of the staggered field at several times. Right: the same against "
        "r/L(t). Where the curves coincide, the domain pattern is statistically the same up to its "
        "length scale.",
    ),
    "structure_factor": (
        "Structure factor",
        "Mean over replicas, in one Brillouin zone around the ordering wavevector, on a "
        "logarithmic scale.",
    ),
    "order": (
        "Order over time",
        "Modulus of the order parameter of the whole lattice, which is small while domains "
        "compete, and the correlation of nearest neighbors, which follows the local order. Means "
        "over replicas with their standard errors.",
    ),
}

# The same for a lattice without a checkerboard.
WAVE_TEXTS = TEXTS | {
    "snapshots": (
        "Field",
        "Field of the first replica minus its mean. Of a vector field, the component along the "
        "axis that carries most of the final order is shown.",
    ),
    "domain_length": (
        "Growth of the domains",
        "2π divided by the mean distance from the ordering wavevector, weighted with S(q), within "
        "π/2 of it (in inverse bond lengths). The ordering wavevector is that of the largest S(q) "
        "in the last frame.\n\nPoints are means over replicas with their standard errors. Lines "
        "are power laws fitted in the window that they span; brackets give the {level:.0%} "
        "confidence interval of the exponent from a bootstrap over replicas.",
    ),
    "correlation": ("Correlation", "Correlation of the field minus its mean, at several times."),
    "order": (
        "Order over time",
        "Modulus of the Fourier component at the ordering wavevector, and the correlation of "
        "nearest neighbors, of the field minus its mean. Means over replicas with their standard "
        "errors.",
    ),
}


def analyze_trajectory(
    trajectory: Trajectory, window: tuple[float, float] | None = None, fraction: float = 0.5
) -> QuenchAnalysis:
    """Analyze a trajectory, with S(q) in the frames that the pictures show.

    Args:
        trajectory: The run.
        window: First and last time of the growth fit. Default: chosen by `growth_window`.
        fraction: Value of C(r)/C(0) that defines the domain length.

    Returns:
        The observables, see `lattgnn.analysis.analyze_quench`.

    Raises:
        InputError: If the trajectory has fewer than two frames after t = 0.
    """
    times, shown = trajectory.times, picture_frames(trajectory.times)
    return analyze_quench(times, trajectory.fields, trajectory.lattice, window, fraction, shown)


def analysis_figures(trajectory: Trajectory, result: QuenchAnalysis) -> dict[str, Figure]:
    """Draw the results of `analyze_trajectory`; domains and S(q) only in two dimensions.

    Args:
        trajectory: The run.
        result: What `analyze_trajectory` returned for it.

    Returns:
        Figures by file name.
    """
    lattice, times, shown = trajectory.lattice, result.times, result.structure_frames
    figures = {}
    if lattice.dim == 2:
        snapshots = np.stack([np.asarray(trajectory.fields[int(frame)][0]) for frame in shown])
        figures["snapshots"] = snapshot_panel(order_maps(snapshots, lattice), lattice, times[shown])
    # A length of the lattice's size belongs to a single domain and is not drawn.
    side = shortest_side(lattice)
    lengths = {f"from ${k}$": np.where(v < side, v, np.nan) for k, v in result.lengths.items()}
    fits = {f"from ${name}$": fit for name, fit in result.fits.items()}
    if any(np.isfinite(v[times > 0]).all(axis=1).any() for v in lengths.values()):
        figures["domain_length"] = length_plot(times, lengths, fits)
    curves = shown[-6:]
    correlation = result.correlation[curves]
    length = domain_length(result.distances, correlation, result.fraction)
    can_be_scaled = (length < FINITE_SIZE * side) & result.order.is_checkerboard
    figures["correlation"] = correlation_plot(
        result.distances,
        correlation,
        times[curves],
        np.where(can_be_scaled, length, np.nan),
        result.fraction,
    )
    if lattice.dim == 2:
        # Three panels from a third of the shown frames on: before, S(q) is that of a random field.
        last = np.unique(np.linspace(len(shown) // 3, len(shown) - 1, 3).round().astype(int))
        figures["structure_factor"] = structure_factor_map(
            result.structure[last], lattice, times[shown[last]], result.order.center
        )
    observables = {
        r"$\langle|m_Q|\rangle$": np.abs(result.order_parameter),
        r"$-C(1)/C(0)$": -result.neighbor_correlation,
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
    """Analyze a trajectory and write report.html, metrics.json and the pictures as PNG files.

    Args:
        trajectory: The run.
        out: Directory of the report, created if needed. Files of an earlier report are replaced.
        title: Title of the page.
        window: First and last time of the growth fit, such as [10,100]. Default: the last decade of
            time before domains reach a sixth of the lattice.
        movie: Also write quench.mp4, a movie of the first replica. Needs the extra `movie`.

    Returns:
        The metrics.

    Raises:
        InputError: If the trajectory or the window has too few frames.
        MissingExtraError: If a movie is requested and imageio is not installed.
    """
    out = Path(out)
    result = analyze_trajectory(trajectory, window)
    metrics = quench_metrics(trajectory, result)
    figures = analysis_figures(trajectory, result)
    for name, figure in figures.items():
        atomic_write_bytes(out / f"{name}.png", figure_png(figure))
    if movie:
        order = order_maps(np.asarray(trajectory.fields[:, 0]), trajectory.lattice)
        write_movie(out / "quench.mp4", order, trajectory.lattice, result.times)
    write_report(out / "report.html", title, quench_sections(trajectory, result, figures))
    atomic_write_text(out / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return metrics


def quench_sections(
    trajectory: Trajectory, result: QuenchAnalysis, figures: dict[str, Figure]
) -> list[Section]:
    """Make the sections of the report, which may be joined with others on one page.

    Args:
        trajectory: The run.
        result: What `analyze_trajectory` returned for it.
        figures: What `analysis_figures` returned.

    Returns:
        The sections in order; the first one is the summary.
    """
    metrics = quench_metrics(trajectory, result)
    summary = {name.replace("_", " "): value for name, value in metrics.items()}
    sections = [Section("Summary", "", Table.of(summary))]
    texts = TEXTS if result.order.is_checkerboard else WAVE_TEXTS
    for name, figure in figures.items():
        heading, text = texts[name]
        sections.append(Section(heading, text.format(fraction=result.fraction, level=0.95), figure))
    provenance = {
        "trajectory": str(trajectory.path),
        "frames complete": trajectory.complete,
    } | versions()
    sections.append(Section("Configuration", "", Table.of(trajectory.config)))
    sections.append(Section("Versions and provenance", "", Table.of(provenance)))
    return sections


def quench_metrics(trajectory: Trajectory, result: QuenchAnalysis) -> dict[str, Any]:
    """Collect the numbers of metrics.json.

    Args:
        trajectory: The run.
        result: What `analyze_trajectory` returned for it.

    Returns:
        Plain JSON types; None for a number that does not exist.
    """
    lattice = trajectory.lattice
    growth: dict[str, Any] = {}
    keys = {"C(r)": "from_correlation", "S(q)": "from_structure_factor"}
    for name, lengths in result.lengths.items():
        key, last = keys[name], lengths[-1]
        has_domains = bool((last < shortest_side(lattice)).all())
        growth[f"final_length_{key}"] = _finite(last.mean()) if has_domains else None
        if name in result.fits:
            fit = result.fits[name]
            growth[f"growth_exponent_{key}"] = fit.exponent
            growth[f"growth_interval_{key}"] = [_finite(x) for x in fit.interval]
            growth["growth_window"] = list(fit.window)
    return {
        "n_sites": lattice.n_sites,
        "n_replicas": trajectory.fields.shape[1],
        "n_frames": len(result.times),
        "final_step": int(trajectory.steps[-1]),
        "final_time": float(result.times[-1]),
        "order": str(result.order),
        "ordering_wavevector": result.order.center.tolist(),
        "final_order_parameter": float(np.abs(result.order_parameter[-1]).mean()),
        "final_neighbor_correlation": float(result.neighbor_correlation[-1].mean()),
        "kinetic_temperature": _kinetic_temperature(trajectory),
        **growth,
    }


def order_maps(fields: Array, lattice: Lattice) -> Float[Array, "n_frames n_sites"]:
    """Reduce fields to one scalar per site that shows the order, for pictures.

    It is the local checkerboard order or, where there is no checkerboard, the field minus its mean.
    Of a vector field, the component along the axis that carries most of the order in the last frame
    is taken.

    Args:
        fields: Frames of one replica, [frame, site] or [frame, site, component].
        lattice: The lattice of the fields.

    Returns:
        The scalars, in units of the field.
    """
    field = components(fields)
    if lattice.is_bipartite:
        order = local_order(field, lattice)
    else:
        order = field - field.mean(axis=-1, keepdims=True)
    # Principal axis of the last frame: the eigenvector of the largest eigenvalue. Its sign is
    # arbitrary; the largest component is made positive, so that pictures can be compared.
    axis = np.linalg.eigh(order[:, -1] @ order[:, -1].T)[1][:, -1]
    return np.tensordot(axis * np.sign(axis[np.abs(axis).argmax()]), order, axes=1)


def picture_frames(times: Float[Array, "n_frames"], n: int = 8) -> Int[Array, "n_shown"]:
    """Choose frames spread evenly in log t over the last three decades, the last frame included.

    Args:
        times: Time of each frame.
        n: Largest number of frames.

    Returns:
        Indices of the frames, ascending.
    """
    last = times[-1]
    positive = times[times > 0]
    if len(positive) == 0:
        return np.array([len(times) - 1])
    wanted = np.geomspace(max(positive[0], last / 1000), last, n)
    return np.unique(np.abs(times[:, None] - wanted).argmin(axis=0))


def _kinetic_temperature(trajectory: Trajectory) -> float | None:
    """2 ⟨E_kin⟩ per degree of freedom, over the last half of the time; None without momenta."""
    kinetic = trajectory.kinetic_energies
    if kinetic is None:
        return None
    late = kinetic[trajectory.times >= trajectory.times[-1] / 2]
    return float(2 * late.mean() / trajectory.lattice.n_sites)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
