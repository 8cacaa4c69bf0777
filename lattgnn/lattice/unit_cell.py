"""The unit cell in exact arithmetic: a rational Gram matrix and rational coordinates.

Bonds are compared by their squared length as a fraction, never by a float with a tolerance: two shells that
differ in the twelfth digit stay two shells, and rounding cannot split one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from lattgnn.errors import InputError

Vector = tuple[Fraction, ...]
IntVector = tuple[int, ...]


def rational(value: Any) -> Fraction:
    """The fraction with a small denominator that a number stands for, or else the number's exact value.

    Args:
        value: A number or its text; 0.3333333333333333, "1/3" and Fraction(1, 3) all give 1/3.

    Returns:
        A fraction of denominator at most 10,000 if it agrees to 1e-12, otherwise the float's own binary
        fraction.

    Raises:
        ValueError: If the value is not a finite number.
    """
    try:
        exact = Fraction(value)
    except (ValueError, OverflowError, TypeError, ZeroDivisionError):
        raise InputError(
            f"a coordinate must be a finite number or a fraction, got {value!r}. Use 0.5 or '1/3'."
        ) from None
    near = exact.limit_denominator(10_000)
    return near if abs(float(near - exact)) <= 1e-12 * max(1.0, abs(float(exact))) else exact


@dataclass(frozen=True)
class UnitCell:
    """Primitive vectors (rows, cartesian) and basis (fractions of these vectors) of an infinite lattice."""

    primitive_vectors: tuple[tuple[float, ...], ...]
    basis: tuple[Vector, ...]

    @classmethod
    def create(
        cls, primitive_vectors: Sequence | np.ndarray, basis: Sequence | np.ndarray
    ) -> UnitCell:
        """Normalise and check user input.

        Args:
            primitive_vectors: [dim, dim], one vector a row, in units of length of the user's choice.
            basis: [n_sublattices, dim], fractions of the primitive vectors.

        Returns:
            The cell with hashable, exact contents.

        Raises:
            ValueError: If shapes disagree, the vectors are dependent, or two basis sites coincide.
        """
        try:
            vectors = tuple(tuple(float(x) for x in row) for row in primitive_vectors)
            sites = tuple(tuple(rational(x) for x in row) for row in basis)
        except TypeError:  # a number where a row belongs
            vectors, sites = (), ()
        dim = len(vectors)
        if dim not in (1, 2, 3) or any(len(row) != dim for row in vectors):
            raise InputError(
                f"primitive_vectors must be 1, 2 or 3 rows of as many numbers, got {primitive_vectors!r}. "
                "Use [[1, 0], [0, 1]]."
            )
        if not sites or any(len(row) != dim for row in sites):
            raise InputError(
                f"basis must hold rows of {dim} fractions of the primitive vectors, got {basis!r}. "
                f"Use {[[0] * dim]!r} for one site a cell."
            )
        lengths = np.linalg.norm(np.array(vectors), axis=1)
        if (
            not np.isfinite(lengths).all()
            or abs(np.linalg.det(np.array(vectors))) <= 1e-9 * lengths.prod()
        ):
            raise InputError(
                f"primitive_vectors must be finite and linearly independent, got {primitive_vectors!r}. "
                "Use vectors that span the cell."
            )
        for (s, a), (r, b) in combinations(enumerate(sites), 2):
            if all((x - y).denominator == 1 for x, y in zip(a, b, strict=True)):
                raise InputError(
                    "basis sites must differ by more than a lattice vector, got"
                    f" {[str(x) for x in a]} and {[str(x) for x in b]} for sites {s} and {r}."
                    " Use each site of the cell once."
                )
        return cls(vectors, sites)

    @property
    def dim(self) -> int:
        """Dimension of space."""
        return len(self.primitive_vectors)

    @property
    def n_sublattices(self) -> int:
        """Sites in one cell."""
        return len(self.basis)

    @cached_property
    def gram(self) -> tuple[Vector, ...]:
        """Exact scalar products a_i · a_j of the primitive vectors."""
        vectors = np.array(self.primitive_vectors)
        return tuple(tuple(rational(float(x)) for x in row) for row in vectors @ vectors.T)

    def separation(self, source: int, destination: int, offset: Sequence[int]) -> Vector:
        """Fractions of the primitive vectors from a source in cell 0 to a destination in cell `offset`."""
        pair = zip(offset, self.basis[destination], self.basis[source], strict=True)
        return tuple(n + b - a for n, b, a in pair)

    def squared_length(self, fractions: Vector) -> Fraction:
        """|x|² = Σ x_i G_ij x_j, exactly."""
        rows = zip(fractions, self.gram, strict=True)
        return sum(
            (x * g * y for x, row in rows for g, y in zip(row, fractions, strict=True)), Fraction(0)
        )

    def cartesian(self, fractions: Sequence | np.ndarray) -> np.ndarray:
        """Cartesian components, float64, of vectors [..., dim] in fractions of the primitive vectors."""
        return np.asarray(fractions, dtype=np.float64) @ np.array(self.primitive_vectors)

    def offsets_within(self, source: int, destination: int, cutoff: float) -> np.ndarray:
        """All cells [n, dim] whose `destination` site may lie within `cutoff` of `source` in cell 0.

        A float pre-selection, generous by 1e-6: the exact comparison is the caller's.
        """
        shift = np.array(self.basis[destination], dtype=float) - np.array(
            self.basis[source], dtype=float
        )
        # |x_k| <= cutoff |a*_k| with a* the dual vectors: columns of the inverse.
        reach = (
            cutoff * np.linalg.norm(np.linalg.inv(np.array(self.primitive_vectors)), axis=0) + 1e-6
        )
        axes = [
            np.arange(math.ceil(-s - w), math.floor(-s + w) + 1)
            for s, w in zip(shift, reach, strict=True)
        ]
        cells = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, self.dim)
        near = np.linalg.norm(self.cartesian(cells + shift), axis=1) <= cutoff * (1 + 1e-6)
        return cells[near]
