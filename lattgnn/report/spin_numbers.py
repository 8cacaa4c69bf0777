"""The magnetic numbers of runs of spins: of one system for its report, of several side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from lattgnn.analysis import SpinAnalysis
from lattgnn.report.page import Table
from lattgnn.report.quench_numbers import mean_and_error, with_error

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
    "vector_chirality_strength": (
        "κ_rms",
        "root of the mean of the square of 2/(3√3) (S_1×S_2 + S_2×S_3 + S_3×S_1) over triangles; "
        "elementary triangles only, where there are some",
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
    "parallel_share": (
        "f_↑↑",
        "share of sites whose mean of S_i·S_j over nearest neighbors j is above 1/2",
        "1",
    ),
    "antiparallel_share": ("f_↑↓", "share of sites whose mean is below −1/2", "1"),
    "intermediate_share": ("f_0", "share of the other sites, such as boundaries of phases", "1"),
    "alignment_length": (
        "L of alignment",
        "first distance at which the correlation of this mean, less its average over sites, has "
        "fallen to one half",
        "a",
    ),
    "alignment_histogram": (
        "P(A)",
        "share of sites by A, the mean of S_i·S_j over nearest neighbors j; mean over replicas",
        "1",
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
    "star_weight": ("Σ w", "sum of the weights w of the arms, which are shares of Σ|S_i|²", "1"),
    "spin_structure_factor": ("S^c(q)", "|Σ_i S_i^c exp(−iq·r_i)|²/N, mean over replicas", "1"),
    "spin_wavevector": ("q", "wavevectors of S^c(q)", "1/a"),
}
# Those of one number per frame and replica.
SERIES = (
    *("magnetization", "scalar_chirality", "chirality_strength", "vector_chirality"),
    *("vector_chirality_strength", "topological_charge", "vortices", "skyrmions"),
    *("skyrmion_radius", "effective_arms", "star_weight", "chirality_length"),
    *("parallel_share", "antiparallel_share", "intermediate_share", "alignment_length"),
)
# Without a field or spin–orbit coupling both signs are equally likely, so replicas would cancel.
EITHER_SIGN = ("scalar_chirality", "topological_charge")


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
        metrics |= mean_and_error(f"final_{name}", spin_numbers(result, name)[-1])
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


def spin_series(result: SpinAnalysis, name: str) -> Float[Array, "n_frames n_replicas"]:
    """One of the observables in `SERIES`.

    Args:
        result: What `analyze_spin_runs` returned.
        name: Its name.
    """
    if name == "effective_arms":
        return result.n_q
    if name == "star_weight":
        return result.arm_weights.sum(axis=-1)
    return getattr(result, name)


def spin_numbers(result: SpinAnalysis, name: str) -> Float[Array, "n_frames n_replicas"]:
    """One of the observables in `SERIES` as its mean over replicas takes it.

    Args:
        result: What `analyze_spin_runs` returned.
        name: Its name.

    Returns:
        The modulus of those that may have either sign; NaN for a length that is not known because
        one domain fills the lattice.
    """
    values = spin_series(result, name)
    if name in EITHER_SIGN:
        values = np.abs(values)
    return np.where(np.isinf(values), np.nan, values)


def spin_table(result: SpinAnalysis) -> Table:
    """The magnetic numbers of the last frame.

    Args:
        result: What `analyze_spin_runs` returned.
    """
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
    return Table(("quantity", "value", "unit", "definition"), rows, caption)


def magnetic_systems_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """The magnetic numbers of several systems, one row for each.

    Args:
        metrics: Contents of metrics.json by name of the system.

    Returns:
        The table, or None if no system has spins in two dimensions.
    """
    rows = []
    for name, numbers in metrics.items():
        if "final_magnetization" not in numbers:
            continue
        cells = []
        for key in SERIES:
            value, error = numbers.get(f"final_{key}"), numbers.get(f"final_{key}_error")
            cells.append(with_error(value, error))
        rows.append((name, *cells, _arms(numbers["final_arm_wavevectors"])))
    if not rows:
        return None
    caption = (
        "Last frame, mean over replicas ± standard error; of χ and of the topological charge the "
        "mean of their moduli. Σ w is the share of Σ|S_i|² in the strongest star of wavevectors "
        "±Q, in π/a, and n_Q its effective number of arms. The page of each system has the "
        "definitions."
    )
    symbols = [DEFINITIONS[key][0] for key in SERIES]
    return Table(("system", *symbols, "Q"), rows, caption)


def _arms(wavevectors: Sequence[Sequence[float]]) -> str:
    texts = []
    for q in wavevectors:
        texts.append("(" + ", ".join(f"{x / np.pi + 0.0:.3g}" for x in q) + ")")
    return ", ".join(texts).replace("-", "\u2212")
