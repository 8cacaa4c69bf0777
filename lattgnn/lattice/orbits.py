"""Orbits of directed bonds under the space group, and the bonds of a finite lattice.

Two bonds share weights in a network, or a parameter in a Hamiltonian, exactly when an operation of the space
group maps one onto the other, direction included. Equal length is not enough: on the kagome lattice 18 shells
are 32 orbits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from lattgnn.errors import InputError
from lattgnn.lattice.space_group import cell_space_group
from lattgnn.lattice.unit_cell import Cell, IntVector

if TYPE_CHECKING:
    from lattgnn.lattice.geometry import Lattice

Bond = tuple[int, int, IntVector]


@dataclass(frozen=True)
class Orbit:
    """One class of equivalent directed bonds, described by a representative from cell 0 to cell `offset`.

    Attributes:
        index: Position in the list of orbits, which is sorted by distance.
        source_sublattice: Sublattice where the representative starts.
        destination_sublattice: Sublattice where it ends.
        offset: Cell of the destination minus cell of the source.
        displacement: Cartesian vector from source to destination, [dim].
        distance: Its length.
        multiplicity: Bonds of this orbit that arrive at one destination site.
        stabilizer_order: Operations (modulo translations) that leave the representative in place.
        reverse: Index of the orbit of the reversed bonds.
        squared_distance: The exact square of the length.
        bonds: All bonds of one cell: (source sublattice, destination sublattice, offset).
    """

    index: int
    source_sublattice: int
    destination_sublattice: int
    offset: IntVector
    displacement: tuple[float, ...]
    distance: float
    multiplicity: int
    stabilizer_order: int
    reverse: int
    squared_distance: Fraction = field(repr=False)
    bonds: tuple[Bond, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Bonds:
    """Directed bonds of a finite lattice, sorted by (destination, orbit, source); arrays are read-only.

    Attributes:
        source: Site where the bond starts, int64 [n_bonds].
        destination: Site where it arrives, int64 [n_bonds].
        orbit: Its orbit, int64 [n_bonds].
        displacement: Vector from source to destination, float64 [n_bonds, dim].
        kind: Number of the cell's bond that it is a copy of, [n_bonds]; `kinds` lists those.
    """

    source: np.ndarray
    destination: np.ndarray
    kind: np.ndarray = field(repr=False)
    kinds: tuple[Bond, ...] = field(repr=False)
    kind_orbit: np.ndarray = field(repr=False)
    kind_displacement: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def orbit(self) -> np.ndarray:
        """Orbit of each bond, int64 [n_bonds]."""
        return _read_only(self.kind_orbit[self.kind])

    @cached_property
    def displacement(self) -> np.ndarray:
        """Cartesian vector from source to destination, float64 [n_bonds, dim]."""
        return _read_only(self.kind_displacement[self.kind])


@dataclass(frozen=True)
class BondOrbits:
    """The orbits of directed bonds up to a cutoff; `edges()` lists the bonds of the finite lattice."""

    lattice: Lattice
    cutoff: float
    orbits: tuple[Orbit, ...]

    def __len__(self) -> int:
        return len(self.orbits)

    def edges(self) -> Bonds:
        """All directed bonds of the finite lattice, each ordered pair of sites at most once.

        Raises:
            ValueError: If the extent is too small for the cutoff; see `check_extent`.
        """
        self.check_extent()
        return _finite_bonds(self)

    def check_extent(self) -> None:
        """Check that no bond joins a site to itself and no two bonds join the same two sites.

        Raises:
            ValueError: If the extent is too small for that; the message names the smallest extent that works.
        """
        _check_extent(self)


def bond_orbits(lattice: Lattice, cutoff: float) -> BondOrbits:
    """Orbits of the directed bonds of length |r| ≤ cutoff under the space group.

    Args:
        lattice: The lattice; the orbits depend on its cell only.
        cutoff: Largest length of a bond, in the units of the primitive vectors. Compared exactly as
            r² ≤ cutoff² (1 + 1e-9), so that cutoff=2**0.5 includes the diagonal.

    Returns:
        Orbits numbered by distance, and among equal distances by their representatives; a larger cutoff
        appends.

    Raises:
        ValueError: If the cutoff is not a positive finite number.
    """
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise InputError(
            f"cutoff must be positive and finite, got {cutoff!r}. Use 1.0 for nearest neighbours."
        )
    return BondOrbits(lattice, float(cutoff), cell_orbits(lattice.cell, float(cutoff)))


@lru_cache(maxsize=128)
def cell_orbits(cell: Cell, cutoff: float) -> tuple[Orbit, ...]:
    """Orbits of a cell; see `bond_orbits`."""
    limit = Fraction(cutoff) ** 2 * (1 + Fraction(1, 10**9))
    classes = []
    for bonds in _bond_classes(cell, cutoff):
        # Every member has the same length; the mean keeps that true to the last digit for irrational input.
        squared = sum((cell.squared_length(cell.separation(*b)) for b in bonds), Fraction(0)) / len(
            bonds
        )
        if squared <= limit:
            classes.append((squared, sorted(bonds, key=_bond_key)))
    classes.sort(key=lambda c: (c[0], _bond_key(c[1][0])))
    number = {bond: i for i, (_, bonds) in enumerate(classes) for bond in bonds}
    order = cell_space_group(cell).order
    orbits = []
    for index, (squared, bonds) in enumerate(classes):
        source, destination, offset = bonds[0]
        orbits.append(
            Orbit(
                index=index,
                source_sublattice=source,
                destination_sublattice=destination,
                offset=offset,
                displacement=tuple(float(x) for x in cell.cartesian(cell.separation(*bonds[0]))),
                distance=math.sqrt(squared),
                multiplicity=sum(b[1] == destination for b in bonds),
                stabilizer_order=order // len(bonds),
                reverse=number[_reversed(bonds[0])],
                squared_distance=squared,
                bonds=tuple(bonds),
            )
        )
    return tuple(orbits)


def _bond_classes(cell: Cell, cutoff: float) -> list[set[Bond]]:
    """Equivalence classes of all bonds a little beyond the cutoff, and whole classes only."""
    operations = cell_space_group(cell).operations
    seen: set[Bond] = set()
    classes = []
    for source, destination in product(range(cell.n_sublattices), repeat=2):
        for offset in cell.offsets_within(source, destination, cutoff * (1 + 1e-6)).tolist():
            bond = (source, destination, tuple(offset))
            if bond in seen or (source == destination and not any(offset)):
                continue
            members = {g.move_bond(*bond) for g in operations}
            seen |= members
            classes.append(members)
    return classes


def _bond_key(bond: Bond) -> tuple:
    """Lowest sublattices first, then the offset that points most along the first axis."""
    return bond[0], bond[1], tuple(-n for n in bond[2])


def _reversed(bond: Bond) -> Bond:
    return bond[1], bond[0], tuple(-n for n in bond[2])


def _check_extent(orbits: BondOrbits) -> None:
    """Raise unless every ordered pair of sites is joined by at most one bond and no site by one to itself."""
    lattice = orbits.lattice
    differences = _clashing_differences(orbits)
    if not _clashes(differences, lattice.extent, lattice.periodic):
        return
    # Beyond twice the reach no two offsets can be congruent, so the search ends there.
    reach = np.abs(differences).max(0) + 1
    ranges = [
        range(n, max(n, int(r)) + 1) if p else (n,)
        for n, p, r in zip(lattice.extent, lattice.periodic, reach, strict=True)
    ]
    candidates = sorted(
        product(*ranges), key=lambda extent: (math.prod(extent), max(extent), extent)
    )
    smallest = next(e for e in candidates if not _clashes(differences, e, lattice.periodic))
    raise InputError(
        f"extent must be so large that no bond of length up to {orbits.cutoff:g} meets its own image or"
        f" another bond between the same two sites, got {lattice.extent!r}. Use {smallest!r}, a smaller"
        " cutoff, or open boundaries."
    )


def _clashing_differences(orbits: BondOrbits) -> np.ndarray:
    """Differences [n, dim] of the offsets of bonds between the same sublattices, no bond (0) included.

    If one of them is a period of the finite lattice, two bonds join the same sites.
    """
    extent, periodic = np.array(orbits.lattice.extent), np.array(orbits.lattice.periodic)
    offsets: dict[tuple[int, int], list[IntVector]] = {}
    for source, destination, offset in (bond for orbit in orbits.orbits for bond in orbit.bonds):
        if (periodic | (np.abs(offset) < extent)).all():
            offsets.setdefault((source, destination), []).append(offset)
    found = [np.zeros((1, orbits.lattice.dim), dtype=np.int64)]
    for (source, destination), cells in offsets.items():
        table = np.array(cells + [(0,) * orbits.lattice.dim] * (source == destination))
        difference = (table[:, None] - table).reshape(-1, table.shape[1])
        found.append(difference[difference.any(1)])
    return np.unique(np.concatenate(found)[1:], axis=0) if len(found) > 1 else found[0][:0]


def _clashes(differences: np.ndarray, extent: IntVector, periodic: tuple[bool, ...]) -> bool:
    met = np.where(np.array(periodic), differences % np.array(extent), differences) == 0
    return bool(met.all(1).any())


def _finite_bonds(orbits: BondOrbits) -> Bonds:
    """Bonds of the finite lattice: array operations over all cells for each bond of the unit cell."""
    lattice = orbits.lattice
    kinds = [(bond, orbit.index) for orbit in orbits.orbits for bond in orbit.bonds]
    kinds.sort(key=lambda k: (k[0][1], k[1]))
    # One integer a bond, its bits (orbit, source, kind): it sorts as wanted and is cheap to take apart.
    kind_bits, site_bits = len(kinds).bit_length(), lattice.n_sites.bit_length()
    absent = np.iinfo(np.int64).max  # sorts last
    keys = np.empty((lattice.n_cells, len(kinds)), dtype=np.int64)
    for k, ((source, _, offset), orbit) in enumerate(kinds):
        cells, present = _shifted_cells(lattice, offset)
        tag = (orbit << site_bits + kind_bits) + (source << kind_bits) + k
        keys[:, k] = np.where(present, cells * (lattice.n_sublattices << kind_bits) + tag, absent)
    arriving = [sum(bond[1] == s for bond, _ in kinds) for s in range(lattice.n_sublattices)]
    first = np.concatenate([[0], np.cumsum(arriving)])
    for start, stop in pairwise(first):
        keys[:, start:stop].sort(axis=1)
    sites = np.arange(lattice.n_sites).reshape(lattice.n_cells, lattice.n_sublattices)
    destination = np.repeat(sites, arriving, axis=1).reshape(-1)
    keys = keys.reshape(-1)
    if not all(lattice.periodic):
        present = keys != absent
        keys, destination = keys[present], destination[present]
    kind = (keys & (1 << kind_bits) - 1).astype(np.int32)
    source = keys >> kind_bits & (1 << site_bits) - 1
    vectors = [lattice.cell.cartesian(lattice.cell.separation(*bond)) for bond, _ in kinds]
    return Bonds(
        _read_only(source),
        _read_only(destination),
        _read_only(kind),
        tuple(bond for bond, _ in kinds),
        _read_only(np.array([orbit for _, orbit in kinds], dtype=np.int64)),
        _read_only(np.array(vectors).reshape(-1, lattice.dim)),
    )


def _shifted_cells(lattice: Lattice, offset: IntVector) -> tuple[np.ndarray, np.ndarray]:
    """Number of the cell at −offset from each cell, [n_cells], and whether it exists."""
    number = np.zeros(1, dtype=np.int64)
    present = np.ones(1, dtype=bool)
    for extent, periodic, step in zip(lattice.extent, lattice.periodic, offset, strict=True):
        shifted = np.arange(extent) - step
        inside = periodic | ((shifted >= 0) & (shifted < extent))
        number = (number[:, None] * extent + shifted % extent).reshape(-1)
        present = (present[:, None] & inside).reshape(-1)
    return number, present


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
