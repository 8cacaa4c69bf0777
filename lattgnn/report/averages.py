"""Means over the late frames of a run, with standard errors over replicas."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from lattgnn.analysis import QuenchAnalysis, SpinAnalysis
from lattgnn.errors import InputError
from lattgnn.report.ensemble import Ensemble
from lattgnn.report.page import Table
from lattgnn.report.quench_numbers import mean_and_error, with_error
from lattgnn.report.spin_numbers import SERIES, spin_numbers

Array = np.ndarray
ALL_FIELDS = ("order_share", "order_parameter", "neighbor_correlation", "potential_energy")
Span = tuple[float, float] | None


def average_metrics(
    ensemble: Ensemble, result: QuenchAnalysis, spins: SpinAnalysis | None, average: Span = None
) -> dict[str, Any]:
    """Average observables over frames and replicas, for metrics.json.

    Args:
        ensemble: The runs.
        result: Their analysis.
        spins: What `analyze_spin_runs` returned for them.
        average: First and last time of the frames. Default: the last half of the time.

    Returns:
        Each mean as `mean_NAME`, and its standard error over the means of replicas as
        `mean_NAME_error`; None for a number that does not exist in one of the frames.

    Raises:
        InputError: If the times do not ascend, or there is no frame between them.
    """
    chosen = averaged_frames(result.times, average)
    times = result.times[chosen]
    metrics: dict[str, Any] = {
        "average_window": [float(times[0]), float(times[-1])],
        "n_averaged_frames": len(times),
    }
    for name, values in _observables(ensemble, result, spins).items():
        metrics |= mean_and_error(f"mean_{name}", values[chosen].mean(axis=0))
    return metrics


def averages_table(metrics: dict[str, Any]) -> Table:
    """The averages as a table.

    Args:
        metrics: They contain what `average_metrics` returned.
    """
    rows = []
    for key in (*ALL_FIELDS, *SERIES):
        if f"mean_{key}" in metrics:
            value = with_error(metrics[f"mean_{key}"], metrics[f"mean_{key}_error"])
            name = "potential energy per site" if key == "potential_energy" else key
            rows.append((name.replace("_", " "), value))
    low, high = metrics["average_window"]
    caption = (
        f"Means over replicas and the {metrics['n_averaged_frames']} frames from t = {low:g} to "
        f"{high:g} ± standard error over replicas, each of which is averaged over time first. Of "
        "the order parameter, the scalar chirality and the topological charge, the modulus in each "
        "frame is averaged. A dash means that the number does not exist in all frames."
    )
    return Table(("quantity", "mean"), rows, caption)


def _observables(
    ensemble: Ensemble, result: QuenchAnalysis, spins: SpinAnalysis | None
) -> dict[str, Float[Array, "n_frames n_replicas"]]:
    """What is averaged, by name."""
    found = {
        "order_share": result.share,
        "order_parameter": np.abs(result.order_parameter),
        "neighbor_correlation": result.neighbor_correlation,
    }
    if ensemble.energies is not None:
        found["potential_energy"] = ensemble.energies / ensemble.lattice.n_sites
    if spins is not None:
        found |= {name: spin_numbers(spins, name) for name in SERIES}
    return found


def averaged_frames(
    times: Float[Array, "n_frames"], average: Span = None
) -> Bool[Array, "n_frames"]:
    """Which frames are averaged; the ends count, up to rounding errors of the times.

    Args:
        times: Time of each frame, ascending.
        average: First and last time of the frames. Default: the last half of the time.

    Returns:
        True for the frames between these times.

    Raises:
        InputError: If there is none.
    """
    low, high = (times[-1] / 2, times[-1]) if average is None else average
    if not (np.isfinite([low, high]).all() and low <= high):
        raise InputError(
            f"average must be two ascending times, got [{low:g}, {high:g}]. Use [50,100]."
        )
    slack = 1e-9 * max(abs(low), abs(high))
    chosen = (times >= low - slack) & (times <= high + slack)
    if not chosen.any():
        raise InputError(
            f"average must contain a saved time, got [{low:g}, {high:g}]. The frames are from"
            f" t = {times[0]:g} to {times[-1]:g}."
        )
    return chosen
