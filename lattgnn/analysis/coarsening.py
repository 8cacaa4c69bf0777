"""Length of domains, from C(r) or from S(q)."""

import numpy as np
from jaxtyping import Float

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
