"""Space group of a lattice and the permutations of sites that it makes.

An operation takes fractional coordinates x to R x + t with R an integer matrix and t a vector of fractions;
operations are listed modulo lattice translations, so a square lattice has 8.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
import spglib

from lattgnn.errors import InputError
from lattgnn.lattice.unit_cell import IntVector, UnitCell, Vector


@dataclass(frozen=True)
class Operation:
    """x → rotation x + translation, in fractions of the primitive vectors.

    Sublattice s in cell n goes to sublattice `sublattices[s]` in cell rotation n + `shifts[s]`.
    """

    rotation: tuple[IntVector, ...]
    translation: Vector
    sublattices: tuple[int, ...]
    shifts: tuple[IntVector, ...]
    cartesian: np.ndarray = field(compare=False, repr=False)

    @property
    def symbol(self) -> str:
        """The operation in the notation of the International Tables, such as '-y, x+1/2'."""
        return ", ".join(
            _component(row, t) for row, t in zip(self.rotation, self.translation, strict=True)
        )

    def move(self, cells: np.ndarray, sublattices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image of sites given as cells [..., dim] and sublattices [...]."""
        shifts = np.array(self.shifts)[sublattices]
        return cells @ np.array(self.rotation).T + shifts, np.array(self.sublattices)[sublattices]

    def move_bond(
        self, source: int, destination: int, offset: IntVector
    ) -> tuple[int, int, IntVector]:
        """Image of the bond from `source` in cell 0 to `destination` in cell `offset`, back in cell 0."""
        shift = (self.shifts[destination], self.shifts[source])
        image = tuple(
            sum(r * n for r, n in zip(row, offset, strict=True)) + b - a
            for row, b, a in zip(self.rotation, *shift, strict=True)
        )
        return self.sublattices[source], self.sublattices[destination], image

    def translated(self, cell: IntVector) -> Operation:
        """The same operation followed by a lattice translation."""
        return replace(
            self,
            translation=tuple(t + n for t, n in zip(self.translation, cell, strict=True)),
            shifts=tuple(
                tuple(a + n for a, n in zip(row, cell, strict=True)) for row in self.shifts
            ),
        )


@dataclass(frozen=True)
class SpaceGroup:
    """Operations of an infinite lattice modulo its lattice translations; the identity comes first."""

    operations: tuple[Operation, ...]

    @property
    def order(self) -> int:
        """Number of operations modulo lattice translations."""
        return len(self.operations)

    def site_group(self, sublattice: int) -> tuple[Operation, ...]:
        """Operations that leave the site `sublattice` of cell 0 in place."""
        if not 0 <= sublattice < len(self.operations[0].sublattices):
            raise InputError(
                f"sublattice must be one of 0..{len(self.operations[0].sublattices) - 1}, got {sublattice!r}."
                " Use the number of a basis site."
            )
        return tuple(
            g.translated(tuple(-n for n in g.shifts[sublattice]))
            for g in self.operations
            if g.sublattices[sublattice] == sublattice
        )


@lru_cache(maxsize=128)
def space_group(cell: UnitCell) -> SpaceGroup:
    """Space group of an infinite crystal, found by spglib and made exact.

    Args:
        cell: The unit cell; for a finite lattice write `space_group(lattice.cell)`.

    Returns:
        Every operation (R, t), with R an integer matrix and t exact fractions in [0, 1).

    Raises:
        InputError: If spglib cannot find the space group.

    Reference:
        A. Togo, K. Shinohara and I. Tanaka, Sci. Technol. Adv. Mater. Meth. 4, 2384822 (2024) (spglib).
    """
    found = {}
    for rotation, translation in zip(*_spglib_operations(cell), strict=True):
        operation = _exact_operation(cell, rotation, translation)
        if operation is not None:
            found[operation.rotation, operation.translation] = operation
    return SpaceGroup(tuple(sorted(found.values(), key=_canonical_key)))


def _spglib_operations(cell: UnitCell) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [n, dim, dim] and approximate translations [n, dim] acting within the lattice's space."""
    dim = cell.dim
    gram = np.array(cell.gram, dtype=float)
    # Only scalar products matter; the Cholesky factor is a right-handed cell, which spglib requires. The axes
    # that pad 1D and 2D to three dimensions are perpendicular and longer than any vector of the cell.
    vectors = np.eye(3)
    vectors[:dim, :dim] = np.linalg.cholesky(gram / gram.diagonal().min())
    for axis in range(dim, 3):
        vectors[axis, axis] = (axis + 2.3) * np.abs(vectors).max()
    positions = np.zeros((cell.n_sublattices, 3))
    positions[:, :dim] = np.array(cell.basis, dtype=float)
    crystal = (vectors.tolist(), positions.tolist(), [1] * cell.n_sublattices)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its own way of reporting errors
        if dim == 2:
            dataset = spglib.get_layergroup(crystal, aperiodic_dir=2, symprec=1e-6)
        else:
            dataset = spglib.get_symmetry_dataset(crystal, symprec=1e-6)
    if dataset is None:
        raise InputError(
            f"sites must be well apart for spglib to find the space group, got {cell.n_sublattices} sites in"
            f" primitive_vectors {cell.primitive_vectors}. Use a cell that is less skew."
        )
    rotations, translations = np.asarray(dataset.rotations), np.asarray(dataset.translations)
    # A chain in three dimensions also has operations that turn the padding: keep those that leave it alone.
    padding = np.eye(3 - dim) if dim == 1 else np.abs(rotations[:, dim:, dim:])
    inside = (rotations[:, dim:, dim:] == padding).all((1, 2))
    inside &= (rotations[:, :dim, dim:] == 0).all((1, 2)) & (rotations[:, dim:, :dim] == 0).all(
        (1, 2)
    )
    return rotations[inside, :dim, :dim], translations[inside, :dim]


def _exact_operation(
    cell: UnitCell, rotation: np.ndarray, translation: np.ndarray
) -> Operation | None:
    """The operation with exact translation, or None if the cell has it only within spglib's tolerance."""
    gram = np.array(cell.gram, dtype=float)
    if np.abs(rotation.T @ gram @ rotation - gram).max() > 1e-9 * gram.max():
        return None
    basis = np.array(cell.basis, dtype=float)
    separation = (basis @ rotation.T + translation)[:, None] - basis
    sublattices = np.abs(separation - separation.round()).max(-1).argmin(1)
    matrix = tuple(tuple(int(n) for n in row) for row in rotation)
    rotated = [
        [sum(r * x for r, x in zip(row, site, strict=True)) for row in matrix]
        for site in cell.basis
    ]
    exact = tuple((b - a) % 1 for a, b in zip(rotated[0], cell.basis[sublattices[0]], strict=True))
    shifts = []
    for site, image in zip(rotated, sublattices, strict=True):
        move = [a + t - b for a, t, b in zip(site, exact, cell.basis[image], strict=True)]
        if max(abs(x - round(x)) for x in move) > 1e-9:
            return None
        shifts.append(tuple(round(x) for x in move))
    vectors = np.array(cell.primitive_vectors)
    cartesian = vectors.T @ rotation @ np.linalg.inv(vectors.T)
    cartesian.setflags(write=False)
    return Operation(matrix, exact, tuple(int(s) for s in sublattices), tuple(shifts), cartesian)


def _canonical_key(operation: Operation) -> tuple:
    """Identity first, then rotations before reflections, larger trace first."""
    rotation = np.array(operation.rotation)
    return (
        -round(np.linalg.det(rotation)),
        -int(rotation.trace()),
        tuple(-n for row in operation.rotation for n in row),
        operation.translation,
    )


def _component(row: IntVector, translation: Fraction) -> str:
    terms = []
    for factor, axis in zip(row, "xyz", strict=False):
        if factor:
            terms.append(
                ("-" if factor < 0 else "+") + (str(abs(factor)) if abs(factor) > 1 else "") + axis
            )
    if translation:
        terms.append(("-" if translation < 0 else "+") + str(abs(translation)))
    return "".join(terms).removeprefix("+") or "0"
