"""Wavevectors as exact fractions of the reciprocal primitive vectors, and phases on a lattice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from lattgnn.errors import InputError, errors_about
from lattgnn.lattice import Lattice
from lattgnn.lattice.unit_cell import rational

Wavevector = tuple[Fraction, ...]


def exact_wavevector(given: Sequence) -> Wavevector:
    """The exact fractions that the user wrote as numbers or texts."""
    if isinstance(given, str) or not np.iterable(given):
        raise InputError(
            "wavevector must be a list of fractions of the reciprocal primitive vectors, got"
            f" {given!r}. Use ['1/3', '1/3'], for example."
        )
    with errors_about("the wavevector"):
        return tuple(rational(x) for x in given)


def rotations_by_120(q: Wavevector) -> tuple[Wavevector, ...]:
    """A wavevector and its rotations by 120° and 240°, for primitive vectors at 60°."""
    if len(q) != 2:
        raise InputError(
            f"wavevector must have 2 fractions, in the plane, got {[str(x) for x in q]}."
        )
    # The reciprocal vectors meet at 120°: b_1 → b_2 → −b_1 − b_2 → b_1.
    second = (-q[1], q[0] - q[1])
    return q, second, (-second[1], second[0] - second[1])


def _check_fit(lattice: Lattice, q: Wavevector) -> None:
    """Refuse a wavevector with another dimension, or another period than the lattice."""
    text = ", ".join(map(str, q))
    if len(q) != lattice.dim:
        raise InputError(
            f"wavevector must have {lattice.dim} fractions on {lattice.name}, got ({text})."
        )
    axes = zip(q, lattice.extent, lattice.periodic, strict=True)
    if any(is_periodic and (x * n).denominator > 1 for x, n, is_periodic in axes):
        periods = ", ".join(str(x.denominator) for x in q)
        raise InputError(
            f"wavevector ({text}) must fit on the periodic lattice, got extent"
            f" {lattice.extent}. Use multiples of ({periods}) cells."
        )


def check_star(lattice: Lattice, wavevectors: Sequence[Wavevector]) -> None:
    """Refuse wavevectors that differ in length, which no rotation of the lattice joins."""
    for q in wavevectors:
        _check_fit(lattice, q)
    lengths = [np.linalg.norm(cartesian_wavevector(lattice, q)) for q in wavevectors]
    if max(lengths) - min(lengths) > 1e-9 * max(lengths):
        raise InputError(
            f"wavevectors of this order must be of equal length, but are not on {lattice.name}."
            " Use a square lattice for two waves and a triangular, honeycomb or kagome lattice for"
            " three, or PlaneWaves."
        )


def cartesian_wavevector(lattice: Lattice, q: Wavevector) -> np.ndarray:
    """A wavevector in Cartesian components, in units of 2π."""
    return np.linalg.inv(np.array(lattice.primitive_vectors)) @ np.array(q, dtype=np.float64)


def site_phases(lattice: Lattice, q: Wavevector, in_cell: bool = True) -> np.ndarray:
    """Q·r_i on each site, or Q·R for the origin of its cell; [n_sites]."""
    _check_fit(lattice, q)
    turns = np.zeros(lattice.n_sites)
    for fraction, cells in zip(q, lattice.cells.T, strict=True):
        # Whole turns are removed in integers, so that equal phases have equal bits.
        turns += fraction.numerator * cells % fraction.denominator / fraction.denominator
    if in_cell:
        basis = np.array(lattice.basis, dtype=np.float64) @ np.array(q, dtype=np.float64)
        turns += basis[lattice.sublattices]
    return 2 * math.pi * turns
