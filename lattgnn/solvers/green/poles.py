r"""The Fermi function as a sum over few poles on the imaginary axis.

    f(x) = ½ − Σ_p r_p x / (x² + w_p²) = ½ + Re Σ_p r_p / (i w_p − x),    x = e − μ.

The exact poles are the Matsubara frequencies (2k + 1) π kT, all of weight 2 kT. There are
infinitely many, and their sum converges slowly. A rational fit needs few: the lowest of its poles
are close to Matsubara frequencies, the others stand for all the rest, and their number grows only
with the logarithms of the range and of the tolerance.

Everything below is in units of kT. With y = x², the function tanh(x/2)/(2x) = Σ_k 2/(y + s_k) is a
Stieltjes function. A fit is found in two steps: interpolation of value and slope at points y_j,
which always has real w_p and positive r_p (rational Gauss quadrature), and least squares from
there.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import least_squares

from lattgnn.errors import InputError

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
            kT, 1e-10 up to 30,000 kT, 1e-8 up to the largest.

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
    if not half_width <= _LARGEST_RANGE * kT:
        raise InputError(
            f"kT must be at least 1e-6 of the largest distance of a level from mu, {half_width:.3g}"
            f", got {kT!r}. Use a higher kT, or ExactDiagonalization or DomainDiagonalization."
        )
    scaled = _scaled_poles(range_exponent(half_width / kT), tolerance)
    return tuple((kT * frequency, kT * weight) for frequency, weight in scaled)


def range_exponent(half_width: float) -> int:
    """The exponent n of the range 2^n ≥ half_width of a fit, in units of kT."""
    return max(math.ceil(math.log2(max(half_width, 1.0))), int(math.log2(_SMALLEST_RANGE)))


@lru_cache(maxsize=64)
def _scaled_poles(exponent: int, tolerance: float) -> tuple[tuple[float, float], ...]:
    """The fewest poles for |x| ≤ 2^exponent, in units of kT, by bisection in their number."""
    target = _Target.up_to(2.0**exponent)
    too_few, enough, best = 0, _MOST_POLES, None
    while enough - too_few > 1:
        n_poles = (too_few + enough) // 2
        fit = _fit(target, n_poles)
        if target.error(*fit) <= tolerance:
            enough, best = n_poles, fit
        else:
            too_few = n_poles
    if best is None:
        raise InputError(
            f"the poles of the Fermi function cannot be fitted to {tolerance:.3g} for levels up to"
            f" {2.0**exponent:.3g} kT from mu. Use a larger tolerance or a higher kT."
        )
    frequencies, weights = best
    return tuple(zip(frequencies.tolist(), weights.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class _Target:
    """What is fitted: tanh(x/2)/2 = Σ_k c_k x/(x² + s_k), with x up to `x_max`.

    Attributes:
        x_max: Largest x.
        squares: The s_k.
        weights: The c_k.
        x: Points at which errors are measured.
    """

    x_max: float
    squares: Float[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    x: Float[np.ndarray, " n_points"]

    @classmethod
    def up_to(cls, x_max: float) -> "_Target":
        """The Matsubara sum, with few terms that stand for its many high frequencies."""
        n = 32
        parts = [(_matsubara(0, n), np.ones(n))]
        # Groups of n terms, each with twice as many as the one before, are replaced by their Gauss
        # quadrature: exact for polynomials of degree 31 in s, while 1/(x² + s) varies by at most a
        # factor 4 over a group.
        while n < 2**16 and 2 * math.pi * n < 1e4 * x_max:
            parts.append(_gauss_quadrature(_matsubara(n, 2 * n)))
            n *= 2
        # From here on the sum is an integral over the frequency w to rounding, first by intervals
        # of length w, at last to infinity in the variable 1/w.
        start = 2 * math.pi * n
        points, weights = np.polynomial.legendre.leggauss(16)
        while start < 30 * x_max:
            parts.append(((start * (1.5 + points / 2)) ** 2, weights * start / (4 * math.pi)))
            start *= 2
        inverse = (points + 1) / (2 * start)
        parts.append((inverse**-2, weights / (4 * math.pi * start * inverse**2)))
        squares, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(x_max, squares, 2 * counts, np.geomspace(1e-2, x_max, 2000))

    def error(
        self, frequencies: Float[np.ndarray, " n_poles"], weights: Float[np.ndarray, " n_poles"]
    ) -> float:
        """The largest error of a fit."""
        return float(np.abs(self.errors(frequencies, weights)).max())

    def errors(
        self, frequencies: Float[np.ndarray, " n_poles"], weights: Float[np.ndarray, " n_poles"]
    ) -> Float[np.ndarray, " n_points"]:
        """The errors of a fit at the points x."""
        return _columns(self.x, frequencies) @ weights - np.tanh(self.x / 2) / 2


def _fit(target: _Target, n_poles: int) -> tuple[np.ndarray, np.ndarray]:
    """The better one of the interpolation and its refinement by least squares."""
    start = _interpolation(target, n_poles)
    refined = _least_squares(target.x_max, start[0])
    return min(start, refined, key=lambda fit: target.error(*fit))


def _interpolation(target: _Target, n_poles: int) -> tuple[np.ndarray, np.ndarray]:
    """A fit that is exact at n_poles points, where it also has the right slope.

    The points are moved until the error has about equal maxima between them.
    """
    first, last = math.log(0.3), math.log(target.x_max)
    points = np.linspace(math.log(3), math.log(0.9 * target.x_max), n_poles)
    best, smallest = None, math.inf
    for _ in range(30):
        fit = _gauss_fit(target, np.exp(2 * points))
        errors = np.abs(target.errors(*fit))
        if errors.max() < smallest:
            best, smallest = fit, errors.max()
        # Largest error in each interval; 1e-16 so that its logarithm exists.
        edges = np.searchsorted(target.x, np.exp(points))
        maxima = [part.max(initial=1e-16) for part in np.split(errors, edges)]
        # Intervals with large errors are shortened. A small power keeps the iteration stable.
        ratios = np.array(maxima) / np.exp(np.log(maxima).mean())
        lengths = np.diff([first, *points, last]) * np.clip(ratios ** (-0.5 / n_poles**0.5), 0.5, 2)
        points = first + np.cumsum(lengths * (last - first) / lengths.sum())[:-1]
    assert best is not None  # errors are finite
    return best


def _gauss_fit(target: _Target, y: Float[np.ndarray, " n_poles"]) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and weights that interpolate value and slope of Σ_k c_k/(y + s_k) at all y.

    They are the Ritz values of diag(s) in the rational Krylov space of the vectors
    (diag(s) + y_j)⁻¹ √c, a symmetric eigenvalue problem.
    """
    vectors = np.sqrt(target.weights)[:, None] / (target.squares[:, None] + y)
    basis = np.linalg.qr(vectors / np.linalg.norm(vectors, axis=0))[0]
    # Nearby points give nearly parallel vectors, so they are made orthogonal twice.
    basis = np.linalg.qr(basis)[0]
    squares, states = np.linalg.eigh(basis.T @ (target.squares[:, None] * basis))
    weights = (states.T @ (basis.T @ np.sqrt(target.weights))) ** 2
    return np.sqrt(np.maximum(squares, 1.0)), weights


def _least_squares(
    x_max: float, frequencies: Float[np.ndarray, " n_poles"]
) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and weights of least squares, from a start close to them.

    The weights are eliminated (variable projection); the logarithms of the frequencies remain.
    """
    # On this logarithmic grid the squared error is within a small factor of the largest error.
    n_points = 12 * (len(frequencies) + int(math.log(x_max)))
    problem = _Projected(np.geomspace(0.1, x_max, n_points), math.log(100 * x_max))
    start = np.log(frequencies)
    # Residuals of order 1, so that the thresholds of the optimizer are relative to them.
    problem = replace(problem, scale=1 / max(np.abs(problem.residuals(start)).max(), 1e-15))
    found = least_squares(
        problem.residuals,
        start,
        jac=cast(Any, problem.jacobian),  # scipy's annotation lacks functions
        method="lm",
        max_nfev=300,
        xtol=1e-12,
        ftol=1e-5,
    )
    logarithms = np.sort(np.minimum(found.x, problem.largest))
    return np.exp(logarithms), problem.solve(logarithms)[1]


@dataclass(frozen=True, eq=False)
class _Projected:
    """The least-squares problem in the logarithms of the frequencies.

    Attributes:
        x: Points of the fit.
        largest: Largest logarithm of a frequency; beyond it a pole acts like any other far one.
        scale: Factor of the residuals.
    """

    x: Float[np.ndarray, " n_points"]
    largest: float
    scale: float = 1.0

    def solve(self, logarithms: Float[np.ndarray, " n_poles"]) -> tuple[np.ndarray, np.ndarray]:
        """Columns x/(x² + w²) and the best weights."""
        columns = _columns(self.x, np.exp(np.minimum(logarithms, self.largest)))
        norms = np.linalg.norm(columns, axis=0)
        target = np.tanh(self.x / 2) / 2
        weights = np.linalg.lstsq(columns / norms, target, rcond=1e-15)[0] / norms
        return columns, weights

    def residuals(self, logarithms: Float[np.ndarray, " n_poles"]) -> Float[np.ndarray, " n"]:
        """Scaled errors of the fit with the best weights."""
        columns, weights = self.solve(logarithms)
        return self.scale * (columns @ weights - np.tanh(self.x / 2) / 2)

    def jacobian(self, logarithms: Float[np.ndarray, " n_poles"]) -> Float[np.ndarray, "n m"]:
        """Derivative of the residuals, without the small term of Golub and Pereyra (Kaufman)."""
        columns, weights = self.solve(logarithms)
        squares = np.exp(2 * np.minimum(logarithms, self.largest))
        slopes = -2 * squares * columns / (self.x[:, None] ** 2 + squares) * weights
        basis = np.linalg.qr(columns)[0]
        return self.scale * (slopes - basis @ (basis.T @ slopes))


def _columns(
    x: Float[np.ndarray, " n_points"], frequencies: Float[np.ndarray, " n_poles"]
) -> Float[np.ndarray, "n_points n_poles"]:
    return x[:, None] / (x[:, None] ** 2 + frequencies**2)


def _matsubara(start: int, stop: int) -> Float[np.ndarray, " n"]:
    """Squares of Matsubara frequencies start, ..., stop − 1, in units of kT."""
    return (math.pi * (2 * np.arange(start, stop) + 1)) ** 2


def _gauss_quadrature(squares: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of 16 points that stand for equal weights at many, by Lanczos."""
    n, n_nodes = len(squares), 16
    center, half = (squares[0] + squares[-1]) / 2, (squares[-1] - squares[0]) / 2
    scaled = (squares - center) / half
    basis, diagonal, beside = np.zeros((n, n_nodes)), np.zeros(n_nodes), np.zeros(n_nodes)
    vector = np.full(n, n**-0.5)
    for k in range(n_nodes):
        basis[:, k] = vector
        vector = scaled * vector
        diagonal[k] = basis[:, k] @ vector
        for _ in range(2):  # twice is enough to stay orthogonal
            vector = vector - basis @ (basis.T @ vector)
        beside[k] = np.linalg.norm(vector)
        vector = vector / beside[k]
    nodes, states = eigh_tridiagonal(diagonal, beside[:-1])
    return center + half * nodes, n * states[0] ** 2
