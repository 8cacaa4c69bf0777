"""Orbits of directed bonds under the space group, and the bonds of a finite lattice.

Two bonds share weights in a network, or a parameter in a Hamiltonian, exactly when an operation of the space
group maps one onto the other, direction included. Equal length is not enough: on the kagome lattice 18 shells
are 32 orbits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import product

from lattgnn.errors import InputError
from lattgnn.lattice.operations import space_group
from lattgnn.lattice.unit_cell import IntVector, UnitCell

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


@lru_cache(maxsize=128)
def orbits_within(cell: UnitCell, cutoff: float) -> tuple[Orbit, ...]:
    """Orbits of the directed bonds of length |r| ≤ cutoff of an infinite crystal under its space group.

    Args:
        cell: The unit cell.
        cutoff: Largest length of a bond, in the units of the primitive vectors. Compared exactly as
            r² ≤ cutoff² (1 + 1e-9), so that cutoff=2**0.5 includes the diagonal.

    Returns:
        Orbits numbered by distance, and among equal distances by their representatives. A larger cutoff
        appends orbits and renumbers none.

    Raises:
        InputError: If the cutoff is not a positive finite number.
    """
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise InputError(
            f"cutoff must be positive and finite, got {cutoff!r}. Use 1.0 for nearest neighbors."
        )
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
    order = space_group(cell).order
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


def _bond_classes(cell: UnitCell, cutoff: float) -> list[set[Bond]]:
    """Equivalence classes of all bonds a little beyond the cutoff, and whole classes only."""
    operations = space_group(cell).operations
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
