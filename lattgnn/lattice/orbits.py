"""Orbits of the directed bonds of a crystal under its space group.

Two bonds share weights in a network, or a parameter in a Hamiltonian, exactly when an operation of
the space group maps one onto the other, direction included. Equal length is not enough: the first
18 shells of the kagome lattice hold 32 orbits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, product

import numpy as np

from lattgnn.errors import InputError
from lattgnn.lattice.labels import Bond, bond_key, reversed_bond
from lattgnn.lattice.operations import space_group
from lattgnn.lattice.reduction import LENGTH_TOLERANCE, equal_lengths, shortest_vector
from lattgnn.lattice.unit_cell import IntVector, UnitCell

MAX_BONDS = 200_000
"""Largest number of bonds per cell; as many take about half a minute."""


@dataclass(frozen=True)
class Orbit:
    """One class of equivalent directed bonds, described by a representative.

    The representative starts in cell 0 and ends in cell `offset`.

    Attributes:
        index: Position in the list of orbits, which is sorted by distance.
        source_sublattice: Sublattice where the representative starts.
        destination_sublattice: Sublattice where the representative ends.
        offset: Cell of the destination minus cell of the source.
        displacement: Cartesian vector from source to destination, [dim].
        distance: Length of the displacement.
        multiplicity: Number of bonds of this orbit that end at one destination site.
        stabilizer_order: Number of operations, modulo translations, that leave the representative
            in place.
        reverse: Index of the orbit of the reversed bonds.
        label: Label of the bonds, or an empty text.
        squared_distance: Square of the distance; orbits of equal length have the same number.
        bonds: All bonds of this orbit that start in cell 0.
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
    label: str
    squared_distance: Fraction = field(repr=False)
    bonds: tuple[Bond, ...] = field(repr=False)


@lru_cache(maxsize=128)
def orbits_within(cell: UnitCell, cutoff: float) -> tuple[Orbit, ...]:
    """Orbits of the directed bonds of length |r| ≤ cutoff of an infinite crystal.

    Args:
        cell: The unit cell.
        cutoff: Largest length of a bond, in the units of the primitive vectors. The comparison has
            a relative tolerance of 1e-9, so that cutoff=2**0.5 includes the diagonal of a square.

    Returns:
        Orbits sorted by distance, and among equal distances by their representatives. A larger
        cutoff appends orbits and renumbers none.

    Raises:
        InputError: If the cutoff is not a positive finite number.

    Examples:
        Directions count: on the Lieb lattice, bonds from edges to corners are not equivalent to the
        reversed bonds.

        >>> from lattgnn.lattice import lieb, orbits_within
        >>> for orbit in orbits_within(lieb(4).cell, cutoff=1.0):
        ...     print(orbit.index, orbit.multiplicity, orbit.reverse)
        0 2 1
        1 4 0
    """
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise InputError(
            f"cutoff must be positive and finite, got {cutoff!r}. Use 1.0 for nearest neighbors."
        )
    classes = _sorted_classes(cell, cutoff)
    # Number of each bond's orbit, to look up the orbit of a reversed bond.
    number = {}
    for index, (_, bonds) in enumerate(classes):
        number.update(dict.fromkeys(bonds, index))
    order = space_group(cell).order
    orbits = []
    for index, (squared, bonds) in enumerate(classes):
        source, destination, offset = bonds[0]
        orbit = Orbit(
            index=index,
            source_sublattice=source,
            destination_sublattice=destination,
            offset=offset,
            displacement=tuple(float(x) for x in cell.cartesian(cell.separation(*bonds[0]))),
            distance=math.sqrt(squared),
            multiplicity=sum(bond[1] == destination for bond in bonds),
            stabilizer_order=order // len(bonds),  # orbit-stabilizer theorem
            reverse=number[reversed_bond(bonds[0])],
            label=cell.bond_label.get(bonds[0], ""),
            squared_distance=squared,
            bonds=tuple(bonds),
        )
        orbits.append(orbit)
    return tuple(orbits)


def _sorted_classes(cell: UnitCell, cutoff: float) -> list[tuple[Fraction, list[Bond]]]:
    """Squared length and sorted bonds of each class up to the cutoff, the shortest first."""
    lengths = [(_squared_length(cell, bonds), bonds) for bonds in _bond_classes(cell, cutoff)]
    lengths.sort(key=lambda entry: entry[0])
    starts = equal_lengths(np.array([float(squared) for squared, _ in lengths]))
    limit = Fraction(cutoff) ** 2 * (1 + 2 * Fraction(LENGTH_TOLERANCE))
    classes = []
    for start, stop in pairwise([*starts.tolist(), len(lengths)]):
        # Lengths that differ only by rounding become one number.
        squared = lengths[start][0]
        if squared <= limit:
            shell = [sorted(bonds, key=bond_key) for _, bonds in lengths[start:stop]]
            classes += [(squared, bonds) for bonds in sorted(shell, key=lambda b: bond_key(b[0]))]
    return classes


def neighbor_shells(cell: UnitCell, n: int, sublattice: int) -> list[tuple[float, int]]:
    """Distance and number of sites of the nearest shells of neighbors of a site.

    Args:
        cell: The unit cell.
        n: Number of shells.
        sublattice: Sublattice of the central site.

    Raises:
        InputError: If n is below 1 or there is no such sublattice.

    Examples:
        >>> from lattgnn.lattice import square
        >>> neighbor_shells(square(8).cell, n=2, sublattice=0)
        [(1.0, 4), (1.4142135623730951, 4)]
    """
    if n < 1 or not 0 <= sublattice < cell.n_sublattices:
        raise InputError(
            f"shells need n >= 1 and a sublattice of 0..{cell.n_sublattices - 1},"
            f" got {n!r} and {sublattice!r}. Use shells(3)."
        )
    # Widen the cutoff until there are enough shells.
    cutoff = shortest_vector(np.array(cell.primitive_vectors))
    while True:
        counts: dict[Fraction, int] = {}
        for orbit in orbits_within(cell, cutoff):
            leaving = sum(bond[0] == sublattice for bond in orbit.bonds)
            if leaving:
                counts[orbit.squared_distance] = counts.get(orbit.squared_distance, 0) + leaving
        if len(counts) >= n:
            nearest = list(counts.items())[:n]  # orbits are sorted by distance
            return [(float(squared) ** 0.5, count) for squared, count in nearest]
        cutoff *= 1.5


def _check_number(cell: UnitCell, cutoff: float) -> None:
    """Refuse a cutoff with more bonds per cell than can be sorted into orbits in a minute."""
    vectors = cell.reduction @ np.array(cell.primitive_vectors)
    # Cells within the cutoff lie in a box of 2 · cutoff · |a*_k| + 1 of them along each axis, with
    # the dual vectors a*_k; see `UnitCell.offsets_within`.
    widths = 2 * cutoff * np.linalg.norm(np.linalg.inv(vectors), axis=0) + 1
    n_bonds = cell.n_sublattices**2 * float(np.minimum(widths, 1e30).prod())
    if n_bonds > MAX_BONDS:
        raise InputError(
            f"cutoff must be short enough for {MAX_BONDS:,} bonds per cell, got {cutoff:g}, within"
            f" which there are up to {n_bonds:.1e}. Use a shorter cutoff."
        )


def _bond_classes(cell: UnitCell, cutoff: float) -> list[set[Bond]]:
    """Complete equivalence classes of all bonds up to slightly beyond the cutoff."""
    _check_number(cell, cutoff)
    operations = space_group(cell).operations
    seen: set[Bond] = set()
    classes = []
    for source, destination in product(range(cell.n_sublattices), repeat=2):
        for offset in cell.offsets_within(source, destination, cutoff * (1 + 1e-6)).tolist():
            bond = (source, destination, tuple(offset))
            joins_itself = source == destination and not any(offset)
            if bond in seen or joins_itself:
                continue
            members = {g.move_bond(*bond) for g in operations}
            seen |= members
            classes.append(members)
    return classes


def _squared_length(cell: UnitCell, bonds: set[Bond]) -> Fraction:
    """Squared length of equivalent bonds.

    All members have the same length up to rounding. The mean over the class does not depend on the
    choice of a member.
    """
    total = sum((cell.squared_length(cell.separation(*b)) for b in bonds), Fraction(0))
    return total / len(bonds)
