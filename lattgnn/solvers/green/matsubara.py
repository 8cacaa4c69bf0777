r"""The Matsubara sum of the Fermi function, and its interpolation by few poles.

Everything is in units of kT. With y = x², the function tanh(x/2)/(2x) = Σ_k 2/(y + s_k), where
s_k = ((2k + 1) π)², is a Stieltjes function. Interpolation of value and slope at points y_j
therefore always gives real frequencies and positive weights (rational Gauss quadrature).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal


@dataclass(frozen=True, eq=False)
class MatsubaraSum:
    """The function tanh(x/2)/2 = Σ_k c_k x/(x² + s_k), with x up to `x_max`.

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
    def up_to(cls, x_max: float) -> "MatsubaraSum":
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
        fit = (self.x[:, None] / (self.x[:, None] ** 2 + frequencies**2)) @ weights
        return fit - np.tanh(self.x / 2) / 2


def interpolate(target: MatsubaraSum, n_poles: int) -> tuple[np.ndarray, np.ndarray]:
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


def _gauss_fit(
    target: MatsubaraSum, y: Float[np.ndarray, " n_poles"]
) -> tuple[np.ndarray, np.ndarray]:
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
