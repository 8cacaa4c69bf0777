"""Growth of domains: their length, from C(r) or from S(q), and its growth exponent."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from lattgnn.analysis.structure_factor import Wavevector, wavenumbers
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.lattice.reduction import LENGTH_TOLERANCE


def domain_length(
    distances: Float[np.ndarray, "n_shells"],
    correlation: Float[np.ndarray, "*batch n_shells"],
    fraction: float = 0.5,
) -> Float[np.ndarray, "*batch"]:
    """Domain length from the correlation of the staggered field: C(L)/C(0) = fraction.

    L is the first such distance. C is interpolated linearly between the two shells around it.

    Args:
        distances: Distance of each shell, starting at 0, units a.
        correlation: C(r) as returned by `radial_correlation`.
        fraction: Value of C(r)/C(0) at the crossing, between 0 and 1.

    Returns:
        L in units a; NaN where C stays above the value because one domain fills the lattice, and
        where the field is zero.

    Raises:
        InputError: If fraction is not between 0 and 1.
    """
    if not 0.0 < fraction < 1.0:
        raise InputError(f"fraction must be between 0 and 1, got {fraction!r}. Use 0.5.")
    zero = correlation[..., :1]
    ratio = np.where(zero > 0, correlation, np.nan) / np.where(zero > 0, zero, 1.0)
    below = ratio < fraction  # never true for NaN
    # argmax of booleans is the first True, or 0 if there is none; those rows become NaN at the end.
    after = np.argmax(below, axis=-1)[..., None]
    before = np.maximum(after - 1, 0)
    high, low = np.take_along_axis(ratio, before, -1), np.take_along_axis(ratio, after, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = (high - fraction) / (high - low)
        length = distances[before] + weight * (distances[after] - distances[before])
    return np.where(below.any(axis=-1), length[..., 0], np.nan)


def structure_factor_length(
    structure: Float[np.ndarray, "*batch_and_extent"],
    lattice: Lattice,
    center: Wavevector | None = None,
    moment: int = 1,
    max_wavenumber: float | None = None,
) -> Float[np.ndarray, "*batch"]:
    """Domain length from the width of the ordering peak: L = 2π / ⟨k^p⟩^(1/p), k = |q − center|.

    ⟨k^p⟩ = Σ_q k^p S(q) / Σ_q S(q), over the wavevectors with k ≤ max_wavenumber. Sharp walls give
    S ~ k^−(d+1) (Porod's law), with a tail that is cut off at the zone boundary: ⟨k⟩ depends on
    this cutoff logarithmically, ⟨k²⟩ linearly. Thermal noise adds a flat background; max_wavenumber
    excludes most of it.

    Args:
        structure: S(q) as returned by `structure_factor` with the same center.
        lattice: The lattice of the field.
        center: Ordering wavevector such as (π, π), units 1/a. Default: the origin, for a staggered
            field.
        moment: The power p, 1 or 2.
        max_wavenumber: Largest k, units 1/a. Default: the whole zone.

    Returns:
        L in units a; infinite for a single perfect domain, NaN if S(q) vanishes for all k ≤
        max_wavenumber.

    Raises:
        InputError: If moment is neither 1 nor 2.
    """
    if moment not in (1, 2):
        raise InputError(
            f"moment must be 1 or 2, got {moment!r}. Use 1, which converges for sharp walls."
        )
    k = wavenumbers(lattice, center)
    limit = np.inf if max_wavenumber is None else max_wavenumber * (1 + LENGTH_TOLERANCE)
    weights = structure * (k <= limit)
    axes = tuple(range(-lattice.dim, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (k**moment * weights).sum(axes) / weights.sum(axes)
        return np.asarray(2 * np.pi / mean ** (1.0 / moment))


@dataclass(frozen=True)
class GrowthFit:
    """Fit of L = prefactor · t^exponent.

    Attributes:
        exponent: Slope of log L against log t.
        interval: Lower and upper end of the confidence interval of the exponent; NaN for one
            replica.
        prefactor: L at t = 1, units a.
        window: First and last time of the fit.
        level: Confidence level of the interval.
        n_frames: Number of frames in the window.
        n_replicas: Number of independent runs.
    """

    exponent: float
    interval: tuple[float, float]
    prefactor: float
    window: tuple[float, float]
    level: float
    n_frames: int
    n_replicas: int

    def __call__(self, times: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """Evaluate the fit at the given times."""
        return self.prefactor * times**self.exponent


def growth_exponent(
    times: Float[np.ndarray, "n_frames"],
    lengths: Float[np.ndarray, "n_frames n_replicas"],
    window: tuple[float, float],
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> GrowthFit:
    """Growth exponent α of L ~ t^α by least squares of log ⟨L⟩ against log t.

    ⟨L⟩ is the mean over replicas, and all frames have equal weight. The confidence interval is
    α ± t_{n−1} s √(n/(n−1)), where t is Student's quantile and s the standard deviation of α over
    bootstrap samples of whole replicas, because frames of one run are not independent. For a few
    replicas, an interval from the percentiles of the samples would be too short.

    Args:
        times: Time of each frame, ascending; spaced evenly in log t, every decade has the same
            weight.
        lengths: Domain length of each frame and replica, units a.
        window: First and last time of the fit.
        level: Confidence level.
        n_resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        The fit. Its interval is NaN for a single replica.

    Raises:
        InputError: If the window is not ascending or has fewer than three frames, or a length in it
            is not finite and positive.

    Example:
        >>> times = np.geomspace(1, 100, 20)
        >>> fit = growth_exponent(times, 2.0 * np.sqrt(times)[:, None], window=(1, 100))
        >>> print(f"{fit.exponent:.3f}, {fit.prefactor:.3f}")
        0.500, 2.000
    """
    if not 0 <= window[0] < window[1]:
        raise InputError(f"window must be two ascending times, got {window!r}. Use (10, 100).")
    inside = (times >= window[0]) & (times <= window[1]) & (times > 0)
    if inside.sum() < 3:
        raise InputError(
            f"window must contain at least 3 frames with t > 0, got {int(inside.sum())} in "
            f"{window!r}. Widen it."
        )
    if not (np.isfinite(lengths[inside]).all() and (lengths[inside] > 0).all()):
        raise InputError(
            f"lengths must be finite and positive in the window, got {window!r}, where a run has "
            "a single domain. Use a window that ends earlier."
        )
    log_t, chosen = np.log(times[inside]), lengths[inside]
    slope, offset = np.polyfit(log_t, np.log(chosen.mean(axis=1)), 1)
    n = chosen.shape[1]
    interval = (float("nan"), float("nan"))
    if n > 1:
        draws = np.random.default_rng(seed).integers(n, size=(n_resamples, n))
        samples = np.log(chosen[:, draws].mean(axis=-1))
        spread = np.polyfit(log_t, samples, 1)[0].std() * np.sqrt(n / (n - 1))
        half = float(student.ppf(0.5 + level / 2, n - 1) * spread)
        interval = (float(slope) - half, float(slope) + half)
    ends = (float(times[inside][0]), float(times[inside][-1]))
    return GrowthFit(
        float(slope), interval, float(np.exp(offset)), ends, level, int(inside.sum()), n
    )
