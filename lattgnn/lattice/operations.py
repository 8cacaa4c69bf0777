"""The space group of a crystal, with exact operations.

An operation takes fractional coordinates x to R x + t, with R an integer matrix and t a vector of
fractions. Operations are listed modulo lattice translations, so that the square lattice has 8.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
import spglib

from lattgnn.errors import InputError
from lattgnn.lattice.read_only import read_only
from lattgnn.lattice.reduction import LENGTH_TOLERANCE
from lattgnn.lattice.unit_cell import IntVector, UnitCell, Vector


@dataclass(frozen=True)
class Operation:
    """The map x → rotation x + translation, in fractions of the primitive vectors.

    It takes sublattice s in cell n to sublattice `sublattices[s]` in cell rotation n + `shifts[s]`.

    Attributes:
        rotation: Integer matrix R, row by row.
        translation: Exact fractions t.
        sublattices: Image of each sublattice.
        shifts: Cell of the image of each site of cell 0.
        cartesian: The rotation as an orthogonal matrix [dim, dim] that acts on cartesian vectors.
    """

    rotation: tuple[IntVector, ...]
    translation: Vector
    sublattices: tuple[int, ...]
    shifts: tuple[IntVector, ...]
    cartesian: np.ndarray = field(compare=False, repr=False)

    @property
    def symbol(self) -> str:
        """The operation in the notation of the International Tables, such as '-y, x+1/2'."""
        pairs = zip(self.rotation, self.translation, strict=True)
        return ", ".join(_component(row, t) for row, t in pairs)

    def move(self, cells: np.ndarray, sublattices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images of sites.

        Args:
            cells: Cells of the sites, [..., dim].
            sublattices: Sublattices of the sites, [...].

        Returns:
            Cells and sublattices of the images, in the same shapes.
        """
        shifts = np.array(self.shifts)[sublattices]
        return cells @ np.array(self.rotation).T + shifts, np.array(self.sublattices)[sublattices]

    def move_bond(
        self, source: int, destination: int, offset: IntVector
    ) -> tuple[int, int, IntVector]:
        """Image of a bond, translated back so that it starts in cell 0.

        Args:
            source: Sublattice where the bond starts, in cell 0.
            destination: Sublattice where the bond ends, in cell `offset`.
            offset: Cell of the destination.

        Returns:
            Source sublattice, destination sublattice and offset of the image.
        """
        image = []
        ends = zip(self.rotation, self.shifts[destination], self.shifts[source], strict=True)
        for row, end, start in ends:
            image.append(sum(r * n for r, n in zip(row, offset, strict=True)) + end - start)
        return self.sublattices[source], self.sublattices[destination], tuple(image)

    def translated(self, cell: IntVector) -> Operation:
        """The same operation followed by a translation by `cell` primitive vectors."""
        return replace(
            self,
            translation=_add(self.translation, cell),
            shifts=tuple(_add(shift, cell) for shift in self.shifts),
        )


@dataclass(frozen=True)
class SpaceGroup:
    """Operations of a crystal modulo its lattice translations; the identity comes first."""

    operations: tuple[Operation, ...]

    @property
    def order(self) -> int:
        """Number of operations modulo lattice translations."""
        return len(self.operations)

    def site_group(self, sublattice: int) -> tuple[Operation, ...]:
        """Operations that leave a site of cell 0 in place, the identity first.

        Args:
            sublattice: Sublattice of the site.

        Raises:
            InputError: If there is no such sublattice.
        """
        last = len(self.operations[0].sublattices) - 1
        if not 0 <= sublattice <= last:
            raise InputError(
                f"sublattice must be one of 0..{last}, got {sublattice!r}."
                " Use the index of a basis site."
            )
        members = []
        for g in self.operations:
            if g.sublattices[sublattice] == sublattice:
                # Undo the lattice translation that the listed operation makes at this site.
                members.append(g.translated(tuple(-n for n in g.shifts[sublattice])))
        return tuple(members)


@lru_cache(maxsize=128)
def space_group(cell: UnitCell) -> SpaceGroup:
    """Space group of an infinite crystal, found by spglib and made exact.

    An operation must map every site to a site of the same label, and every labeled bond to a bond
    of the same label.

    Args:
        cell: The unit cell; for a finite lattice write `space_group(lattice.cell)`.

    Returns:
        Every operation (R, t), with R an integer matrix and t exact fractions in [0, 1).

    Raises:
        InputError: If spglib cannot find the space group.

    Reference:
        A. Togo, K. Shinohara and I. Tanaka, Sci. Technol. Adv. Mater. Meth. 4, 2384822 (2024).

    Examples:
        >>> from lattgnn.lattice import honeycomb, space_group
        >>> group = space_group(honeycomb(4).cell)
        >>> group.order, len(group.site_group(0))
        (12, 6)
        >>> for operation in group.operations[:2]:
        ...     print(operation.symbol)
        x, y
        x+y+1/3, -x+1/3

        A strong and a weak bond in turn leave a chain its mirrors, but no translation by one site:

        >>> from lattgnn.lattice import Lattice
        >>> dimers = Lattice([[2.0]], [[0], ["1/2"]], 4, bond_labels={"strong": [[0, 1, [0]]]})
        >>> [operation.symbol for operation in space_group(dimers.cell).operations]
        ['x', '-x+1/2']
    """
    found = {}
    for rotation, translation in zip(*_spglib_operations(cell), strict=True):
        operation = _exact_operation(cell, rotation, translation)
        if operation is not None and _keeps_bond_labels(cell, operation):
            found[operation.rotation, operation.translation] = operation
    return SpaceGroup(tuple(sorted(found.values(), key=_canonical_key)))


def _spglib_operations(cell: UnitCell) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [n, dim, dim] and approximate translations [n, dim], in the reduced cell."""
    dim = cell.dim
    gram = np.array(cell.reduced_gram, dtype=float)
    # Only scalar products matter. The Cholesky factor of their matrix is a right-handed cell, which
    # spglib requires. The axes that pad 1D and 2D crystals to three dimensions are perpendicular to
    # the cell and longer than all of its vectors.
    vectors = np.eye(3)
    vectors[:dim, :dim] = np.linalg.cholesky(gram / gram.diagonal().min())
    for axis in range(dim, 3):
        vectors[axis, axis] = (axis + 2.3) * np.abs(vectors).max()
    positions = np.zeros((cell.n_sublattices, 3))
    positions[:, :dim] = np.array(cell.basis, dtype=float) @ np.linalg.inv(cell.reduction)
    # Sites of different labels are different elements to spglib.
    kinds = sorted(set(cell.site_labels))
    species = [1 + kinds.index(label) for label in cell.site_labels] or [1] * cell.n_sublattices
    crystal = (vectors.tolist(), positions.tolist(), species)
    with warnings.catch_warnings():
        # spglib warns that its way of reporting errors will change.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            if dim == 2:
                dataset = spglib.get_layergroup(crystal, aperiodic_dir=2, symprec=1e-6)
            else:
                dataset = spglib.get_symmetry_dataset(crystal, symprec=1e-6)
        except spglib.error.SpglibError:  # older versions return None instead
            dataset = None
    if dataset is None:
        raise InputError(
            f"spglib found no space group for {cell.n_sublattices} sites in primitive_vectors"
            f" {cell.primitive_vectors}. Use sites that are well apart and a less skew cell."
        )
    rotations, translations = np.asarray(dataset.rotations), np.asarray(dataset.translations)
    # Keep operations that do not mix the cell with the padding. A chain also has operations that
    # turn the padding; of these only the identity is kept. A plane may be turned over.
    padding = np.eye(3 - dim) if dim == 1 else np.abs(rotations[:, dim:, dim:])
    inside = (rotations[:, dim:, dim:] == padding).all((1, 2))
    inside &= (rotations[:, :dim, dim:] == 0).all((1, 2))
    inside &= (rotations[:, dim:, :dim] == 0).all((1, 2))
    return rotations[inside, :dim, :dim], translations[inside, :dim]


def _exact_operation(
    cell: UnitCell, rotation: np.ndarray, translation: np.ndarray
) -> Operation | None:
    """The exact operation, or None if it holds only within the tolerance of spglib.

    Args:
        cell: The unit cell.
        rotation: Integer rotation [dim, dim] in the reduced cell.
        translation: Approximate translation [dim] in the reduced cell.
    """
    gram = np.array(cell.reduced_gram, dtype=float)
    lengths = np.sqrt(gram.diagonal())
    change = np.abs(rotation.T @ gram @ rotation - gram)
    if (change > LENGTH_TOLERANCE * np.outer(lengths, lengths)).any():
        return None
    # Image of each sublattice: the site nearest to where the approximate operation takes it.
    back = np.linalg.inv(cell.reduction)
    basis = np.array(cell.basis, dtype=float) @ back
    separation = (basis @ rotation.T + translation)[:, None] - basis
    sublattices = np.abs(separation - separation.round()).max(-1).argmin(1)
    # Fractions x of the primitive vectors are x = Nᵀ y for fractions y of the reduced cell.
    rotation = np.rint(cell.reduction.T @ rotation @ back.T).astype(np.int64)
    matrix = tuple(tuple(int(n) for n in row) for row in rotation)
    rotated = [_product(matrix, site) for site in cell.basis]
    # The translation is exactly the vector that takes the rotated site 0 onto its image ...
    image = cell.basis[sublattices[0]]
    exact = tuple((b - a) % 1 for a, b in zip(rotated[0], image, strict=True))
    # ... and it must take all other sites onto theirs, up to whole cells.
    shifts = []
    for site, sublattice in zip(rotated, sublattices, strict=True):
        image = cell.basis[sublattice]
        move = [a + t - b for a, t, b in zip(site, exact, image, strict=True)]
        if max(abs(x - round(x)) for x in move) > LENGTH_TOLERANCE:
            return None
        shifts.append(tuple(round(x) for x in move))
    vectors = np.array(cell.primitive_vectors)
    cartesian = read_only(vectors.T @ rotation @ np.linalg.inv(vectors.T))
    return Operation(matrix, exact, tuple(int(s) for s in sublattices), tuple(shifts), cartesian)


def _keeps_bond_labels(cell: UnitCell, operation: Operation) -> bool:
    """Whether an operation maps every labeled bond to a bond of the same label.

    An operation maps different bonds to different ones, so unlabeled bonds then stay unlabeled.
    """
    labels = cell.bond_label
    return all(labels.get(operation.move_bond(*b)) == label for b, label in labels.items())


def _product(matrix: tuple[IntVector, ...], vector: Vector) -> Vector:
    """Exact product of an integer matrix and a vector of fractions."""
    found = []
    for row in matrix:
        products = (r * x for r, x in zip(row, vector, strict=True))
        found.append(sum(products, Fraction(0)))
    return tuple(found)


def _add(vector: tuple, cell: IntVector) -> tuple:
    """Sum of two vectors, component by component."""
    return tuple(a + n for a, n in zip(vector, cell, strict=True))


def _canonical_key(operation: Operation) -> tuple:
    """Sort key: the identity first, then rotations before reflections, larger traces first."""
    rotation = np.array(operation.rotation)
    return (
        -round(np.linalg.det(rotation)),
        -int(rotation.trace()),
        tuple(-n for row in operation.rotation for n in row),
        operation.translation,
    )


def _component(row: IntVector, translation: Fraction) -> str:
    """One component of a symbol, such as 'x-y+1/2'."""
    terms = []
    for factor, axis in zip(row, "xyz", strict=False):
        if factor:
            sign = "-" if factor < 0 else "+"
            size = str(abs(factor)) if abs(factor) > 1 else ""
            terms.append(sign + size + axis)
    if translation:
        terms.append(("-" if translation < 0 else "+") + str(abs(translation)))
    return "".join(terms).removeprefix("+") or "0"
