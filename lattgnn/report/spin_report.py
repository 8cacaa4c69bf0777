"""Magnetic order in the report of a run of spins: arrays, pictures, sections.

Each function takes the result of `analyze_spin_runs`, and returns nothing to show if it is None.
"""

from typing import Any

import numpy as np
import xarray
from matplotlib.figure import Figure

from lattgnn.analysis import (
    SpinAnalysis,
    analyze_spins,
    charge_density,
    scalar_chirality,
    spin_alignment,
    triangles,
    wavevectors,
)
from lattgnn.analysis.correlations import shortest_side
from lattgnn.dynamics import Trajectory
from lattgnn.report.ensemble import Ensemble, as_ensemble
from lattgnn.report.growth_plots import length_plot
from lattgnn.report.page import Section
from lattgnn.report.plots import time_series
from lattgnn.report.quench_figures import picture_frames
from lattgnn.report.quench_plots import snapshot_panel
from lattgnn.report.quench_texts import picture_text
from lattgnn.report.spin_numbers import DEFINITIONS, SERIES, spin_series, spin_table
from lattgnn.report.spin_plots import alignment_histogram_plot, spin_panel

Array = np.ndarray


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
    data: dict[str, Any] = {
        name: (("time", "replica"), spin_series(result, name)) for name in SERIES
    }
    data["arm_weight"] = (("time", "replica", "arm"), result.arm_weights)
    data["arm_wavevector"] = (("arm", "direction"), result.wavevectors)
    kept = ("shown_time", "spin_component", *axes)
    data["spin_structure_factor"] = (kept, result.structure)
    data["spin_wavevector"] = ((*axes, "direction"), wavevectors(result.lattice))
    histogram = result.alignment_histogram
    edges = np.linspace(-1.0, 1.0, histogram.shape[1] + 1)
    middles = {"alignment_bin": 0.5 * (edges[1:] + edges[:-1])}
    data["alignment_histogram"] = (("shown_time", "alignment_bin"), histogram)
    dataset = xarray.Dataset(data, middles)
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
    aligned = spin_alignment(spins, lattice)
    label = r"mean of $S_i\cdot S_j$ over neighbors"
    figures["alignment"] = snapshot_panel(aligned, lattice, times[shown], label)
    histogram = alignment_histogram_plot(result.alignment_histogram, times[shown])
    figures["alignment_histogram"] = histogram
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
    table = spin_table(result)
    sections = [Section("Magnetic order", result.chirality_growth.reason, table)]
    for name, figure in figures.items():
        heading, text = picture_text(name, "", 0.5)
        sections.append(Section(heading, text, figure))
    return sections


def _curves(result: SpinAnalysis) -> dict[str, Figure]:
    """Observables over time."""
    times = result.times
    curves = {
        r"$|m|$": result.magnetization,
        r"$|\chi|$": np.abs(result.scalar_chirality),
        r"$\chi_\mathrm{rms}$": result.chirality_strength,
        r"$\kappa$": result.vector_chirality,
        r"$\kappa_\mathrm{rms}$": result.vector_chirality_strength,
    }
    figures = {"magnetic_order": time_series(times, curves, "magnetic order")}
    shares = {
        "parallel": result.parallel_share,
        "antiparallel": result.antiparallel_share,
        "neither": result.intermediate_share,
    }
    figures["alignment_shares"] = time_series(times, shares, "share of sites")
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
