"""Geometry: lattices, their space groups, and the orbits of directed bonds."""

from lattgnn.lattice.lattice import Lattice
from lattgnn.lattice.named import chain, cubic, honeycomb, kagome, lieb, square, triangular
from lattgnn.lattice.orbits import BondOrbits, Bonds, Orbit, bond_orbits
from lattgnn.lattice.symmetry import (
    Operation,
    SpaceGroup,
    compatible_operations,
    site_permutations,
    space_group,
    translation_permutation,
)
from lattgnn.lattice.table import symmetry_table

__all__ = [
    "BondOrbits",
    "Bonds",
    "Lattice",
    "Operation",
    "Orbit",
    "SpaceGroup",
    "bond_orbits",
    "chain",
    "compatible_operations",
    "cubic",
    "honeycomb",
    "kagome",
    "lieb",
    "site_permutations",
    "space_group",
    "square",
    "symmetry_table",
    "translation_permutation",
    "triangular",
]
