"""Classes of equivalent sublattices, and a local frame for each sublattice.

On a lattice with several sites per cell, the components of a field refer to the local frame of
their site. The frame operation h_s takes the representative site of the class to sublattice s. An
operation g of the space group that takes s to s' then acts on the components by h_s'⁻¹ g h_s,
which is an element of the site group of the representative.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lattgnn.lattice.operations import Operation, SpaceGroup, space_group
from lattgnn.lattice.unit_cell import UnitCell
from lattgnn.symmetry.point_group import PointGroup, site_point_group


@dataclass(frozen=True)
class SiteClass:
    """A class of equivalent sublattices.

    Args:
        sublattices: The sublattices in increasing order; the first is the representative.
        frames: Operations that take the representative's site in cell 0 to each sublattice's site
            in cell 0; the first is the identity.
        group: The point group of the representative site, in the order of `SpaceGroup.site_group`.
    """

    sublattices: tuple[int, ...]
    frames: tuple[Operation, ...]
    group: PointGroup


@lru_cache(maxsize=128)
def site_classes(cell: UnitCell) -> tuple[SiteClass, ...]:
    """The classes of equivalent sublattices of a crystal, sorted by their representatives.

    Args:
        cell: The unit cell.

    Returns:
        One class for the square, honeycomb and kagome lattices; two for the Lieb lattice, corners
        and edges.

    Examples:
        >>> from lattgnn.lattice import lieb
        >>> for sites in site_classes(lieb(4).cell):
        ...     print(sites.sublattices, sites.group)
        (0,) PointGroup(D4, order 8, dim 2)
        (1, 2) PointGroup(D2, order 4, dim 2)
    """
    group = space_group(cell)
    classes = []
    for sublattices in sorted({tuple(_orbit(group, s)) for s in range(cell.n_sublattices)}):
        first = sublattices[0]
        frames = tuple(_frame(group, first, s) for s in sublattices)
        classes.append(SiteClass(sublattices, frames, site_point_group(cell, first)))
    return tuple(classes)


def site_class_index(cell: UnitCell, sublattice: int) -> int:
    """Index, in `site_classes(cell)`, of the class that a sublattice belongs to.

    Args:
        cell: The unit cell.
        sublattice: Number of the sublattice.

    Examples:
        >>> from lattgnn.lattice import lieb
        >>> [site_class_index(lieb(4).cell, sublattice) for sublattice in range(3)]
        [0, 1, 1]
    """
    return next(n for n, sites in enumerate(site_classes(cell)) if sublattice in sites.sublattices)


@lru_cache(maxsize=4096)
def local_element(cell: UnitCell, operation: Operation, sublattice: int) -> int:
    """What an operation does to a sublattice's site as seen in local frames: h_s'⁻¹ g h_s.

    It obeys l(g₁ g₂, s) = l(g₁, g₂ s) l(g₂, s) in the group of the site's class.

    Args:
        cell: The unit cell.
        operation: Any operation g of its space group.
        sublattice: The sublattice s where g starts; it ends on s'.

    Returns:
        Index of the element in the `group` of the class.

    Examples:
        The operation y, x of the honeycomb lattice is a mirror of sublattice 0, element 4 of its
        group.

        >>> from lattgnn.lattice import honeycomb, space_group
        >>> cell = honeycomb(4).cell
        >>> operation = space_group(cell).operations[8]
        >>> print(operation.symbol, local_element(cell, operation, 0))
        y, x 4
    """
    frames, elements = _local_frames(cell)
    before, after = frames[sublattice], frames[operation.sublattices[sublattice]]
    # Solve h_s' l = g h_s by comparing integer matrices, which needs no inverse.
    images = after @ elements[sublattice]
    found = (images == np.array(operation.rotation) @ before).all((1, 2))
    assert found.sum() == 1
    return int(found.argmax())


@lru_cache(maxsize=128)
def _local_frames(cell: UnitCell) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each sublattice the rotation h_s, [dim, dim], and the elements of the group of its class.

    All are integer matrices in units of the primitive vectors; the elements are [order, dim, dim].
    """
    frames = {}
    for members in site_classes(cell):
        site_group = space_group(cell).site_group(members.sublattices[0])
        elements = np.array([g.rotation for g in site_group])
        for s, frame in zip(members.sublattices, members.frames, strict=True):
            frames[s] = np.array(frame.rotation), elements
    return [frames[s][0] for s in sorted(frames)], [frames[s][1] for s in sorted(frames)]


def _orbit(group: SpaceGroup, sublattice: int) -> list[int]:
    """Sublattices to which operations take a given one, sorted."""
    return sorted({g.sublattices[sublattice] for g in group.operations})


def _frame(group: SpaceGroup, first: int, sublattice: int) -> Operation:
    """The first operation that takes one site of cell 0 to another; rotations come first."""
    operation = next(g for g in group.operations if g.sublattices[first] == sublattice)
    return operation.translated(tuple(-n for n in operation.shifts[first]))
