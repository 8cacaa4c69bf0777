"""Magnetic order in the report of a run of spins: numbers, arrays, pictures, sections.

Each function takes the result of `analyze_spin_runs`, and returns nothing to show if it is None.
"""

from typing import Any

import numpy as np
import xarray
from jaxtyping import Float
from matplotlib.figure import Figure

from lattgnn.analysis import (
    SpinAnalysis,
    analyze_spins,
    charge_density,
    scalar_chirality,
    triangles,
    wavevectors,
)
from lattgnn.analysis.correlations import shortest_side
from lattgnn.dynamics import Trajectory
from lattgnn.report.ensemble import Ensemble, as_ensemble
from lattgnn.report.growth_plots import length_plot
from lattgnn.report.page import Section, Table
from lattgnn.report.plots import time_series
from lattgnn.report.quench_figures import picture_frames
from lattgnn.report.quench_numbers import mean_and_error, with_error
from lattgnn.report.quench_plots import snapshot_panel
from lattgnn.report.quench_texts import picture_text
from lattgnn.report.spin_plots import spin_panel

Array = np.ndarray
# Name: symbol, definition, unit. S_1, S_2, S_3 are the spins of a triangle, counterclockwise.
DEFINITIONS = {
    "magnetization": ("|m|", "|⟨S_i⟩|", "1"),
    "scalar_chirality": ("χ", "mean of S_1·(S_2×S_3) over triangles", "1"),
    "chirality_strength": ("χ_rms", "root of the mean of (S_1·(S_2×S_3))² over triangles", "1"),
    "vector_chirality": (
        "κ",
        "|mean of 2/(3√3) (S_1×S_2 + S_2×S_3 + S_3×S_1)| over triangles that are translations of "
        "each other, mean over their kinds; elementary triangles only, where there are some",
        "1",
    ),
    "topological_charge": (
        "topological charge",
        "Σ Ω/4π over triangles, tan(Ω/2) = S_1·(S_2×S_3)/(1 + S_1·S_2 + S_2·S_3 + S_3·S_1)",
        "1",
    ),
    "vortices": (
        "vortices",
        "number of triangles around which the direction of (S_x, S_y) turns once, per site",
        "1",
    ),
    "skyrmions": (
        "skyrmions",
        "number of regions opposite to the mean spin that hold a charge of at least 1/4",
        "1",
    ),
    "skyrmion_radius": ("R", "radius of a disc with the area of such a region, mean", "a"),
    "effective_arms": ("n_Q", "(Σ w)²/Σ w² of the weights w of the arms", "1"),
    "chirality_length": (
        "L of chirality",
        "first distance at which the correlation of the chirality of cells has fallen to one half",
        "a",
    ),
    "arm_weight": (
        "w",
        "share of Σ|S_i|² at the wavevectors near Q and −Q, up to half of the way to the next arm "
        "and to q = 0",
        "1",
    ),
    "arm_wavevector": (
        "Q",
        "wavevectors of the strongest star of the last frame beside the mean spin",
        "1/a",
    ),
    "spin_structure_factor": ("S^c(q)", "|Σ_i S_i^c exp(−iq·r_i)|²/N, mean over replicas", "1"),
    "spin_wavevector": ("q", "wavevectors of S^c(q)", "1/a"),
}
# Those of one number per frame and replica.
SERIES = (
    *("magnetization", "scalar_chirality", "chirality_strength", "vector_chirality"),
    *("topological_charge", "vortices", "skyrmions", "skyrmion_radius", "effective_arms"),
    "chirality_length",
)
# Without a field or spin–orbit coupling both signs are equally likely, so replicas would cancel.
EITHER_SIGN = ("scalar_chirality", "topological_charge")


def analyze_spin_runs(
    runs: Trajectory | Ensemble, window: tuple[float, float] | None = None
) -> SpinAnalysis | None:
    """Analyze the magnetic order of runs of spins in two dimensions.

    Args:
        runs: The run, or several runs of one system.
        window: First and last time of the growth fit. Default: chosen by `find_growth_law`.

    Returns:
        The observables, or None for other fields and dimensions.
    """
    ensemble = as_ensemble(runs)
    if ensemble.subtracts_mean or ensemble.lattice.dim != 2:
        return None
    times = ensemble.times
    shown = picture_frames(times)
    return analyze_spins(times, ensemble.fields, ensemble.lattice, window, structure_frames=shown)


def spin_metrics(result: SpinAnalysis | None) -> dict[str, Any]:
    """Collect the magnetic numbers of metrics.json: means over replicas in the last frame.

    Args:
        result: What `analyze_spin_runs` returned.

    Returns:
        Plain JSON types; None for a number that does not exist. Names that end in `_error` are
        standard errors over replicas.
    """
    if result is None:
        return {}
    metrics: dict[str, Any] = {}
    for name in SERIES:
        values = _series(result, name)[-1]
        if name in EITHER_SIGN:
            values = np.abs(values)
        # The length of a domain that fills the lattice is not known.
        metrics |= mean_and_error(f"final_{name}", np.where(np.isinf(values), np.nan, values))
    metrics["final_arm_wavevectors"] = result.wavevectors.tolist()
    metrics["final_arm_weights"] = result.arm_weights[-1].mean(axis=0).tolist()
    law = result.chirality_growth
    if law.fit is not None:
        metrics["growth_exponent_chirality"] = law.fit.exponent
        interval = law.fit.interval
        metrics["growth_interval_chirality"] = [x if np.isfinite(x) else None for x in interval]
        metrics["growth_window_chirality"] = list(law.fit.window)
    if law.reason:
        metrics["growth_reason_chirality"] = law.reason
    return metrics


def spin_arrays(result: SpinAnalysis | None) -> xarray.Dataset:
    """Collect the arrays of a spin analysis, each with its definition and unit.

    Args:
        result: What `analyze_spin_runs` returned.

    Returns:
        The arrays, with the dimensions of `quench_dataset`.
    """
    if result is None:
        return xarray.Dataset()
    axes = tuple(f"q{k + 1}" for k in range(result.lattice.dim))
    data: dict[str, Any] = {name: (("time", "replica"), _series(result, name)) for name in SERIES}
    data["arm_weight"] = (("time", "replica", "arm"), result.arm_weights)
    data["arm_wavevector"] = (("arm", "direction"), result.wavevectors)
    kept = ("shown_time", "spin_component", *axes)
    data["spin_structure_factor"] = (kept, result.structure)
    data["spin_wavevector"] = ((*axes, "direction"), wavevectors(result.lattice))
    dataset = xarray.Dataset(data)
    for name, (symbol, definition, unit) in DEFINITIONS.items():
        dataset[name].attrs |= {"long_name": symbol, "definition": definition, "units": unit}
    return dataset


def spin_figures(runs: Trajectory | Ensemble, result: SpinAnalysis | None) -> dict[str, Figure]:
    """Draw the magnetic order of runs of spins in two dimensions.

    Args:
        runs: The run, or several runs of one system.
        result: What `analyze_spin_runs` returned.

    Returns:
        Figures by file name. Those that have nothing to show are left out.
    """
    if result is None:
        return {}
    ensemble, lattice, cells = as_ensemble(runs), result.lattice, triangles(result.lattice)
    shown, times = result.structure_frames, result.times
    spins = np.stack([ensemble.fields[int(n)][0] for n in shown]).astype(np.float64)
    figures = {"spins": spin_panel(spins, lattice, times[shown])}
    maps = {
        "chirality": (
            cells.cell_means(scalar_chirality(spins, lattice)),
            r"scalar chirality $\chi$",
        ),
        "charge_density": (cells.cell_sums(charge_density(spins, lattice)), "charge of a cell"),
    }
    for name, (values, label) in maps.items():
        # Rounding errors of coplanar spins are not chirality.
        if np.abs(values).max() > 1e-9:
            # A cell is drawn as its triangles, which lie between its sites.
            colored = values[:, cells.cells]
            figures[name] = snapshot_panel(
                colored, lattice, times[shown], label, polygons=cells.points
            )
    return figures | _curves(result)


def spin_sections(result: SpinAnalysis | None, figures: dict[str, Figure]) -> list[Section]:
    """Make the sections on magnetic order.

    Args:
        result: What `analyze_spin_runs` returned.
        figures: What `spin_figures` returned.

    Returns:
        The sections: a table of numbers, then the pictures.
    """
    if result is None:
        return []
    numbers = spin_metrics(result)
    rows = []
    for name in SERIES:
        symbol, definition, unit = DEFINITIONS[name]
        value = with_error(numbers[f"final_{name}"], numbers[f"final_{name}_error"])
        rows.append((name.replace("_", " "), value, unit, definition))
    for q, weight in zip(result.wavevectors, numbers["final_arm_weights"], strict=True):
        place = ", ".join(f"{x / np.pi + 0.0:.3g}" for x in q)
        rows.append((f"weight at Q = ({place}) π/a", weight, "1", DEFINITIONS["arm_weight"][1]))
    caption = (
        "Values are means over replicas in the last frame ± standard error over replicas; of the "
        "scalar chirality and the topological charge, the means of their moduli. A dash means that "
        "the number does not exist. "
        "S_1, S_2, S_3 are the spins at the corners of a triangle, counterclockwise."
    )
    table = Table(("quantity", "value", "unit", "definition"), rows, caption)
    sections = [Section("Magnetic order", result.chirality_growth.reason, table)]
    for name, figure in figures.items():
        heading, text = picture_text(name, "", 0.5)
        sections.append(Section(heading, text, figure))
    return sections


def _series(result: SpinAnalysis, name: str) -> Float[Array, "n_frames n_replicas"]:
    return result.n_q if name == "effective_arms" else getattr(result, name)


def _curves(result: SpinAnalysis) -> dict[str, Figure]:
    """Observables over time."""
    times = result.times
    curves = {
        r"$|m|$": result.magnetization,
        r"$|\chi|$": np.abs(result.scalar_chirality),
        r"$\chi_\mathrm{rms}$": result.chirality_strength,
        r"$\kappa$": result.vector_chirality,
    }
    figures = {"magnetic_order": time_series(times, curves, "magnetic order")}
    arms = {rf"$Q_{n + 1}$": result.arm_weights[..., n] for n in range(len(result.wavevectors))}
    # |m|² is the share of the mean spin in Σ|S|², which belongs to no arm but to q = 0.
    if np.linalg.norm(result.wavevectors, axis=-1).min() > 1e-9:
        arms["mean spin"] = np.square(result.magnetization)
    figures["waves"] = time_series(times, arms, "share of a wave")
    if np.abs(result.topological_charge).max() > 0.5:
        charge = {"of the whole lattice": np.abs(result.topological_charge)}
        figures["topological_charge"] = time_series(times, charge, "|topological charge|")
    length, side = result.chirality_length, shortest_side(result.lattice)
    drawn = np.where(length < side, length, np.nan)
    if np.isfinite(drawn[times > 0]).all(axis=1).any():
        fit = result.chirality_growth.fit
        fits = {} if fit is None else {"of chirality": fit}
        figures["chirality_length"] = length_plot(times, {"of chirality": drawn}, fits)
    return figures
