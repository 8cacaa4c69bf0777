"""Least-squares fits of functions of x by few poles on the imaginary axis, from a start near them.

The weights are eliminated (variable projection); the logarithms of the frequencies remain.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

# Limits of the logarithm of a frequency, in units of kT and relative to the largest x. Beyond them
# a pole acts like any other one beyond them.
_SMALLEST, _LARGEST = 0.0, math.log(100)


def points(x_max: float, n_poles: int) -> Float[np.ndarray, " n_points"]:
    """Points for a fit by some poles up to x_max.

    On this logarithmic grid the squared error is within a small factor of the largest error.
    """
    return np.geomspace(0.1, x_max, 14 * (n_poles + int(math.log(x_max))))


@dataclass(frozen=True, eq=False)
class RationalFit(ABC):
    """A least-squares problem in the logarithms of the frequencies, in units of kT.

    Attributes:
        x: Points of the fit, up to the largest x.
        scale: Factor of the residuals.
    """

    x: Float[np.ndarray, " n_points"]
    scale: float = 1.0

    most_steps: ClassVar[int] = 300
    """Steps of the optimizer at most."""

    enough: ClassVar[float] = 1e-5
    """Relative change of the squared error at which the optimizer stops."""

    @abstractmethod
    def target(self) -> Float[np.ndarray, " n_points"]:
        """The function to fit, at the points."""

    @abstractmethod
    def columns(self, squares: Float[np.ndarray, " n_poles"]) -> Float[np.ndarray, "n_points n"]:
        """One function per weight, for poles with these squares of frequencies w."""

    @abstractmethod
    def slopes(
        self, squares: Float[np.ndarray, " n_poles"], weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n_points n_poles"]:
        """Derivative of the fit with respect to each ln w, with fixed weights."""

    def fit(
        self, frequencies: Float[np.ndarray, " n_poles"]
    ) -> tuple[Float[np.ndarray, " n_poles"], Float[np.ndarray, " n"]]:
        """Frequencies, ascending, and weights, from a start with these frequencies."""
        start = np.log(frequencies)
        # Residuals of order 1, so that the thresholds of the optimizer are relative to them.
        problem = replace(self, scale=1 / max(np.abs(self.residuals(start)).max(), 1e-15))
        found = least_squares(
            problem.residuals,
            start,
            jac=cast(Any, problem.jacobian),  # scipy's annotation lacks functions
            method="lm",
            max_nfev=self.most_steps,
            xtol=1e-12,
            ftol=self.enough,
        )
        squares = np.sort(self.squares(found.x))
        return np.sqrt(squares), self.solve(squares)[1]

    def squares(self, logarithms: Float[np.ndarray, " n_poles"]) -> Float[np.ndarray, " n_poles"]:
        """Squares of the frequencies."""
        return np.exp(2 * np.clip(logarithms, _SMALLEST, _LARGEST + math.log(self.x[-1])))

    def solve(
        self, squares: Float[np.ndarray, " n_poles"]
    ) -> tuple[Float[np.ndarray, "n_points n"], Float[np.ndarray, " n"]]:
        """The columns, and the best weights for these squares of frequencies."""
        columns = self.columns(squares)
        norms = np.linalg.norm(columns, axis=0)
        weights = np.linalg.lstsq(columns / norms, self.target(), rcond=1e-15)[0] / norms
        return columns, weights

    def residuals(
        self, logarithms: Float[np.ndarray, " n_poles"]
    ) -> Float[np.ndarray, " n_points"]:
        """Scaled errors of the fit with the best weights."""
        columns, weights = self.solve(self.squares(logarithms))
        return self.scale * (columns @ weights - self.target())

    def jacobian(
        self, logarithms: Float[np.ndarray, " n_poles"]
    ) -> Float[np.ndarray, "n_points n_poles"]:
        """Derivative of the residuals, without the small term of Golub and Pereyra (Kaufman)."""
        squares = self.squares(logarithms)
        columns, weights = self.solve(squares)
        slopes, basis = self.slopes(squares, weights), np.linalg.qr(columns)[0]
        return self.scale * (slopes - basis @ (basis.T @ slopes))


class OccupationFit(RationalFit):
    """tanh(x/2)/2 = ½ − f(x) by Σ_p r_p x/(x² + w_p²)."""

    def target(self) -> Float[np.ndarray, " n_points"]:
        """The function tanh(x/2)/2."""
        return np.tanh(self.x / 2) / 2

    def columns(self, squares: Float[np.ndarray, " n_poles"]) -> Float[np.ndarray, "n_points n"]:
        """The functions x/(x² + w²)."""
        return self.x[:, None] / (self.x[:, None] ** 2 + squares)

    def slopes(
        self, squares: Float[np.ndarray, " n_poles"], weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n_points n_poles"]:
        """−2 w² x/(x² + w²)² times the weights."""
        return -2 * weights * self.columns(squares) * squares / (self.x[:, None] ** 2 + squares)


class EnergyFit(RationalFit):
    """The function ln(2 cosh(x/2)) = x/2 − Ω(x) by c + Σ_p b_p/(x² + w_p²).

    The weights are c and all b_p/w_p².
    """

    most_steps = 100
    enough = 1e-4

    def target(self) -> Float[np.ndarray, " n_points"]:
        """The function ln(2 cosh(x/2))."""
        return np.logaddexp(self.x / 2, -self.x / 2)

    def columns(self, squares: Float[np.ndarray, " n_poles"]) -> Float[np.ndarray, "n_points n"]:
        """1, and the functions w²/(x² + w²)."""
        return np.hstack([np.ones((len(self.x), 1)), squares / (self.x[:, None] ** 2 + squares)])

    def slopes(
        self, squares: Float[np.ndarray, " n_poles"], weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n_points n_poles"]:
        """2 w² x²/(x² + w²)² times the weights."""
        fractions = squares / (self.x[:, None] ** 2 + squares)
        return 2 * weights[1:] * fractions * (1 - fractions)
