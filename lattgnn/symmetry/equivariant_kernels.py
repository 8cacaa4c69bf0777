"""Equivariant kernels: the linear maps between the components of two sites that symmetry allows.

A linear map of fields that commutes with the space group is given by a kernel K_b for each bond b,
with

    K_{gb} = ρ_out(g) K_b ρ_in(g)⁻¹     for every operation g.

The kernel of one representative bond, which must commute with the stabilizer of the bond,
therefore fixes the kernels of the whole orbit. Components refer to the local frames (see
`site_classes`), where ρ(g) is the matrix of the element of the site group by which g acts (see
`local_element`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lattgnn.lattice.operations import Operation, space_group
from lattgnn.lattice.orbits import Bond, Orbit, orbits_within
from lattgnn.lattice.unit_cell import IntVector, UnitCell
from lattgnn.symmetry.irreducible import invariant_tensors
from lattgnn.symmetry.local_frames import SiteClass, local_element, site_classes
from lattgnn.symmetry.representations import Representation


@dataclass(frozen=True)
class SiteType:
    """Components on one class of equivalent sites, and their representation of the site group.

    Attributes:
        site_class: Index of the class in `site_classes(cell)`.
        representation: Representation of the point group of the class.
    """

    site_class: int
    representation: Representation

    @property
    def dim(self) -> int:
        """Number of components per site."""
        return self.representation.dim


@dataclass(frozen=True, eq=False)
class OrbitKernels:
    """An orthonormal basis of the equivariant kernels on one orbit of bonds.

    Attributes:
        orbit: Index of the orbit; -1 for the bond of each site with itself.
        multiplicity: Number of bonds of the orbit that end at one site.
        kernels: Kernels of each bond of the unit cell, float64 [n_kernels, dim_out, dim_in].
    """

    orbit: int
    multiplicity: int
    kernels: dict[Bond, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.kernels.values())))


@lru_cache(maxsize=4096)
def orbit_kernels(
    cell: UnitCell, source: SiteType, destination: SiteType, cutoff: float | None
) -> tuple[OrbitKernels, ...]:
    """Kernels from one type of sites to another, orbit by orbit.

    Args:
        cell: The unit cell.
        source: Sites where the bonds start.
        destination: Sites where the bonds end.
        cutoff: Largest length of a bond; None leaves only the bond of a site with itself.

    Returns:
        The orbits that join these sites and allow at least one kernel. The bond of a site with
        itself, if there is one, comes first, as orbit -1.

    Examples:
        >>> from lattgnn.lattice import square
        >>> from lattgnn.symmetry import site_point_group, vector
        >>> cell = square(8).cell
        >>> vectors = SiteType(0, vector(site_point_group(cell)))
        >>> for kernels in orbit_kernels(cell, vectors, vectors, cutoff=1.5):
        ...     print(kernels.orbit, kernels.multiplicity, len(kernels))
        -1 1 1
        0 4 2
        1 4 2
    """
    classes = site_classes(cell)
    start, end = classes[source.site_class], classes[destination.site_class]
    found = []
    if start is end:
        found.append(_on_site(start, source, destination))
    for orbit in () if cutoff is None else orbits_within(cell, cutoff):
        if (
            orbit.source_sublattice in start.sublattices
            and orbit.destination_sublattice in end.sublattices
        ):
            found.append(_on_orbit(cell, orbit, source, destination))
    return tuple(kernels for kernels in found if len(kernels))


def kernel_count(
    cell: UnitCell, source: SiteType, destination: SiteType, cutoff: float | None
) -> int:
    """Number of independent equivariant kernels, from characters alone.

    It is the sum over orbits of (1/|S|) Σ_{s ∈ S} χ_out(s) χ_in(s), where S is the stabilizer of
    the orbit's representative.

    Args:
        cell: The unit cell.
        source: Sites where the bonds start.
        destination: Sites where the bonds end.
        cutoff: Largest length of a bond; None leaves only the bond of a site with itself.

    Examples:
        >>> from lattgnn.lattice import square
        >>> from lattgnn.symmetry import site_point_group, vector
        >>> cell = square(8).cell
        >>> vectors = SiteType(0, vector(site_point_group(cell)))
        >>> kernel_count(cell, vectors, vectors, cutoff=1.5)
        5
    """
    classes = site_classes(cell)
    start, end = classes[source.site_class], classes[destination.site_class]
    incoming, outgoing = source.representation.character, destination.representation.character
    total = float(incoming @ outgoing) / start.group.order if start is end else 0.0
    for orbit in () if cutoff is None else orbits_within(cell, cutoff):
        if (
            orbit.source_sublattice in start.sublattices
            and orbit.destination_sublattice in end.sublattices
        ):
            pairs = [_elements(cell, g, orbit.bonds[0]) for g in _stabilizer(cell, orbit.bonds[0])]
            total += float(np.mean([incoming[a] * outgoing[b] for a, b in pairs]))
    return round(total)


def _on_site(sites: SiteClass, source: SiteType, destination: SiteType) -> OrbitKernels:
    """Kernels of the bond of a site with itself."""
    # In local frames all sites of a class look alike and share the same kernels.
    maps = invariant_tensors([destination.representation.matrices, source.representation.matrices])
    zero: IntVector = (0,) * len(sites.frames[0].translation)
    return OrbitKernels(-1, 1, {(s, s, zero): maps for s in sites.sublattices})


def _on_orbit(
    cell: UnitCell, orbit: Orbit, source: SiteType, destination: SiteType
) -> OrbitKernels:
    """Kernels of one orbit: solve for the first bond, then carry over to the others."""
    first = orbit.bonds[0]
    incoming, outgoing = source.representation.matrices, destination.representation.matrices
    starts, ends = zip(*(_elements(cell, g, first) for g in _stabilizer(cell, first)), strict=True)
    maps = invariant_tensors([outgoing[list(ends)], incoming[list(starts)]])
    kernels: dict[Bond, np.ndarray] = {}
    for g in space_group(cell).operations:
        image = g.move_bond(*first)
        if image not in kernels:
            start, end = _elements(cell, g, first)
            kernels[image] = outgoing[end] @ maps @ incoming[start].T
    return OrbitKernels(orbit.index, orbit.multiplicity, kernels)


def _stabilizer(cell: UnitCell, bond: Bond) -> list[Operation]:
    """Operations, modulo translations, that leave a bond in place."""
    return [g for g in space_group(cell).operations if g.move_bond(*bond) == bond]


def _elements(cell: UnitCell, operation: Operation, bond: Bond) -> tuple[int, int]:
    """Local elements of an operation at the start and the end of a bond."""
    return local_element(cell, operation, bond[0]), local_element(cell, operation, bond[1])
