"""Finite groups of rotations and reflections about a point, in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import count

import numpy as np
from jaxtyping import Float

from lattgnn.errors import InputError
from lattgnn.lattice.operations import space_group
from lattgnn.lattice.read_only import read_only
from lattgnn.lattice.unit_cell import UnitCell

# Hermann-Mauguin names, looked up by the order of the group {det(R) R} and the largest order of its
# elements. The four names are for a group of rotations only; for one with the inversion; and for
# others, by whether their elements of largest order are rotoinversions or rotations.
_HERMANN_MAUGUIN = {
    (1, 1): ("1", "-1", "", ""),
    (2, 2): ("2", "2/m", "m", ""),
    (3, 3): ("3", "-3", "", ""),
    (4, 4): ("4", "4/m", "-4", ""),
    (6, 6): ("6", "6/m", "-6", ""),
    (4, 2): ("222", "mmm", "", "mm2"),
    (6, 3): ("32", "-3m", "", "3m"),
    (8, 4): ("422", "4/mmm", "-42m", "4mm"),
    (12, 6): ("622", "6/mmm", "-6m2", "6mm"),
    (12, 3): ("23", "m-3", "", ""),
    (24, 4): ("432", "m-3m", "-43m", ""),
}


@dataclass(frozen=True, eq=False)
class PointGroup:
    """A finite group of orthogonal matrices, the identity first.

    Groups are equal if they have the same elements in the same order.

    Args:
        rotations: Cartesian matrices [order, dim, dim]; `from_rotations` checks and cleans them.
    """

    rotations: Float[np.ndarray, "order dim dim"] = field(repr=False)

    def __post_init__(self) -> None:
        self.rotations.setflags(write=False)

    @classmethod
    def from_rotations(cls, matrices: Sequence | np.ndarray) -> PointGroup:
        """The group of given matrices.

        Args:
            matrices: Cartesian matrices [n, dim, dim], orthogonal to 1e-6, in any order. Repeated
                ones count once.

        Returns:
            The group: the identity first, the others in the given order. The common entries 0,
            1/2, √3/2 and 1 are made exact.

        Raises:
            InputError: If the matrices are not orthogonal or do not form a group.
        """
        given = np.array(matrices, dtype=np.float64)
        if given.ndim != 3 or given.shape[1:] not in [(1, 1), (2, 2), (3, 3)] or not len(given):
            raise InputError(
                "rotations must be an array [n, dim, dim] with dim 1, 2 or 3, got the shape"
                f" {given.shape}. Use [[[1, 0], [0, 1]]] for the trivial group in the plane."
            )
        defect = np.abs(given @ given.swapaxes(1, 2) - np.eye(given.shape[1])).max()
        if not defect <= 1e-6:
            raise InputError(
                f"rotations must be orthogonal matrices, got a defect of {defect:.1e}."
                " Use Cartesian components, not fractions of the primitive vectors."
            )
        for _ in range(3):  # Newton iterations toward the nearest orthogonal matrix
            given = 1.5 * given - 0.5 * given @ given.swapaxes(1, 2) @ given
        group = cls(_identity_first(snapped(given, 1e-9)))
        if (group.table < 0).any():
            raise InputError(
                f"rotations must be closed under multiplication, got {group.order} matrices that"
                " are not. Use all elements of the group."
            )
        return group

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointGroup) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple:
        return PointGroup, (np.array(self.rotations),)

    def __repr__(self) -> str:
        return f"PointGroup({self.name}, order {self.order}, dim {self.dim})"

    @cached_property
    def _key(self) -> tuple:
        # + 0.0 turns -0.0 into 0.0, whose bytes differ.
        return self.rotations.shape, (self.rotations.round(9) + 0.0).tobytes()

    @property
    def order(self) -> int:
        """Number of elements."""
        return self.rotations.shape[0]

    @property
    def dim(self) -> int:
        """Dimension of space."""
        return self.rotations.shape[1]

    @cached_property
    def determinants(self) -> np.ndarray:
        """+1 for each rotation, −1 for each reflection or rotoinversion, int64 [order]."""
        return read_only(np.linalg.det(self.rotations).round().astype(np.int64))

    @cached_property
    def table(self) -> np.ndarray:
        """Multiplication table, int64 [order, order]: table[a, b] is a after b.

        Products that are not in the group are -1.
        """
        products = (self.rotations[:, None] @ self.rotations).reshape(-1, self.dim**2)
        # Compare each product P with all elements R by one matrix product.
        flat = self.rotations.reshape(-1, self.dim**2)
        # tr(Rᵀ P) is largest, namely dim, where R = P.
        nearest = (products @ flat.T).argmax(1)
        found = np.abs(products - flat[nearest]).max(1) <= 1e-6
        return read_only(np.where(found, nearest, -1).reshape(self.order, self.order))

    @cached_property
    def inverse(self) -> np.ndarray:
        """Index of the inverse of each element, int64 [order]."""
        return read_only((self.table == 0).argmax(1))

    @cached_property
    def classes(self) -> tuple[tuple[int, ...], ...]:
        """Conjugacy classes, each sorted, in the order of their first elements."""
        conjugates = self.table[self.table, self.inverse[:, None]]  # h g h⁻¹ at [h, g]
        return tuple(sorted({tuple(np.unique(column).tolist()) for column in conjugates.T}))

    @cached_property
    def name(self) -> str:
        """Cn or Dn on a line and in the plane; the Hermann-Mauguin symbol in space."""
        proper = int((self.determinants > 0).sum())
        if self.dim < 3:
            return f"{'D' if self.order > proper else 'C'}{proper}"
        # See _HERMANN_MAUGUIN for the meaning of the key and the four names.
        turns = self.rotations * self.determinants[:, None, None]
        n_turns, orders = len(_distinct(turns)), matrix_orders(turns)
        names = _HERMANN_MAUGUIN.get((n_turns, int(orders.max())))
        if names is None:
            return f"group of order {self.order}"
        if proper == self.order or n_turns < self.order:
            return names[0] if proper == self.order else names[1]
        return names[3] if (self.determinants[orders == orders.max()] > 0).any() else names[2]

    def index(self, rotation: Sequence | np.ndarray) -> int:
        """Index of an element.

        Args:
            rotation: Cartesian matrix of the element, accurate to 1e-6, [dim, dim].

        Raises:
            InputError: If the group has no such element.
        """
        given = np.asarray(rotation, dtype=np.float64)
        if given.shape == (self.dim, self.dim):
            far = np.abs(self.rotations - given).max((1, 2))
            if far.min() <= 1e-6:
                return int(far.argmin())
        raise InputError(
            f"rotation must be an element of {self.name}, got {given.tolist()}."
            f" Use one of its {self.order} matrices."
        )

    def check_subgroup(self, elements: Sequence[int] | np.ndarray) -> np.ndarray:
        """Check that elements form a subgroup.

        Args:
            elements: Indices of the elements, in any order.

        Returns:
            The sorted indices, int64 [n].

        Raises:
            InputError: If the elements do not form a subgroup.
        """
        chosen = np.asarray(elements, dtype=np.int64).reshape(-1)
        inside = len(chosen) and 0 <= chosen.min() and chosen.max() < self.order
        if not inside or set(self.table[np.ix_(chosen, chosen)].flat) != set(chosen.tolist()):
            raise InputError(
                f"subgroup must be closed under multiplication, got elements {chosen.tolist()} of"
                f" {self.name}. Use [0] for the identity alone."
            )
        return np.unique(chosen)


@lru_cache(maxsize=128)
def site_point_group(cell: UnitCell, sublattice: int = 0) -> PointGroup:
    """The point group of a site.

    Its elements are the rotations and reflections about the site that leave the crystal unchanged.

    Args:
        cell: The unit cell.
        sublattice: Number of the site in the cell.

    Returns:
        The group; its element k is operation k of `space_group(cell).site_group(sublattice)`.

    Raises:
        InputError: If there is no such sublattice.

    Examples:
        >>> from lattgnn.lattice import cubic, kagome, square
        >>> for lattice in (square(8), kagome(8), cubic(8)):
        ...     print(site_point_group(lattice.cell))
        PointGroup(D4, order 8, dim 2)
        PointGroup(D2, order 4, dim 2)
        PointGroup(m-3m, order 48, dim 3)
    """
    members = space_group(cell).site_group(sublattice)
    return PointGroup.from_rotations([g.cartesian for g in members])


def matrix_orders(matrices: np.ndarray) -> np.ndarray:
    """Order of each matrix R: the smallest k > 0 with R^k = 1.

    Args:
        matrices: Matrices of finite order, [n, dim, dim].

    Returns:
        The orders, int64 [n].
    """
    orders, power = np.zeros(len(matrices), dtype=np.int64), matrices
    for n in count(1):
        is_identity = np.abs(power - np.eye(matrices.shape[1])).max((1, 2)) <= 1e-6
        orders[is_identity & (orders == 0)] = n
        if orders.all():
            break
        power = power @ matrices
    return orders


def snapped(values: np.ndarray, tolerance: float) -> np.ndarray:
    """A copy in which entries close to 0, ±1/2, ±√3/2 and ±1 are exact, to remove rounding errors.

    Args:
        values: Any array.
        tolerance: Largest difference that is removed.
    """
    values = np.array(values)
    for exact in (0.0, 0.5, 3**0.5 / 2, 1.0):
        for value in (exact, -exact):
            # + 0.0 turns -0.0 into 0.0.
            values[np.abs(values - value) <= tolerance] = value + 0.0
    return values


def _identity_first(matrices: np.ndarray) -> np.ndarray:
    """Distinct matrices, the identity moved to the front."""
    matrices = _distinct(matrices)
    is_identity = np.abs(matrices - np.eye(matrices.shape[1])).max((1, 2)) <= 1e-6
    return np.concatenate([matrices[is_identity], matrices[~is_identity]])


def _distinct(matrices: np.ndarray) -> np.ndarray:
    """The distinct matrices, in the order of their first occurrence."""
    same = np.abs(matrices[:, None] - matrices).max((2, 3)) <= 1e-6
    return matrices[same.argmax(1) == np.arange(len(matrices))]
