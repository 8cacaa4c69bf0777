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

    Along periodic axes the rotation must map the periods onto periods; a lattice of 8 × 12 squares
    has no rotation by 90°. Along open axes the operation must map the cluster onto itself after it
    is combined with the one lattice translation that keeps the center of the cluster in place.

    Args:
        lattice: The finite lattice.

    Returns:
        Operations, the identity first, with that translation included. There is one for each coset
        of the translations along periodic axes.

    Examples:
        >>> from lattgnn.lattice import compatible_operations, square
        >>> len(compatible_operations(square(8))), len(compatible_operations(square(8, 12)))
        (8, 4)
    """
    found = []
    for operation in space_group(lattice.cell).operations:
        centered = _centered(lattice, operation)
        if centered is not None and _permutation(lattice, centered) is not None:
            found.append(centered)
    return tuple(found)


def site_permutations(lattice: Lattice, translations: bool = False) -> np.ndarray:
    """Permutations of the sites by the operations that the finite lattice has.

    Args:
        lattice: The finite lattice.
        translations: Whether to combine each operation with all translations along periodic axes.

    Returns:
        Permutations, int64 [n_operations (× n_translations), n_sites]; operation g takes site i to
        site perm[g, i]. Row g is operation g of `compatible_operations`. With translations, row
        g · n_translations + T is operation g followed by translation T.

    Examples:
        >>> from lattgnn.lattice import chain, site_permutations
        >>> print(site_permutations(chain(5)))
        [[0 1 2 3 4]
         [0 4 3 2 1]]
    """
    rows = []
    for operation in compatible_operations(lattice):
        permutation = _permutation(lattice, operation)
        assert permutation is not None
        rows.append(permutation)
    points = np.stack(rows)
    if not translations:
        return points
    steps = [
        range(n) if p else range(1) for n, p in zip(lattice.extent, lattice.periodic, strict=True)
    ]
    shifts = np.stack([translation_permutation(lattice, shift) for shift in product(*steps)])
    # shifts[T][points[g]] at [T, g]; operations become the slow index.
    return shifts[:, points].transpose(1, 0, 2).reshape(-1, lattice.n_sites)


def translation_permutation(lattice: Lattice, shift: IntVector) -> np.ndarray:
    """Permutation of the sites by a lattice translation.

    Args:
        lattice: The finite lattice.
        shift: Number of cells along each axis; 0 along open axes.

    Returns:
        The permutation, int64 [n_sites]; site i goes to site perm[i].

    Raises:
        InputError: If the shift does not have one integer per axis, or moves sites along an open
            axis.

    Examples:
        >>> from lattgnn.lattice import chain, translation_permutation
        >>> print(translation_permutation(chain(5), (2,)))
        [2 3 4 0 1]
    """
    if len(shift) != lattice.dim or any(
        n and not p for n, p in zip(shift, lattice.periodic, strict=True)
    ):
        raise InputError(
            f"shift must be {lattice.dim} integers, 0 along open axes, got {shift!r} for"
            f" periodic={lattice.periodic}. Use 0 along open axes."
        )
    cells = (lattice.cells + np.array(shift, dtype=np.int64)) % np.array(lattice.extent)
    return lattice.ravel(cells, lattice.sublattices)


def _centered(lattice: Lattice, operation: Operation) -> Operation | None:
    """The operation combined with the translation that keeps the center in place along open axes.

    None if that translation is not by whole cells.
    """
    middle = [Fraction(n - 1, 2) for n in lattice.extent]
    cell = []
    for axis, row in enumerate(operation.rotation):
        # Image of the mean cell of all sites: R · middle plus the mean of the sublattices' shifts.
        image = sum((r * m for r, m in zip(row, middle, strict=True)), Fraction(0))
        image += Fraction(sum(s[axis] for s in operation.shifts), lattice.n_sublattices)
        move = Fraction(0) if lattice.periodic[axis] else middle[axis] - image
        if move.denominator != 1:
            return None
        cell.append(int(move))
    return operation.translated(tuple(cell))


def _permutation(lattice: Lattice, operation: Operation) -> np.ndarray | None:
    """Permutation [n_sites] by an operation, or None if it does not map the lattice onto itself."""
    extent, periodic = np.array(lattice.extent), np.array(lattice.periodic)
    # Columns are images of the periods. They must be whole periods along periodic axes and must not
    # extend along open ones.
    periods = (np.array(operation.rotation) * extent)[:, periodic]
    if (periods[periodic] % extent[periodic, None]).any() or periods[~periodic].any():
        return None
    cells, sublattices = operation.move(lattice.cells, lattice.sublattices)
    cells = np.where(periodic, cells % extent, cells)
    if ((cells < 0) | (cells >= extent)).any():
        return None
    return lattice.ravel(cells, sublattices)
