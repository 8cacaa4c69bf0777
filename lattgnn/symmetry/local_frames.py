"""Sublattices that symmetry makes equivalent, and the frame in which each looks like the first of its class.

On a lattice with several sites a cell, components of a field are taken in the frame of each site: h_s turns
the representative's axes into those of sublattice s. An operation g of the space group that takes s to s'
acts on the components by h_s'⁻¹ g h_s, an element of the one site group of the class.
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
    """Equivalent sublattices.

    Args:
        sublattices: In increasing order; the first is the representative.
        frames: Operations that take the representative's site in cell 0 to each sublattice's site in cell 0;
            the first is the identity.
        group: The site group of the representative, in the order of `SpaceGroup.site_group`.
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
        One class for the square, honeycomb and kagome lattices; two for the Lieb lattice, corners and edges.
    """
    group = space_group(cell)
    classes = []
    for sublattices in sorted({tuple(_orbit(group, s)) for s in range(cell.n_sublattices)}):
        first = sublattices[0]
        frames = tuple(_frame(group, first, s) for s in sublattices)
        classes.append(SiteClass(sublattices, frames, site_point_group(cell, first)))
    return tuple(classes)


def site_class_index(cell: UnitCell, sublattice: int) -> int:
    """Index, in `site_classes(cell)`, of the class that a sublattice belongs to."""
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
    """
    frames, elements = _local_frames(cell)
    before, after = frames[sublattice], frames[operation.sublattices[sublattice]]
    # h_s' l = g h_s without any inverse: whole numbers throughout.
    images = after @ elements[sublattice]
    found = (images == np.array(operation.rotation) @ before).all((1, 2))
    assert found.sum() == 1
    return int(found.argmax())


@lru_cache(maxsize=128)
def _local_frames(cell: UnitCell) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Rotation h_s of each sublattice, [dim, dim], and its class's group, [order, dim, dim], as integers."""
    frames = {}
    for members in site_classes(cell):
        site_group = space_group(cell).site_group(members.sublattices[0])
        elements = np.array([g.rotation for g in site_group])
        for s, frame in zip(members.sublattices, members.frames, strict=True):
            frames[s] = np.array(frame.rotation), elements
    return [frames[s][0] for s in sorted(frames)], [frames[s][1] for s in sorted(frames)]


def _orbit(group: SpaceGroup, sublattice: int) -> list[int]:
    return sorted({g.sublattices[sublattice] for g in group.operations})


def _frame(group: SpaceGroup, first: int, sublattice: int) -> Operation:
    """The first operation that takes one site of cell 0 to another: rotations come before reflections."""
    operation = next(g for g in group.operations if g.sublattices[first] == sublattice)
    return operation.translated(tuple(-n for n in operation.shifts[first]))
