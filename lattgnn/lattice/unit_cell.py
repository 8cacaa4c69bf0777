"""The unit cell: rational coordinates, and a Gram matrix that is rational up to a unit of length.

Lengths are equal if they agree to a relative 1e-9, see `LENGTH_TOLERANCE`. Rounding errors of
primitive vectors, which may be in any unit and point in any direction, therefore cannot split a
shell in two. Shells whose distances differ in the eighth digit stay two shells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from lattgnn.errors import InputError
from lattgnn.lattice.labels import (
    Bond,
    normal_bond_labels,
    normal_site_labels,
    reversed_bond,
)
from lattgnn.lattice.read_only import read_only
from lattgnn.lattice.reduction import obtuse_superbase

Vector = tuple[Fraction, ...]
IntVector = tuple[int, ...]


def rational(value: Any) -> Fraction:
    """The fraction that a number stands for.

    Args:
        value: A number or its text: 0.3333333333333333, "1/3" and Fraction(1, 3) all give 1/3.

    Returns:
        A fraction with a denominator of at most 10,000 if there is one within a relative 1e-12 of
        the number, otherwise the exact binary fraction of the float.

    Raises:
        InputError: If the value is not a finite number.

    Examples:
        >>> rational(1 / 3)
        Fraction(1, 3)
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
    """The unit cell of an infinite crystal.

    Use `UnitCell.create`, which checks its input, or take the `cell` of a `Lattice`.

    Args:
        primitive_vectors: Cartesian components of the primitive vectors, one vector per row.
        basis: Sites of the cell, as fractions of the primitive vectors.
        site_labels: Label of each site of the basis; empty if there are none.
        bond_labels: Each label with its bonds, of which one direction is listed.

    Examples:
        >>> from lattgnn.lattice import honeycomb
        >>> cell = honeycomb(4).cell
        >>> cell.n_sublattices
        2
        >>> cell.squared_length(cell.separation(0, 1, (0, 0)))
        Fraction(1, 1)
    """

    primitive_vectors: tuple[tuple[float, ...], ...]
    basis: tuple[Vector, ...]
    site_labels: tuple[str, ...] = ()
    bond_labels: tuple[tuple[str, tuple[Bond, ...]], ...] = ()

    @classmethod
    def create(
        cls,
        primitive_vectors: Sequence | np.ndarray,
        basis: Sequence | np.ndarray,
        *,
        site_labels: Sequence | None = None,
        bond_labels: Mapping | None = None,
    ) -> UnitCell:
        """Check user input and make a unit cell from it.

        Args:
            primitive_vectors: Rows [dim, dim], one vector per row, in any unit of length.
            basis: Rows [n_sublattices, dim] of fractions of the primitive vectors.
            site_labels: One label per site of the basis; see `Lattice`.
            bond_labels: Labels with their bonds; see `Lattice`.

        Returns:
            The cell with hashable, exact contents.

        Raises:
            InputError: If shapes disagree, the vectors are dependent, two basis sites coincide, or
                a label is wrong.
        """
        try:
            vectors = tuple(tuple(float(x) for x in row) for row in primitive_vectors)
            sites = tuple(tuple(rational(x) for x in row) for row in basis)
        except TypeError:  # a number in place of a row; the checks below report it
            vectors, sites = (), ()
        dim = len(vectors)
        if dim not in (1, 2, 3) or any(len(row) != dim for row in vectors):
            raise InputError(
                "primitive_vectors must be 1, 2 or 3 rows, each with as many numbers as there are"
                f" rows, got {primitive_vectors!r}. Use [[1, 0], [0, 1]]."
            )
        if not sites or any(len(row) != dim for row in sites):
            raise InputError(
                f"basis must hold rows of {dim} fractions of the primitive vectors, got {basis!r}."
                f" Use {[[0] * dim]!r} for one site per cell."
            )
        _check_independent(np.array(vectors), primitive_vectors)
        _check_distinct(sites)
        return cls(
            vectors,
            sites,
            normal_site_labels(site_labels, len(sites)),
            normal_bond_labels(bond_labels, len(sites), dim),
        )

    @property
    def dim(self) -> int:
        """Dimension of space."""
        return len(self.primitive_vectors)

    @property
    def n_sublattices(self) -> int:
        """Number of sites per cell."""
        return len(self.basis)

    @cached_property
    def bond_label(self) -> dict[Bond, str]:
        """Label of every labeled bond, in both directions."""
        table = {}
        for label, bonds in self.bond_labels:
            for bond in bonds:
                table[bond] = table[reversed_bond(bond)] = label
        return table

    def label_length(self, label: str) -> float:
        """Length of the longest bond with a label.

        Raises:
            InputError: If no bond has the label.
        """
        known = dict(self.bond_labels)
        if label not in known:
            raise InputError(
                f"label must be one of the bond labels {sorted(known)}, got {label!r}."
                " Label bonds with the argument bond_labels of Lattice."
            )
        return max(math.sqrt(self.squared_length(self.separation(*b))) for b in known[label])

    @cached_property
    def reduction(self) -> np.ndarray:
        """Integer matrix [dim, dim]: times `primitive_vectors`, it is a cell of short sides.

        Computations with lengths use this cell, where rounding errors are smallest.
        """
        return read_only(obtuse_superbase(np.array(self.primitive_vectors))[:-1])

    @cached_property
    def reduced_gram(self) -> tuple[Vector, ...]:
        """Scalar products of the vectors of the reduced cell, as fractions.

        Ratios of scalar products are often short fractions, such as −1/2 on the triangular
        lattice, whatever the unit of length and the directions of the vectors. These ratios are
        taken exactly.
        """
        vectors = self.reduction @ np.array(self.primitive_vectors)
        products = vectors @ vectors.T
        # The square of the unit of length may be tiny, so it is made a fraction with a relative
        # tolerance: as a multiple of a power of 2.
        square = float(products.diagonal().min())
        power = Fraction(2) ** math.frexp(square)[1]
        unit = rational(float(Fraction(square) / power)) * power
        return tuple(tuple(unit * rational(float(x / square)) for x in row) for row in products)

    @cached_property
    def gram(self) -> tuple[Vector, ...]:
        """Scalar products G_ij = a_i · a_j of the primitive vectors, from the reduced cell."""
        back = np.rint(np.linalg.inv(self.reduction)).astype(np.int64).astype(object)
        products = back @ np.array(self.reduced_gram) @ back.T
        return tuple(tuple(Fraction(x) for x in row) for row in products)

    def separation(self, source: int, destination: int, offset: Sequence[int]) -> Vector:
        """The vector from one site to another, in fractions of the primitive vectors.

        Args:
            source: Sublattice of the first site, which is in cell 0.
            destination: Sublattice of the second site, which is in cell `offset`.
            offset: Cell of the second site.
        """
        pairs = zip(offset, self.basis[destination], self.basis[source], strict=True)
        return tuple(n + b - a for n, b, a in pairs)

    def squared_length(self, fractions: Vector) -> Fraction:
        """|x|² = Σ_ij x_i G_ij x_j for x in fractions of the primitive vectors."""
        total = Fraction(0)
        for x, row in zip(fractions, self.gram, strict=True):
            for g, y in zip(row, fractions, strict=True):
                total += x * g * y
        return total

    def cartesian(self, fractions: Sequence | np.ndarray) -> np.ndarray:
        """Cartesian components of vectors [..., dim] in fractions of the primitive vectors."""
        return np.asarray(fractions, dtype=np.float64) @ np.array(self.primitive_vectors)

    def offsets_within(self, source: int, destination: int, cutoff: float) -> np.ndarray:
        """All cells [n, dim] whose `destination` site may be within `cutoff` of `source` in cell 0.

        This is a preselection in floating point, which errs by including up to a relative 1e-6 too
        much. The caller makes the exact comparison.
        """
        shift = np.array(self.separation(source, destination, (0,) * self.dim), dtype=float)
        shift = shift @ np.linalg.inv(self.reduction)
        vectors = self.reduction @ np.array(self.primitive_vectors)
        # Fractions of a vector no longer than the cutoff obey |x_k| ≤ cutoff |a*_k|. The dual
        # vectors a*_k are the columns of the inverse of the matrix of primitive vectors.
        widths = cutoff * np.linalg.norm(np.linalg.inv(vectors), axis=0) + 1e-6
        axes = [
            np.arange(math.ceil(-s - w), math.floor(-s + w) + 1)
            for s, w in zip(shift, widths, strict=True)
        ]
        cells = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, self.dim)
        near = np.linalg.norm((cells + shift) @ vectors, axis=1) <= cutoff * (1 + 1e-6)
        return cells[near] @ self.reduction


def _check_independent(vectors: np.ndarray, given: Any) -> None:
    """Refuse primitive vectors that are infinite or span no volume; errors show `given`."""
    lengths = np.linalg.norm(vectors, axis=1)
    # Squares and volumes of lengths far beyond these limits are no longer floats.
    if np.isfinite(lengths).all() and not (1e-90 < lengths.min() <= lengths.max() < 1e90):
        raise InputError(
            "primitive_vectors must be vectors of lengths between 1e-90 and 1e90, got"
            f" {given!r}. Use the lattice constant as the unit of length."
        )
    finite = np.isfinite(lengths).all()
    # The determinant is compared with that of perpendicular vectors of the same lengths.
    if not finite or abs(np.linalg.det(vectors)) <= 1e-9 * lengths.prod():
        raise InputError(
            f"primitive_vectors must be finite and linearly independent, got {given!r}."
            " Use vectors that span the cell."
        )


def _check_distinct(sites: tuple[Vector, ...]) -> None:
    """Refuse two basis sites that differ by a lattice vector, so are one site of the crystal."""
    for (s, a), (r, b) in combinations(enumerate(sites), 2):
        if all((x - y).denominator == 1 for x, y in zip(a, b, strict=True)):
            raise InputError(
                "basis sites must differ by more than a lattice vector, got"
                f" {[str(x) for x in a]} and {[str(x) for x in b]} for sites {s} and {r}."
                " Give each site of the cell once."
            )
