r"""Chebyshev series of the grand potential and of the number of electrons of one level.

A level e in [center − half_width, center + half_width] becomes x = (e − center) / half_width. Then

    Ω(e) = −kT ln(1 + exp((μ − e)/kT)) = Σ_n g_n c_n T_n(x),    f(e) = Σ_n g_n f_n T_n(x),

where both sums end at the same order. The damping factors g_n are 1 or those of Jackson's kernel.
"""

import math
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float
from scipy.fft import dct, next_fast_len

from lattgnn.errors import InputError

# Orders above this one are refused where nobody has asked for them: the cost is linear in the
# order.
_LARGEST_ORDER = 100_000
# Truncated series with a smaller error need no kernel.
_RESOLVED = 0.1


class Interval(NamedTuple):
    """An interval of energies that contains the spectrum, in units of t."""

    center: float
    half_width: float


class Series(NamedTuple):
    """Damped coefficients of the grand potential and of the occupation of one level."""

    potential: Float[np.ndarray, " order"]
    occupation: Float[np.ndarray, " order"]


def converged_order(kT: float, half_width: float, tolerance: float) -> int:
    r"""The order at which the truncated Fermi function is within a tolerance at every energy.

    The nearest poles of f are at the distance π kT from the real axis. At the center of the
    interval, where the series converges most slowly, |f_n| ≈ 4 (kT/a) exp(−n η) for odd n with η =
    asinh(π kT/a) and the half width a, so the terms from n = M on sum up to (2/π) exp(−M η).

    Args:
        kT: Temperature, above 0.
        half_width: Half the width of the interval.
        tolerance: Largest error of an occupation.

    Returns:
        Number of terms, even.

    Raises:
        InputError: If it is above 100,000.

    Examples:
        >>> converged_order(0.02, 7.5, 1e-4)
        1046
    """
    rate = math.asinh(math.pi * kT / half_width)
    order = math.log(2 / (math.pi * tolerance)) / rate
    if order > _LARGEST_ORDER:
        raise InputError(
            f"kT = {kT:g} needs a Chebyshev series of {order:,.0f} terms, because the levels span "
            f"{2 * half_width:g}. Give a lower order, such as order=4000, or use "
            "ExactDiagonalization."
        )
    return max(2 * math.ceil(order / 2), 2)


def series(mu: float, kT: float, interval: Interval, order: int) -> Series:
    """The damped series of a level's grand potential and occupation.

    Args:
        mu: Chemical potential.
        kT: Temperature; 0 is allowed.
        interval: Interval of energies.
        order: Number of terms.

    Returns:
        Coefficients. The occupation is −d/dμ of the grand potential, coefficient by coefficient.
    """
    center, half_width = interval
    scaled_mu, scaled_kT = (mu - center) / half_width, kT / half_width
    # A temperature far below the resolution π/order would need many points of quadrature. Its
    # effect on the coefficients is then below (π order kT)²/6 = 2e-4 of the last ones.
    expand = _cold if scaled_kT * order < 0.01 else _warm
    potential, occupation = expand(scaled_mu, scaled_kT, order)
    damping = damping_factors(scaled_kT, order)
    return Series(half_width * damping * potential, damping * occupation)


@lru_cache(maxsize=64)
def damping_factors(scaled_kT: float, order: int) -> Float[np.ndarray, " order"]:
    """Jackson's kernel where the series does not resolve the temperature, else 1.

    A series that ends too early oscillates at all energies, also far from μ. Jackson's kernel
    removes this, keeps occupations between 0 and 1, and smooths f over about π half_width / order.
    It is used where the oscillations at μ would exceed 0.1: at kT = 0, and at orders below about
    0.6 half_width / kT. At higher orders the smoothing would be the larger error. The rule looks at
    μ in the center of the interval, so that it does not depend on the field.

    Args:
        scaled_kT: kT / half_width.
        order: Number of terms.

    Returns:
        Factors of the coefficients.
    """
    return np.ones(order) if resolves(scaled_kT, order) else _jackson(order)


def resolves(scaled_kT: float, order: int) -> bool:
    """Whether a series follows the Fermi function at μ, so that it needs no kernel.

    Args:
        scaled_kT: kT / half_width.
        order: Number of terms.
    """
    return _truncation_error(scaled_kT, order) < _RESOLVED


def _truncation_error(scaled_kT: float, order: int) -> float:
    """Largest error of the truncated Fermi function; see `converged_order`."""
    return 2 / math.pi * math.exp(-order * math.asinh(math.pi * scaled_kT))


def _jackson(order: int) -> Float[np.ndarray, " order"]:
    """The factors of Jackson's kernel (A. Weiße et al., Rev. Mod. Phys. 78, 275 (2006), eq. 71)."""
    n, angle = np.arange(order), np.pi / (order + 1)
    cosines = (order - n + 1) * np.cos(n * angle)
    return (cosines + np.sin(n * angle) / np.tan(angle)) / (order + 1)


def _warm(mu: float, kT: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Undamped coefficients at kT > 0 by Gauss–Chebyshev quadrature."""
    # 12/kT terms would converge to rounding: with this many points the terms that are left out do
    # not alias to lower ones.
    n_points = cast(int, next_fast_len(max(2 * order, math.ceil(12 / kT)), real=True))
    distance = (np.cos(np.pi * (np.arange(n_points) + 0.5) / n_points) - mu) / kT
    potential = -kT * np.logaddexp(0, -distance)
    occupation = 0.5 * (1 - np.tanh(distance / 2))
    return _coefficients(potential, order), _coefficients(occupation, order)


def _coefficients(values: np.ndarray, order: int) -> np.ndarray:
    """The first Chebyshev coefficients of a function given at cos(π (k + ½) / n)."""
    coefficients = cast(np.ndarray, dct(values, type=2))[:order] / len(values)
    coefficients[0] /= 2
    return coefficients


def _cold(mu: float, _: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Undamped coefficients at kT = 0 in closed form: of min(x − μ, 0) and of the step."""
    angle = math.acos(min(max(mu, -1.0), 1.0))
    n = np.arange(1, order + 1)
    step = np.concatenate([[1 - angle / np.pi], -2 * np.sin(n * angle) / (np.pi * n)])
    # x T_n = (T_{n+1} + T_{|n−1|}) / 2, so that x f has these coefficients:
    product = np.empty(order)
    product[0] = step[1] / 2
    product[1:] = (step[:-2] + step[2:]) / 2
    product[1:2] += step[0] / 2  # T_0 goes to T_1 alone, not to half of T_1 and of T_{−1}
    return product - mu * step[:-1], step[:-1]
