"""Directed bonds of a finite lattice, listed from the orbits of its crystal.

The functions take the unit cell, the extent and the boundary separately, because `Lattice` calls
them and is therefore defined in a later module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, product

import numpy as np

from lattgnn.errors import InputError
from lattgnn.lattice.labels import Bond
from lattgnn.lattice.orbits import Orbit, orbits_within
from lattgnn.lattice.read_only import read_only
from lattgnn.lattice.unit_cell import IntVector, UnitCell
from lattgnn.memory import require_memory


@dataclass(frozen=True, eq=False)
class Bonds:
    """Directed bonds of a finite lattice, sorted by (destination, orbit, source).

    Arrays are read-only. Every bond of the finite lattice is a translated copy of one bond of the
    unit cell: bond b is a copy of `cell_bonds[cell_bond[b]]`.

    Attributes:
        source: Site where the bond starts, int64 [n_bonds].
        destination: Site where the bond ends, int64 [n_bonds].
        cell_bond: Number of the bond of the unit cell that each bond is a copy of, int32 [n_bonds].
        cell_bonds: The bonds of the unit cell: (source sublattice, destination sublattice, offset).
        cell_bond_orbit: Orbit of each bond of the unit cell, int64 [n_cell_bonds].
        cell_bond_displacement: Cartesian vector of each bond of the unit cell, float64
            [n_cell_bonds, dim].
        cell_bond_label: Label of each bond of the unit cell, [n_cell_bonds].
    """

    source: np.ndarray
    destination: np.ndarray
    cell_bond: np.ndarray = field(repr=False)
    cell_bonds: tuple[Bond, ...] = field(repr=False)
    cell_bond_orbit: np.ndarray = field(repr=False)
    cell_bond_displacement: np.ndarray = field(repr=False)
    cell_bond_label: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def orbit(self) -> np.ndarray:
        """Orbit of each bond, int64 [n_bonds]."""
        return read_only(self.cell_bond_orbit[self.cell_bond])

    @cached_property
    def label(self) -> np.ndarray:
        """Label of each bond, an empty text for bonds without one, [n_bonds]."""
        return read_only(self.cell_bond_label[self.cell_bond])

    @cached_property
    def displacement(self) -> np.ndarray:
        """Cartesian vector from source to destination, float64 [n_bonds, dim]."""
        return read_only(self.cell_bond_displacement[self.cell_bond])


def list_bonds(
    cell: UnitCell,
    extent: IntVector,
    periodic: tuple[bool, ...],
    cutoff: float,
    label: str | None = None,
) -> Bonds:
    """All directed bonds of a finite lattice, each ordered pair of sites at most once.

    Args:
        cell: The unit cell.
        extent: Number of cells along each axis.
        periodic: Whether each axis is periodic.
        cutoff: Largest length of a bond, in the units of the primitive vectors.
        label: Only bonds with this label; None takes all.

    Returns:
        The bonds, sorted by (destination, orbit, source).

    Raises:
        InputError: If the extent is too small for the cutoff; see `check_extent`.
    """
    check_extent(cell, extent, periodic, cutoff, label)
    orbits = _orbits(cell, cutoff, label)
    cell_bonds = [(bond, orbit.index) for orbit in orbits for bond in orbit.bonds]
    cell_bonds.sort(key=lambda entry: (entry[0][1], entry[1]))  # by destination, then orbit
    n_bonds = math.prod(extent) * len(cell_bonds)
    require_memory(3 * 8 * n_bonds, f"a list of {n_bonds:,} bonds", "Use a smaller extent.")
    source, destination, cell_bond = _sorted_bonds(cell, extent, periodic, cell_bonds)
    vectors = [cell.cartesian(cell.separation(*bond)) for bond, _ in cell_bonds]
    return Bonds(
        read_only(source),
        read_only(destination),
        read_only(cell_bond),
        tuple(bond for bond, _ in cell_bonds),
        read_only(np.array([orbit for _, orbit in cell_bonds], dtype=np.int64)),
        read_only(np.array(vectors).reshape(-1, cell.dim)),
        read_only(np.array([cell.bond_label.get(bond, "") for bond, _ in cell_bonds], dtype=str)),
    )


def check_extent(
    cell: UnitCell,
    extent: IntVector,
    periodic: tuple[bool, ...],
    cutoff: float,
    label: str | None = None,
) -> None:
    """Check that no bond joins a site to itself and no two bonds join the same pair of sites.

    Args:
        cell: The unit cell.
        extent: Number of cells along each axis.
        periodic: Whether each axis is periodic.
        cutoff: Largest length of a bond, in the units of the primitive vectors.
        label: Only bonds with this label; None takes all.

    Raises:
        InputError: If the extent is too small; the message names the smallest extent that works.
    """
    bonds = [bond for orbit in _orbits(cell, cutoff, label) for bond in orbit.bonds]
    offsets = _offsets(bonds, extent, periodic)
    if not _clashes(offsets, extent, periodic):
        return
    smallest = _smallest_extent(offsets, extent, periodic)
    raise InputError(
        f"extent must be large enough that no bond of length up to {cutoff:g} meets its own"
        f" periodic image or a second bond between the same two sites, got {extent!r}."
        f" Use {smallest!r}, a smaller cutoff, or open boundaries."
    )


def _orbits(cell: UnitCell, cutoff: float, label: str | None) -> list[Orbit]:
    """Orbits of the bonds up to a cutoff, all or those of one label."""
    return [o for o in orbits_within(cell, cutoff) if label is None or o.label == label]


def _offsets(bonds: list[Bond], extent: IntVector, periodic: tuple[bool, ...]) -> list[np.ndarray]:
    """Offsets [n, dim] of the bonds that join each two sublattices.

    From a sublattice to itself the offset 0 is included, which catches bonds that join a site to
    itself.
    """
    zero = (0,) * len(extent)
    offsets: dict[tuple[int, int], list[IntVector]] = {}
    for source, destination, offset in bonds:
        # A bond longer than an open axis does not exist in the finite lattice.
        if all(p or abs(n) < e for n, e, p in zip(offset, extent, periodic, strict=True)):
            known = offsets.setdefault((source, destination), [])
            if source == destination and not known:
                known.append(zero)
            known.append(offset)
    return [np.array(cells) for cells in offsets.values()]


def _clashes(offsets: list[np.ndarray], extent: IntVector, periodic: tuple[bool, ...]) -> bool:
    """Whether two offsets between the same sublattices are one in the finite lattice.

    Their difference is then 0 along open axes, and a multiple of the extent along periodic ones.
    """
    for cells in offsets:
        first = cells.min(0)
        wrapped = np.where(periodic, (cells - first) % np.array(extent), cells - first)
        numbers = np.ravel_multi_index(tuple(wrapped.T), tuple(wrapped.max(0) + 1))
        if len(np.unique(numbers)) < len(cells):
            return True
    return False


def _smallest_extent(
    offsets: list[np.ndarray], extent: IntVector, periodic: tuple[bool, ...]
) -> IntVector:
    """The extent with the fewest cells, none smaller than the given one, that has no clashes."""
    # Offsets between the same sublattices differ by less than `longest` along each axis, so a
    # lattice of that extent has no clashes, and the search ends there at the latest.
    longest = np.max([np.ptp(cells, axis=0) for cells in offsets], axis=0) + 1
    ranges = []
    for axis, n in enumerate(extent):
        last = max(n, int(longest[axis]))
        if not periodic[axis]:
            last = n
        # Extents that clash even if all other axes are long need not be tried in combination.
        others = [max(e, int(m)) for e, m in zip(extent, longest, strict=True)]
        trials = [(*others[:axis], k, *others[axis + 1 :]) for k in range(n, last + 1)]
        ranges.append([t[axis] for t in trials if not _clashes(offsets, t, periodic)])
    candidates = sorted(product(*ranges), key=lambda e: (math.prod(e), max(e), e))
    return next(e for e in candidates if not _clashes(offsets, e, periodic))


def _sorted_bonds(
    cell: UnitCell,
    extent: IntVector,
    periodic: tuple[bool, ...],
    cell_bonds: list[tuple[Bond, int]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, destination and cell bond of every bond, sorted by (destination, orbit, source).

    Args:
        cell: The unit cell.
        extent: Number of cells along each axis.
        periodic: Whether each axis is periodic.
        cell_bonds: Bonds of the unit cell with their orbits, sorted by destination sublattice.
    """
    n_cells = math.prod(extent)
    n_sites = n_cells * cell.n_sublattices
    # Each bond is packed into one integer whose bits are, from high to low, orbit, source and
    # cell bond. Integers sort much faster than triples, and shifts and masks unpack them. The
    # destination needs no bits: it is given by the row (cell) and the group of columns
    # (sublattice) of the integer.
    cell_bond_bits, site_bits = len(cell_bonds).bit_length(), n_sites.bit_length()
    absent = np.iinfo(np.int64).max  # for bonds that would cross an open boundary; sorts last
    keys = np.empty((n_cells, len(cell_bonds)), dtype=np.int64)
    for k, ((source, _, offset), orbit) in enumerate(cell_bonds):
        cells, present = shifted_cells(extent, periodic, offset)
        # The source site is cells · n_sublattices + source, shifted left by cell_bond_bits.
        tag = (orbit << site_bits + cell_bond_bits) + (source << cell_bond_bits) + k
        keys[:, k] = np.where(present, cells * (cell.n_sublattices << cell_bond_bits) + tag, absent)
    # Columns are grouped by destination sublattice; sort the bonds that end at each site.
    ending = [sum(bond[1] == s for bond, _ in cell_bonds) for s in range(cell.n_sublattices)]
    for start, stop in pairwise(np.concatenate([[0], np.cumsum(ending)])):
        keys[:, start:stop].sort(axis=1)
    sites = np.arange(n_sites).reshape(n_cells, cell.n_sublattices)
    destination = np.repeat(sites, ending, axis=1).reshape(-1)
    keys = keys.reshape(-1)
    if not all(periodic):
        present = keys != absent
        keys, destination = keys[present], destination[present]
    cell_bond = (keys & (1 << cell_bond_bits) - 1).astype(np.int32)
    source = keys >> cell_bond_bits & (1 << site_bits) - 1
    return source, destination, cell_bond


def shifted_cells(
    extent: IntVector, periodic: tuple[bool, ...], offset: IntVector
) -> tuple[np.ndarray, np.ndarray]:
    """Index of the cell at −offset from each cell, and whether that cell exists, both [n_cells]."""
    number = np.zeros(1, dtype=np.int64)
    present = np.ones(1, dtype=bool)
    # Row-major indices are built up axis by axis: index · extent + coordinate.
    for n, is_periodic, step in zip(extent, periodic, offset, strict=True):
        shifted = np.arange(n) - step
        inside = is_periodic | ((shifted >= 0) & (shifted < n))
        number = (number[:, None] * n + shifted % n).reshape(-1)
        present = (present[:, None] & inside).reshape(-1)
    return number, present
