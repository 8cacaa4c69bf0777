"""Growth of domains: the exponent in a window of times, and the local slope as a curve.

All errors are jackknife errors over replicas, see `lattgnn.analysis.log_fits`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lattgnn.analysis.log_fits import (
    fit_line,
    jackknife_error,
    log_mean_samples,
    student_quantile,
)
from lattgnn.errors import InputError

Array = np.ndarray
# Ratio of times over which a local slope is fitted: half a decade.
SLOPE_RATIO = 10**0.5


@dataclass(frozen=True)
class GrowthFit:
    """Fit of L = prefactor · t^exponent in a window of times.

    Attributes:
        exponent: Slope of ln⟨L⟩ against ln t, where every decade of time has the same weight.
        interval: Lower and upper end of the confidence interval of the exponent, the choice of the
            window included; NaN for fewer than two replicas.
        prefactor: L at t = 1, units a.
        window: First and last time of the fit.
        level: Confidence level of the intervals.
        n_frames: Number of frames in the window.
        n_replicas: Number of independent runs.
        statistical_error: Half width of the confidence interval for this window alone.
        window_error: Part of the half width that comes from the choice of the window.
        drift: Change of the slope from the first to the last time of the window, from a parabola.
        drift_error: Half width of the confidence interval of the drift.
        sensitivity: Exponent elsewhere, by name: in the early half, in the late half and in the
            middle of the window (without its first and last quarter), all in ln t, and the slope at
            its last time, from a parabola.
    """

    exponent: float
    interval: tuple[float, float]
    prefactor: float
    window: tuple[float, float]
    level: float
    n_frames: int
    n_replicas: int
    statistical_error: float
    window_error: float
    drift: float
    drift_error: float
    sensitivity: dict[str, float]

    def __call__(self, times: Float[Array, "n"]) -> Float[Array, "n"]:
        """Evaluate the fit at the given times."""
        return self.prefactor * times**self.exponent


@dataclass(frozen=True, eq=False)
class LocalSlope:
    """The local slope d ln L / d ln t as a curve.

    Attributes:
        times: Time in the middle (in ln t) of the frames of each fit.
        slope: Slope of ln⟨L⟩ against ln t within half of `ratio` to either side.
        error: Half width of the confidence interval of the slope; NaN for one replica.
        ratio: Ratio of the last to the first time of each local fit.
        level: Confidence level of the intervals.
    """

    times: Float[Array, "n"]
    slope: Float[Array, "n"]
    error: Float[Array, "n"]
    ratio: float
    level: float


def growth_exponent(
    times: Float[Array, "n_frames"],
    lengths: Float[Array, "n_frames n_replicas"],
    window: tuple[float, float],
    level: float = 0.95,
) -> GrowthFit:
    """Growth exponent α of L ~ t^α by least squares of ln ⟨L⟩ against ln t in a given window.

    ⟨L⟩ is the mean over replicas. A frame has the weight of the piece of ln t that it stands for,
    so that the result does not depend on the schedule of the frames. The half width of the interval
    is √(e² + w²). The statistical part is e = t_{n−1} s with Student's quantile and the jackknife
    error s over the n replicas. The part of the window is the largest w = |α' − α| of the exponents
    α' in the early half, the late half and the middle of the window, after the square of the
    jackknife error of α' − α is subtracted from w², because noise alone makes α' differ from α.

    Args:
        times: Time of each frame, ascending.
        lengths: Domain length of each frame and replica, units a.
        window: First and last time of the fit.
        level: Confidence level.

    Returns:
        The fit. Its interval is NaN for a single replica.

    Raises:
        InputError: If the window is not two finite, ascending times, or has fewer than three
            frames, or a length in it is not finite and positive.

    Example:
        >>> times = np.geomspace(1, 100, 20)
        >>> fit = growth_exponent(times, 2.0 * np.sqrt(times)[:, None], window=(1, 100))
        >>> print(f"{fit.exponent:.3f}, {fit.prefactor:.3f}")
        0.500, 2.000
    """
    check_window(window)
    reason = why_no_fit(times, lengths, window)
    if reason:
        raise InputError(f"{reason} Use another window.")
    inside = _frames_inside(times, window)
    log_t, samples = np.log(times[inside]), log_mean_samples(lengths[inside])
    quantile = student_quantile(level, lengths.shape[1])
    slopes, offsets, drifts = fit_line(log_t, samples)
    error = quantile * jackknife_error(slopes)
    sensitivity, window_error = _sensitivity(log_t, samples, slopes)
    half = float(np.hypot(error, window_error))
    return GrowthFit(
        exponent=float(slopes[0]),
        interval=(float(slopes[0] - half), float(slopes[0] + half)),
        prefactor=float(np.exp(offsets[0])),
        window=(float(times[inside][0]), float(times[inside][-1])),
        level=level,
        n_frames=int(inside.sum()),
        n_replicas=lengths.shape[1],
        statistical_error=float(error),
        window_error=window_error,
        drift=float(drifts[0]),
        drift_error=float(quantile * jackknife_error(drifts)),
        sensitivity=sensitivity,
    )


def check_window(
    window: tuple[float, float], times: Float[Array, "n_frames"] | None = None
) -> None:
    """Refuse a window that is not two finite, ascending times, or lies outside a run.

    Args:
        window: First and last time.
        times: Time of each frame, ascending. Without it, any times are accepted.

    Raises:
        InputError: If it is not.

    Example:
        >>> check_window((10.0, 100.0))
    """
    if not 0 <= window[0] < window[1] < np.inf:
        raise InputError(
            f"window must be two ascending times, finite and not negative, got {window!r}. Use "
            "(10, 100)."
        )
    if times is not None and (window[0] > times[-1] or window[1] < times[0]):
        raise InputError(
            f"window must overlap with the run, got {window!r}. The frames are from"
            f" t = {times[0]:g} to {times[-1]:g}."
        )


def why_no_fit(
    times: Float[Array, "n_frames"],
    lengths: Float[Array, "n_frames n_replicas"],
    window: tuple[float, float],
) -> str:
    """Say why no line can be fitted to ln ⟨L⟩ against ln t in a window.

    Args:
        times: Time of each frame, ascending.
        lengths: Domain length of each frame and replica.
        window: First and last time.

    Returns:
        The reason, or "" if there is none.

    Example:
        >>> times = np.array([0.0, 1.0, 2.0, 3.0])
        >>> print(why_no_fit(times, times[:, None], (1.0, 2.0)))
        No fit from t = 1 to 2: it needs at least 3 frames with t > 0, and the window contains 2.
    """
    inside = _frames_inside(times, window)
    n, usable = int(inside.sum()), int(usable_frames(times, lengths)[inside].sum())
    start = f"No fit from t = {window[0]:.4g} to {window[1]:.4g}:"
    if n < 3:
        return f"{start} it needs at least 3 frames with t > 0, and the window contains {n}."
    if usable < n:
        return (
            f"{start} every replica must have a length in each of the {n} frames, and does in "
            f"{usable}. Before there is order, and in a single domain, there is no length."
        )
    return ""


def _frames_inside(times: Array, window: tuple[float, float]) -> Bool[Array, "n_frames"]:
    return (times >= window[0]) & (times <= window[1]) & (times > 0)


def local_slope(
    times: Float[Array, "n_frames"],
    lengths: Float[Array, "n_frames n_replicas"],
    ratio: float = SLOPE_RATIO,
    level: float = 0.95,
) -> LocalSlope:
    """Local slope d ln⟨L⟩ / d ln t, by a straight line through the frames around each frame.

    Args:
        times: Time of each frame, ascending.
        lengths: Domain length of each frame and replica, units a. Frames where it is not finite
            and positive in every replica, or t = 0, are left out.
        ratio: Ratio of the last to the first time of each local fit. Fits that would reach beyond
            the first or the last frame, or have fewer than three frames, are left out.
        level: Confidence level.

    Returns:
        The slope with its jackknife error over replicas times Student's quantile.

    Example:
        >>> times = np.geomspace(1, 100, 41)
        >>> curve = local_slope(times, np.cbrt(times)[:, None])
        >>> print(curve.slope.round(3).min(), curve.slope.round(3).max())
        0.333 0.333
    """
    kept = usable_frames(times, lengths)
    log_t, samples = np.log(times[kept]), log_mean_samples(lengths[kept])
    quantile = student_quantile(level, lengths.shape[1])
    found = []
    for middle in log_t:
        # The margin keeps frames at exactly half the ratio, whose logarithm is rounded.
        near = np.abs(log_t - middle) <= 0.5 * np.log(ratio) * (1 + 1e-9) + 1e-12
        whole = log_t[0] - 1e-9 <= middle - 0.5 * np.log(ratio)
        whole &= middle + 0.5 * np.log(ratio) <= log_t[-1] + 1e-9
        if whole and near.sum() >= 3:
            slopes, _, _ = fit_line(log_t[near], samples[near])
            found.append((np.exp(middle), slopes[0], quantile * jackknife_error(slopes)))
    columns = np.array(found).reshape(-1, 3).T
    return LocalSlope(columns[0], columns[1], columns[2], ratio, level)


def usable_frames(
    times: Float[Array, "n_frames"], lengths: Float[Array, "n_frames n_replicas"]
) -> Bool[Array, "n_frames"]:
    """Frames after t = 0 in which every replica has a finite, positive length.

    Args:
        times: Time of each frame.
        lengths: Domain length of each frame and replica.

    Returns:
        Whether each frame can be drawn in a plot of ln L against ln t.

    Example:
        >>> usable_frames(np.array([0.0, 1.0, 2.0]), np.array([[1.0], [2.0], [np.nan]]))
        array([False,  True, False])
    """
    return (times > 0) & (np.isfinite(lengths) & (lengths > 0)).all(axis=1)


def _sensitivity(log_t: Array, samples: Array, slopes: Array) -> tuple[dict[str, float], float]:
    """Exponents in parts of the window, and how far they lie from the whole beyond their noise."""
    first, last = log_t[0], log_t[-1]
    quarter = (last - first) / 4
    parts = {
        "early half": (first, first + 2 * quarter),
        "late half": (last - 2 * quarter, last),
        "middle": (first + quarter, last - quarter),
    }
    drifts = fit_line(log_t, samples)[2]
    candidates = {"last time": slopes + 0.5 * drifts}
    for name, (start, end) in parts.items():
        inside = (log_t >= start - 1e-9) & (log_t <= end + 1e-9)
        if inside.sum() >= 3:
            candidates[name] = fit_line(log_t[inside], samples[inside])[0]
    exponents, beyond = {}, 0.0
    for name, found in candidates.items():
        exponents[name] = float(found[0])
        noise = jackknife_error(found - slopes)
        excess = (found[0] - slopes[0]) ** 2 - (noise**2 if np.isfinite(noise) else 0.0)
        beyond = max(beyond, float(excess))
    return exponents, beyond**0.5
