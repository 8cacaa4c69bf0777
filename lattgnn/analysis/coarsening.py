"""Growth of domains: their length, from C(r) and from S(q), and the exponent of its growth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from lattgnn.analysis.structure_factor import Wavevector, wavevectors
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice


def domain_length(
    distances: Float[np.ndarray, "n_shells"],
    correlation: Float[np.ndarray, "*batch n_shells"],
    fraction: float = 0.5,
) -> Float[np.ndarray, "*batch"]:
    """Domain length from the correlation of the staggered field: the first r with C(r)/C(0) = fraction.

    C is interpolated linearly between the two shells that bracket the crossing.

    Args:
        distances: shell distances, first 0, units a.
        correlation: C(r) of `radial_correlation`.
        fraction: level of the crossing, between 0 and 1.

    Returns:
        L in units a; NaN where C never falls below the level (one domain has taken the lattice).

    Raises:
        ValueError: fraction not between 0 and 1.
    """
    if not 0.0 < fraction < 1.0:
        raise InputError(f"fraction must be between 0 and 1, got {fraction!r}. Use 0.5.")
    ratio = correlation / correlation[..., :1]
    below = ratio < fraction
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
    S ~ k^−(d+1) (Porod), of which the lattice cuts the tail: p = 1 grows with the logarithm of that cut-off,
    p = 2 in proportion to it. Thermal noise is a flat background; max_wavenumber leaves most of it out.

    Args:
        structure: S(q) with the same center.
        lattice: its geometry.
        center: ordering wavevector, units 1/a, e.g. (π, π); the origin for a staggered field.
        moment: p, 1 or 2.
        max_wavenumber: largest k, units 1/a; the whole zone if not given.

    Returns:
        L in units a; infinite for a single perfect domain.

    Raises:
        ValueError: another moment.
    """
    if moment not in (1, 2):
        raise InputError(
            f"moment must be 1 or 2, got {moment!r}. Use 1, which converges for sharp walls."
        )
    origin = np.zeros(lattice.dim) if center is None else np.asarray(center, dtype=np.float64)
    k = np.linalg.norm(wavevectors(lattice, center) - origin, axis=-1)
    weights = structure * (k <= (np.inf if max_wavenumber is None else max_wavenumber))
    axes = tuple(range(-lattice.dim, 0))
    with np.errstate(divide="ignore"):
        mean = (k**moment * weights).sum(axes) / weights.sum(axes)
        return np.asarray(2 * np.pi / mean ** (1.0 / moment))


@dataclass(frozen=True)
class GrowthFit:
    """Fit of L = prefactor · t^exponent.

    Attributes:
        exponent: slope of log L against log t.
        interval: lower and upper end for the exponent; NaN with one replica.
        prefactor: L at t = 1.
        window: first and last time fitted.
        level: confidence level of the interval.
        n_frames: frames in the window.
        n_replicas: independent runs.
    """

    exponent: float
    interval: tuple[float, float]
    prefactor: float
    window: tuple[float, float]
    level: float
    n_frames: int
    n_replicas: int

    def __call__(self, times: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """Fitted length at the given times."""
        return self.prefactor * times**self.exponent


def growth_exponent(
    times: Float[np.ndarray, "n_frames"],
    lengths: Float[np.ndarray, "n_frames n_replicas"],
    window: tuple[float, float],
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> GrowthFit:
    """Growth exponent α of L ~ t^α: least squares of log ⟨L⟩ on log t, ⟨·⟩ over replicas.

    The interval is α ± t_{n−1} s √(n/(n−1)), with s the standard deviation of α over bootstrap samples of
    whole replicas (frames of one run are not independent) and t Student's quantile: a plain percentile
    interval is too short for the few replicas that one can afford. All frames weigh alike.

    Args:
        times: time of each frame, ascending, log-spaced for even weight over decades.
        lengths: domain length of each frame and replica, units a.
        window: first and last time of the fit.
        level: confidence level.
        n_resamples: bootstrap samples.
        seed: of the resampling.

    Returns:
        The fit; its interval is NaN with fewer than two replicas.

    Raises:
        ValueError: fewer than three frames in the window, or a length there that is not finite and positive.
    """
    inside = (times >= window[0]) & (times <= window[1]) & (times > 0)
    if inside.sum() < 3:
        raise InputError(
            f"window must hold at least 3 frames with t > 0, got {int(inside.sum())} in {window!r}. Widen it."
        )
    if not (np.isfinite(lengths[inside]).all() and (lengths[inside] > 0).all()):
        raise InputError(
            f"lengths must be finite and positive in the window, got {window!r} where a run has "
            "a single domain. End it earlier."
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
