r"""The Fermi function and the grand potential as sums over few poles on the imaginary axis.

    f(x) = ½ − Σ_p r_p x/(x² + w_p²) = ½ + Re Σ_p r_p/(i w_p − x)
    Ω(x) = −kT ln(1 + exp(−x/kT)) = x/2 − c − Im Σ_p s_p/(i v_p − x)

with x = e − μ. The exact poles of f are the Matsubara frequencies (2k + 1) π kT, of weight 2 kT.
There are infinitely many, and their sum converges slowly. A rational fit needs few: the lowest of
its poles are close to Matsubara frequencies, the others stand for all the rest, and their number
grows only with the logarithms of the range and of the tolerance. Ω has poles of its own, because
its exact form has cuts between the Matsubara frequencies.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from lattgnn.errors import InputError
from lattgnn.solvers.green.matsubara import MatsubaraSum, interpolate
from lattgnn.solvers.green.rational_fit import EnergyFit, OccupationFit, points

# Frequencies, weights and largest error of a fit, in units of kT.
Fit = tuple[np.ndarray, np.ndarray, float]

# The fit is always made for |x| up to a power of 2, at least this one, in units of kT.
_SMALLEST_RANGE, _LARGEST_RANGE = 32, 2**20
# With more poles, rounding errors make the fit worse instead of better.
_MOST_POLES = 28


def fermi_poles(kT: float, half_width: float, tolerance: float) -> tuple[tuple[float, float], ...]:
    r"""The fewest poles that represent the Fermi function to a tolerance.

    |½ − Σ_p r_p x/(x² + w_p²) − f(x)| ≤ tolerance for |x| ≤ half_width, where x = e − μ.

    The range of the fit is `half_width` rounded up to a power of 2 times kT, so that equal results
    come out for fields whose spectra differ a little.

    Args:
        kT: Temperature of the electrons, above 0.
        half_width: Largest distance of a level from μ, in the units of kT.
        tolerance: Largest error of an occupation. 1e-12 can be reached up to a half width of 1000
            kT, 1e-10 up to 3000 kT, 1e-8 up to the largest.

    Returns:
        (w_p, r_p) of each pole, lowest frequency first, in the units of kT.

    Raises:
        InputError: If no fit with at most 28 poles reaches the tolerance, or the range exceeds
            2^20 kT.

    Example:
        At kT = 0.1 and |x| ≤ 12.8 nine poles are enough, the lowest at π kT:

        >>> poles = fermi_poles(kT=0.1, half_width=12.0, tolerance=1e-8)
        >>> len(poles), round(poles[0][0], 4), round(poles[0][1], 4)
        (9, 0.3142, 0.2)
    """
    frequencies, weights = _scaled_poles(_exponent(kT, half_width), tolerance)
    return tuple((kT * w, kT * r) for w, r in zip(frequencies, weights, strict=True))


def energy_poles(
    kT: float, half_width: float, tolerance: float
) -> tuple[float, tuple[tuple[float, float], ...]]:
    r"""The fewest poles that represent the grand potential of a level to a tolerance.

    |x/2 − c − Im Σ_p s_p/(i v_p − x) − Ω(x)| ≤ tolerance · kT for |x| ≤ half_width.

    Args:
        kT: Temperature of the electrons, above 0.
        half_width: Largest distance of a level from μ, in the units of kT; rounded up as in
            `fermi_poles`.
        tolerance: Largest error of the energy of a level, in units of kT. 1e-7 can
            be reached up to a half width of 30,000 kT.

    Returns:
        c, and (v_p, s_p) of each pole, lowest frequency first; all in the units of kT (s_p in its
        square).

    Raises:
        InputError: As `fermi_poles`.
    """
    frequencies, weights = _scaled_energy_poles(_exponent(kT, half_width), tolerance)
    # The fit has weights b/v², here s = b/v.
    poles = zip(frequencies, weights[1:], strict=True)
    return kT * weights[0], tuple((kT * v, kT**2 * -weight * v) for v, weight in poles)


def _exponent(kT: float, half_width: float) -> int:
    """The exponent n of the range 2^n of a fit, in units of kT."""
    if not half_width <= _LARGEST_RANGE * kT:
        raise InputError(
            f"kT must be at least 1e-6 of the largest distance of a level from mu, {half_width:.3g}"
            f", got {kT!r}. Use a higher kT, or ExactDiagonalization or DomainDiagonalization."
        )
    return math.ceil(math.log2(max(half_width / kT, _SMALLEST_RANGE)))


@lru_cache(maxsize=64)
def _scaled_poles(exponent: int, tolerance: float) -> tuple[list[float], list[float]]:
    """Frequencies and weights of the fewest poles of f for |x| ≤ 2^exponent, in units of kT."""
    return _fewest(partial(_fit_occupation, MatsubaraSum.up_to(2.0**exponent)), tolerance)


@lru_cache(maxsize=64)
def _scaled_energy_poles(exponent: int, tolerance: float) -> tuple[list[float], list[float]]:
    """Frequencies, c and weights of the fewest poles of Ω for |x| ≤ 2^exponent, in units of kT."""
    return _fewest(partial(_fit_energy, 2.0**exponent), tolerance)


def _fewest(fit: Callable[[int], Fit], tolerance: float) -> tuple[list[float], list[float]]:
    """The fit with the fewest poles that reaches a tolerance, by bisection in their number."""
    too_few, enough, best = 0, _MOST_POLES, None
    while enough - too_few > 1:
        n_poles = (too_few + enough) // 2
        frequencies, weights, error = fit(n_poles)
        if error <= tolerance:
            enough, best = n_poles, (frequencies.tolist(), weights.tolist())
        else:
            too_few = n_poles
    if best is None:
        raise InputError(
            f"the Fermi function cannot be fitted to {tolerance:.3g} with less than {_MOST_POLES} "
            "poles. Use a larger tolerance or a higher kT."
        )
    return best


def _fit_occupation(target: MatsubaraSum, n_poles: int) -> Fit:
    """The better one of the interpolation and its refinement by least squares."""
    start = interpolate(target, n_poles)
    refined = OccupationFit(points(target.x_max, n_poles)).fit(start[0])
    return min(
        ((*poles, target.error(*poles)) for poles in (start, refined)), key=lambda fit: fit[2]
    )


def _fit_energy(x_max: float, n_poles: int) -> Fit:
    """The best least squares from frequencies in one of three geometric series."""
    problem = EnergyFit(points(x_max, n_poles))
    fine, fits = replace(problem, x=np.geomspace(1e-2, x_max, 2000)), []
    for highest in (0.5, 1.0, 3.0):
        frequencies, weights = problem.fit(np.geomspace(4, highest * x_max, n_poles))
        errors = fine.columns(frequencies**2) @ weights - fine.target()
        fits.append((frequencies, weights, float(np.abs(errors).max())))
    return min(fits, key=lambda fit: fit[2])
