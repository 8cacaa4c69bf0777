"""The growth law of a quench: a power law in a window that the data choose, or why there is none.

A growth exponent is a statement about a straight line in a plot of ln L against ln t. It is made
only where the data show such a line.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student

from lattgnn.analysis.growth import (
    GrowthFit,
    LocalSlope,
    check_window,
    growth_exponent,
    local_slope,
    usable_frames,
    why_no_fit,
)
from lattgnn.analysis.log_fits import (
    fit_line,
    jackknife_error,
    log_mean_samples,
    student_quantile,
)

Array = np.ndarray
# The shortest window, as a ratio of its last to its first time: half a decade.
MIN_RATIO = 10**0.5
# The fewest replicas: with two, Student's quantile is 12.7 and no interval says anything.
MIN_REPLICAS = 3
# The fewest frames in a window; a straight line and its curvature have three parameters.
MIN_FRAMES = 5
# A slope is called constant if it changes by less than this fraction of itself over the window.
MAX_DRIFT = 1 / 3
# The slope counts as changing where its drift over the window leaves the interval of this level ...
DRIFT_LEVEL = 0.99
# ... and is more than this fraction of the slope, which matters for data without noise only.
SMALL_DRIFT = 0.05


@dataclass(frozen=True, eq=False)
class GrowthLaw:
    """What a quench says about the growth of its domains.

    Attributes:
        slope: The local slope, which is always given.
        fit: The power law, or None where the data show none.
        reason: Why there is no fit, or what makes a fit in a given window doubtful; else "".
    """

    slope: LocalSlope
    fit: GrowthFit | None
    reason: str


def find_growth_law(
    times: Float[Array, "n_frames"],
    lengths: Float[Array, "n_frames n_replicas"],
    largest_length: float = np.inf,
    window: tuple[float, float] | None = None,
    level: float = 0.95,
) -> GrowthLaw:
    """Fit a power law in the longest late window with a constant local slope, if there is one.

    The window ends with the last frame before a domain is longer than `largest_length`. Its start
    moves to earlier frames as long as the slope is constant. The drift D of the slope over the
    window comes from a parabola in ln t. The search ends where D leaves its 99 % confidence
    interval around zero (and is more than a twentieth of the slope). Of the windows found so far,
    the longest one is taken that shows a power law:

    - there are at least 3 replicas;
    - the window spans half a decade of time and has 5 frames;
    - the slope is positive, its interval included;
    - D is known well enough. Its one-sided bound (95 %) is below a third of the exponent α, and
      below α² ln(t₂/t₁)/2, half of the drift of a logarithm L = a + b ln t. So a logarithm gives no
      exponent, and neither does a curve that is too noisy to show whether it is straight.

    Args:
        times: Time of each frame, ascending.
        lengths: Domain length of each frame and replica, units a. NaN where there is no order yet,
            infinite for a single domain.
        largest_length: Length above which the finite size of the lattice matters, units a.
        window: First and last time of the fit. None chooses the window as above. In a given window
            the exponent is returned wherever a line can be fitted, and `reason` says what speaks
            against it.
        level: Confidence level.

    Returns:
        The local slope, and the fit or the reason why there is none.

    Raises:
        InputError: If a window is given that is not two finite, ascending times, or lies outside
            the run.

    Example:
        >>> times = np.geomspace(1, 1000, 61)
        >>> lengths = np.outer(np.sqrt(times), [0.98, 1.0, 1.02])
        >>> law = find_growth_law(times, lengths)
        >>> print(f"{law.fit.exponent:.2f}", law.reason == "")
        0.50 True
        >>> print(find_growth_law(times, lengths[:, :1]).reason)
        Too few replicas: an interval needs at least 3 independent ones, and there is 1.
    """
    slope = local_slope(times, lengths, level=level)
    if window is not None:
        return _law_in(window, times, lengths, slope)
    free = _before_saturation(times, lengths, largest_length)
    reason = _too_short(times, free, lengths, largest_length)
    if reason:
        return GrowthLaw(slope, None, reason)
    log_t, samples = np.log(times[free]), log_mean_samples(lengths[free])
    start = _constant_from(log_t, samples, level)
    if start is None:
        return GrowthLaw(slope, None, _not_straight(times[free], samples))
    chosen = (float(times[free][start]), float(times[free][-1]))
    fit = growth_exponent(times, lengths, chosen, level)
    doubts = _doubts(fit)
    return GrowthLaw(slope, None if doubts else fit, doubts)


def _law_in(
    window: tuple[float, float], times: Array, lengths: Array, slope: LocalSlope
) -> GrowthLaw:
    """The fit in a given window with what speaks against it, or why there can be no fit."""
    check_window(window, times)
    reason = why_no_fit(times, lengths, window)
    if reason:
        return GrowthLaw(slope, None, reason)
    fit = growth_exponent(times, lengths, window, slope.level)
    return GrowthLaw(slope, fit, _doubts(fit))


def _before_saturation(times: Array, lengths: Array, largest: float) -> Bool[Array, "n_frames"]:
    """The last unbroken row of usable frames before the first one with a domain that is too long.

    Earlier frames, from before the order was there for good, do not count.
    """
    too_long = (times > 0) & (lengths > largest).any(axis=1)
    kept = usable_frames(times, lengths) & ~np.logical_or.accumulate(too_long)
    if kept.any():
        last = int(np.flatnonzero(kept)[-1])
        gaps = np.flatnonzero(~kept[:last])
        kept[: gaps[-1] if len(gaps) else 0] = False
    return kept


def _too_short(times: Array, free: Array, lengths: Array, largest: float) -> str:
    """Why no window exists at all, or ""."""
    if lengths.shape[1] < MIN_REPLICAS:
        return _few_replicas(lengths.shape[1])
    until = ""
    if (lengths[times > 0] > largest).any():
        until = f" before L exceeds {largest:.3g} a, where the finite size of the lattice matters"
    if not free.any():
        return f"No frame has domains of the order in every replica{until}."
    first, last = times[free][0], times[free][-1]
    if free.sum() < MIN_FRAMES or last < MIN_RATIO * first:
        return (
            f"Too short: domains can be measured in {int(free.sum())} frames from t = {first:.4g} "
            f"to {last:.4g}{until}. A fit needs {MIN_FRAMES} frames and half a decade of time."
        )
    return ""


def _constant_from(log_t: Array, samples: Array, level: float) -> int | None:
    """First frame of the window that `find_growth_law` chooses, or None.

    Without a window whose drift is known well enough, it is that of the longest window in which the
    slope is constant within its error; `_doubts` then finds what speaks against it.
    """
    longest = known = None
    for start in range(len(log_t) - MIN_FRAMES, -1, -1):
        span = float(log_t[-1] - log_t[start])
        if span < np.log(MIN_RATIO) - 1e-9:
            continue
        slopes, _, drifts = fit_line(log_t[start:], samples[start:])
        error, n = jackknife_error(drifts), samples.shape[1] - 1
        noise = student_quantile(DRIFT_LEVEL, n) * error
        if abs(drifts[0]) > max(noise, SMALL_DRIFT * abs(slopes[0])):
            break
        longest = start
        if _drift_bound(drifts[0], error, n, level) <= _allowed_drift(slopes[0], span):
            known = start
    return longest if known is None else known


def _allowed_drift(slope: float, span: float) -> float:
    """Largest change of the slope over a span of ln t in a curve that is called a power law.

    The slope of a logarithm L = a + b ln t changes by −slope² per unit of ln t. Half of that is
    nearer to a power law than to a logarithm.
    """
    return float(min(abs(slope) * MAX_DRIFT, 0.5 * slope**2 * span))


def _drift_bound(drift: float, error: float, n: int, level: float) -> float:
    """One-sided bound of |drift|, as in a test of equivalence."""
    return float(abs(drift) + student.ppf(level, n - 1) * error)


def _not_straight(times: Array, samples: Array) -> str:
    """The reason given where even the shortest late window is curved."""
    log_t = np.log(times)
    late = log_t >= log_t[-1] - np.log(MIN_RATIO) - 1e-9
    slopes, _, drifts = fit_line(log_t[late], samples[late])
    return (
        f"Not a power law: in the last half decade before t = {times[-1]:.4g} the local slope is "
        f"{slopes[0]:.3f} and changes by {drifts[0]:+.3f}, which is more than its error."
    )


def _doubts(fit: GrowthFit) -> str:
    """What speaks against a fit, or ""."""
    n = fit.n_replicas
    if n < MIN_REPLICAS:
        return _few_replicas(n)
    window = f"from t = {fit.window[0]:.4g} to {fit.window[1]:.4g}"
    if fit.interval[0] <= 0:
        return (
            f"No growth: {window} the slope is {fit.exponent:.3f}, and its interval "
            f"[{fit.interval[0]:.3f}, {fit.interval[1]:.3f}] contains zero."
        )
    allowed = _allowed_drift(fit.exponent, float(np.log(fit.window[1] / fit.window[0])))
    error = fit.drift_error / student_quantile(fit.level, n)
    bound = _drift_bound(fit.drift, error, n, fit.level)
    if bound <= allowed:
        return ""
    if abs(fit.drift) > fit.drift_error:
        return (
            f"Not a power law: {window} the local slope changes by {fit.drift:+.3f} ± "
            f"{fit.drift_error:.3f} around {fit.exponent:.3f}."
        )
    return (
        f"Too noisy to tell whether the curve is straight: {window} the local slope is "
        f"{fit.exponent:.3f} and may change by {bound:.3f}, which must be below {allowed:.3f} to "
        "exclude a crossover or a logarithm. Use more replicas, a larger lattice or a longer run."
    )


def _few_replicas(n: int) -> str:
    there = "there is 1" if n == 1 else f"there are {n}"
    return (
        f"Too few replicas: an interval needs at least {MIN_REPLICAS} independent ones, and "
        f"{there}."
    )
