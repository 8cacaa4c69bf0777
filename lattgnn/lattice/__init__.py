"""Geometry: unit cells, finite lattices, space groups, orbits of directed bonds.

One rule holds here and in `lattgnn.symmetry`. A property of the infinite crystal is a function of
its `UnitCell`: `space_group(lattice.cell)`. A property of the finite lattice, which depends on its
extent or boundary, is a function of the `Lattice`: `site_permutations(lattice)`.
"""

from lattgnn.lattice.finite_bonds import Bonds
from lattgnn.lattice.geometry import Lattice
from lattgnn.lattice.lattice_orbits import BondOrbits, bond_orbits
from lattgnn.lattice.named import (
    brick_wall,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    square,
    staggered_square,
    triangular,
)
from lattgnn.lattice.operations import Operation, SpaceGroup, space_group
from lattgnn.lattice.orbits import Orbit, orbits_within
from lattgnn.lattice.permutations import (
    compatible_operations,
    site_permutations,
    translation_permutation,
)
from lattgnn.lattice.unit_cell import UnitCell

__all__ = [
    "BondOrbits",
    "Bonds",
    "Lattice",
    "Operation",
    "Orbit",
    "SpaceGroup",
    "UnitCell",
    "bond_orbits",
    "brick_wall",
    "chain",
    "compatible_operations",
    "cubic",
    "honeycomb",
    "kagome",
    "lieb",
    "orbits_within",
    "shastry_sutherland",
    "site_permutations",
    "space_group",
    "square",
    "staggered_square",
    "translation_permutation",
    "triangular",
]
