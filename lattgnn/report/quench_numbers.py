"""The numbers of a quench report, each with its error, as tables and as metrics.json."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from lattgnn.analysis import QuenchAnalysis
from lattgnn.analysis.correlations import shortest_side
from lattgnn.analysis.order import PRESENT
from lattgnn.dynamics import Trajectory
from lattgnn.report.ensemble import Ensemble, as_ensemble
from lattgnn.report.page import Table, format_value

Array = np.ndarray
# Names of the two lengths in metrics.json.
KEYS = {"C(r)": "from_correlation", "S(q)": "from_structure_factor"}


def quench_metrics(runs: Trajectory | Ensemble, result: QuenchAnalysis) -> dict[str, Any]:
    """Collect the numbers of metrics.json.

    Args:
        runs: The run, or several runs of one system.
        result: What `analyze_trajectory` returned for it.

    Returns:
        Plain JSON types; None for a number that does not exist. Names that end in `_error` are
        standard errors over replicas.
    """
    ensemble = as_ensemble(runs)
    metrics: dict[str, Any] = {
        "n_sites": ensemble.lattice.n_sites,
        "n_runs": len(ensemble.runs),
        "n_replicas": ensemble.n_replicas,
        "n_frames": len(result.times),
        "final_step": int(ensemble.steps[-1]),
        "final_time": float(result.times[-1]),
        "order": str(result.order) if result.is_ordered else f"none ({result.order} is not there)",
        "ordering_wavevector": result.order.center.tolist(),
    }
    finals = {
        "final_order_parameter": np.abs(result.order_parameter[-1]),
        "final_order_share": result.share[-1],
        "final_neighbor_correlation": result.neighbor_correlation[-1],
    }
    for name, values in finals.items():
        metrics |= mean_and_error(name, values)
    return metrics | _growth(result) | _thermal(ensemble)


def summary_table(ensemble: Ensemble, result: QuenchAnalysis) -> Table:
    """The main numbers with their standard errors and units.

    Args:
        ensemble: The runs.
        result: Their analysis.

    Returns:
        The table.
    """
    numbers = quench_metrics(ensemble, result)
    rows: list[tuple[str, str, str]] = [
        ("sites", format_value(numbers["n_sites"]), ""),
        ("runs", format_value(numbers["n_runs"]), ""),
        ("replicas", format_value(numbers["n_replicas"]), ""),
        ("frames", format_value(numbers["n_frames"]), ""),
        ("final time t", format_value(numbers["final_time"]), "ħ/t_hop"),
        ("order in the last frame", numbers["order"], ""),
    ]
    names = {
        "final_order_share": ("share of this pattern", ""),
        "final_order_parameter": ("order parameter |m|", "unit of the field"),
        "final_neighbor_correlation": ("C(1)/C(0) of nearest neighbors", ""),
        "final_length_from_correlation": ("L from C(r)", "a"),
        "final_length_from_structure_factor": ("L from S(q)", "a"),
        "kinetic_temperature": ("kinetic temperature, last half of the time", "t_hop"),
        "bath_temperature": ("temperature of the bath at the end", "t_hop"),
        "thermalized_from": ("kinetic temperature is that of the bath from t =", "ħ/t_hop"),
        "final_potential_energy": ("potential energy per site", "t_hop"),
        "final_kinetic_energy": ("kinetic energy per site", "t_hop"),
    }
    for key, (name, unit) in names.items():
        if key in numbers:
            rows.append((name, with_error(numbers[key], numbers.get(f"{key}_error")), unit))
    caption = (
        "Values are means over replicas in the last frame ± standard error over replicas, unless "
        "stated; the error of the kinetic temperature of fewer than three replicas is its sampling "
        "error. A dash means that the number does not exist. All quantities are defined below."
    )
    return Table(("quantity", "value", "unit"), rows, caption)


def with_error(value: Any, error: Any) -> str:
    """Text of a value ± its error, rounded to two digits of the error.

    Args:
        value: A number, several numbers, or None.
        error: Its error, as many, or None.

    Returns:
        The text, such as 3.135 ± 0.042.
    """
    if isinstance(value, list):
        return ", ".join(with_error(v, e) for v, e in zip(value, error, strict=True))
    if value is None or not error:
        return format_value(value)
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}".replace("-", "\u2212")


def order_table(result: QuenchAnalysis) -> Table:
    """Which patterns the last frame has.

    Args:
        result: The analysis.

    Returns:
        The table.
    """
    rows = [
        (str(order), share, "yes" if share >= PRESENT else "no")
        for order, share in result.candidates
    ]
    caption = (
        "Share of each pattern in the fluctuations of the last frame, mean over replicas: what the "
        "fifth of all wavevectors nearest to the pattern holds beyond white noise. It is about 0 "
        "for white noise and 1 for large domains; a pattern counts as present from ½ on. There are "
        "no lengths and no growth law of a pattern that is not present."
    )
    return Table(("pattern", "share", "present"), rows, caption)


def growth_reasons(result: QuenchAnalysis) -> str:
    """In words: why a length has no growth exponent, or what speaks against it.

    Args:
        result: The analysis.

    Returns:
        One paragraph per length, or "".
    """
    found = [f"L from {name}. {law.reason}" for name, law in result.growth.items() if law.reason]
    return "\n\n".join(found).replace("-", "\u2212")


def growth_table(result: QuenchAnalysis) -> Table | None:
    """The growth exponents with their intervals and windows.

    Args:
        result: The analysis.

    Returns:
        The table, or None if there is no exponent.
    """
    parts = ("early half", "late half", "middle", "last time")
    columns = ("L from", "exponent", "95 % interval", "statistics", "window", "t", "frames")
    rows = []
    for name, fit in result.fits.items():
        interval, known = fit.interval, np.isfinite(fit.interval).all()
        cells = [
            name,
            fit.exponent,
            "{:.3f} to {:.3f}".format(*interval) if known else None,
            fit.statistical_error,
            fit.window_error,
            "{:.4g} to {:.4g}".format(*fit.window),
            fit.n_frames,
        ]
        rows.append((*cells, *[fit.sensitivity.get(part) for part in parts], fit.drift))
    caption = (
        "Exponent α of L ~ t^α. The half width of the interval is the root of the sum of squares "
        "of two parts: statistics (jackknife over replicas, Student's distribution) and the choice "
        "of the window, from the exponents in its parts, which are in the columns on the right "
        "(last time: slope at the end of the window, from a parabola). Drift: change of the slope "
        "over the window."
    )
    return Table((*columns, *parts, "drift"), rows, caption) if rows else None


def mean_and_error(name: str, values: Float[Array, "n_replicas"]) -> dict[str, float | None]:
    """Mean and standard error over replicas; None where they do not exist.

    Args:
        name: Name of the quantity.
        values: One value per replica.

    Returns:
        The mean as `name` and its standard error as `name_error`.
    """
    n = len(values)
    error = values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return {name: _finite(values.mean()), f"{name}_error": _finite(error)}


def _growth(result: QuenchAnalysis) -> dict[str, Any]:
    growth: dict[str, Any] = {}
    side = shortest_side(result.order.lattice)
    for name, lengths in result.lengths.items():
        key, last = KEYS[name], lengths[-1]
        has_domains = bool((last < side).all())  # False for NaN
        values = last if has_domains else np.full(len(last), np.nan)
        growth |= mean_and_error(f"final_length_{key}", values)
        law = result.growth[name]
        if law.fit is not None:
            growth[f"growth_exponent_{key}"] = law.fit.exponent
            growth[f"growth_interval_{key}"] = [_finite(x) for x in law.fit.interval]
            growth[f"growth_window_{key}"] = list(law.fit.window)
        if law.reason:
            growth[f"growth_reason_{key}"] = law.reason
    return growth


def _thermal(ensemble: Ensemble) -> dict[str, Any]:
    found: dict[str, Any] = {}
    energies = {"potential": ensemble.energies, "kinetic": ensemble.kinetic_energies}
    for name, values in energies.items():
        if values is not None:
            found |= mean_and_error(f"final_{name}_energy", values[-1] / ensemble.lattice.n_sites)
    thermal = ensemble.thermalization
    if thermal is None:
        return found | {"kinetic_temperature": None}
    mean, error = thermal.mean.tolist(), [_finite(x) for x in thermal.error]
    baths = [_finite(x) for x in thermal.bath[-1]]
    return found | {
        "kinetic_temperature": mean[0] if len(mean) == 1 else mean,
        "kinetic_temperature_error": error[0] if len(error) == 1 else error,
        "bath_temperature": baths[0] if len(set(baths)) == 1 else baths,
        "thermalized_from": _finite(thermal.time),
    }


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
