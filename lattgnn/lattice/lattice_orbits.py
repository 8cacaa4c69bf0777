"""The orbits of directed bonds of a finite lattice, ready to list its bonds."""

from __future__ import annotations

from dataclasses import dataclass

from lattgnn.lattice.finite_bonds import Bonds, check_extent
from lattgnn.lattice.geometry import Lattice
from lattgnn.lattice.orbits import Orbit, orbits_within


@dataclass(frozen=True)
class BondOrbits:
    """The orbits of directed bonds up to a cutoff, for one finite lattice.

    Attributes:
        lattice: The finite lattice.
        cutoff: Largest length of a bond.
        orbits: The orbits, which depend on the unit cell only.
    """

    lattice: Lattice
    cutoff: float
    orbits: tuple[Orbit, ...]

    def __len__(self) -> int:
        return len(self.orbits)

    def edges(self) -> Bonds:
        """All directed bonds of the finite lattice: `lattice.bonds(cutoff)`.

        Raises:
            InputError: If the extent is too small for the cutoff; see `check_extent`.
        """
        return self.lattice.bonds(self.cutoff)

    def check_extent(self) -> None:
        """Check that no bond joins a site to itself and no two bonds join the same pair of sites.

        Raises:
            InputError: If the extent is too small; the message names the smallest extent that
                works.
        """
        check_extent(self.lattice.cell, self.lattice.extent, self.lattice.periodic, self.cutoff)


def bond_orbits(lattice: Lattice, cutoff: float) -> BondOrbits:
    """Orbits of the directed bonds of length |r| ≤ cutoff under the space group.

    Two bonds are in one orbit exactly when an operation of the crystal's space group maps one onto
    the other, direction included. The boundary of the finite lattice plays no part.

    Args:
        lattice: The finite lattice.
        cutoff: Largest length of a bond, in the units of the primitive vectors; see
            `orbits_within`.

    Returns:
        The orbits, sorted by distance.

    Raises:
        InputError: If the cutoff is not a positive finite number.

    Examples:
        On the kagome lattice, bonds of length 2 run along a chain or across a hexagon.

        >>> from lattgnn.lattice import bond_orbits, kagome
        >>> for orbit in bond_orbits(kagome(4), cutoff=2.0).orbits:
        ...     print(orbit.index, f"{orbit.distance:.3f}", orbit.multiplicity)
        0 1.000 4
        1 1.732 4
        2 2.000 4
        3 2.000 2
    """
    return BondOrbits(lattice, float(cutoff), orbits_within(lattice.cell, float(cutoff)))
