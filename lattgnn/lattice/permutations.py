"""Permutations of the sites of a finite lattice by the space-group operations that it keeps."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np

from lattgnn.errors import InputError
from lattgnn.lattice.geometry import Lattice
from lattgnn.lattice.operations import Operation, space_group
from lattgnn.lattice.unit_cell import IntVector


def compatible_operations(lattice: Lattice) -> tuple[Operation, ...]:
    """Operations of the space group that map the finite lattice onto itself.

    Periodic axes: the rotation must map the periods onto periods (8×12 squares have no rotation by 90°).
    Open axes: the operation, followed by the one lattice translation that keeps the center of the cluster in
    place, must map the cluster onto itself.

    Args:
        lattice: The finite lattice.

    Returns:
        Operations, the identity first, with that translation included: one for each coset of the translations
        along periodic axes.
    """
    candidates = (_centered(lattice, g) for g in space_group(lattice.cell).operations)
    return tuple(g for g in candidates if g is not None and _permutation(lattice, g) is not None)


def site_permutations(lattice: Lattice, translations: bool = False) -> np.ndarray:
    """Permutations of the sites by the operations that the finite lattice has.

    Args:
        lattice: The finite lattice.
        translations: Whether each operation is also combined with all translations along periodic axes.

    Returns:
        int64 [n_operations (× n_translations), n_sites]; perm[g, i] is the site to which g takes site i.
        Row g is operation g of `compatible_operations`; with translation T it is row g · n_translations + T.
    """
    points = np.stack([_require(_permutation(lattice, g)) for g in compatible_operations(lattice)])
    if not translations:
        return points
    steps = [
        range(n) if p else range(1) for n, p in zip(lattice.extent, lattice.periodic, strict=True)
    ]
    shifts = np.stack([translation_permutation(lattice, shift) for shift in product(*steps)])
    return shifts[:, points].transpose(1, 0, 2).reshape(-1, lattice.n_sites)


def translation_permutation(lattice: Lattice, shift: IntVector) -> np.ndarray:
    """Permutation [n_sites] of the sites by a translation of `shift` cells.

    Raises:
        ValueError: If the shift has not one integer an axis, or moves sites along an open axis.
    """
    if len(shift) != lattice.dim or any(
        n and not p for n, p in zip(shift, lattice.periodic, strict=True)
    ):
        raise InputError(
            f"shift must be {lattice.dim} integers, 0 along open axes, got {shift!r} for"
            f" periodic={lattice.periodic}. Use 0 there."
        )
    cells = (lattice.cells + np.array(shift, dtype=np.int64)) % np.array(lattice.extent)
    return lattice.ravel(cells, lattice.sublattices)


def _centered(lattice: Lattice, operation: Operation) -> Operation | None:
    """The operation and the lattice translation that together keep the center along open axes, if any."""
    middle = [Fraction(n - 1, 2) for n in lattice.extent]
    cell = []
    for axis, row in enumerate(operation.rotation):
        image = sum((r * m for r, m in zip(row, middle, strict=True)), Fraction(0))
        image += Fraction(sum(s[axis] for s in operation.shifts), lattice.n_sublattices)
        move = Fraction(0) if lattice.periodic[axis] else middle[axis] - image
        if move.denominator != 1:
            return None
        cell.append(int(move))
    return operation.translated(tuple(cell))


def _permutation(lattice: Lattice, operation: Operation) -> np.ndarray | None:
    """Permutation [n_sites] by an operation, or None if it does not map the finite lattice onto itself."""
    extent, periodic = np.array(lattice.extent), np.array(lattice.periodic)
    # Images of the periods: whole periods along periodic axes, nothing along open ones.
    periods = (np.array(operation.rotation) * extent)[:, periodic]
    if (periods[periodic] % extent[periodic, None]).any() or periods[~periodic].any():
        return None
    cells, sublattices = operation.move(lattice.cells, lattice.sublattices)
    cells = np.where(periodic, cells % extent, cells)
    if ((cells < 0) | (cells >= extent)).any():
        return None
    return lattice.ravel(cells, sublattices)


def _require(permutation: np.ndarray | None) -> np.ndarray:
    assert permutation is not None
    return permutation
