"""Geometry: unit cells, finite lattices, space groups, orbits of directed bonds."""

from lattgnn.lattice.geometry import Lattice
from lattgnn.lattice.named import chain, cubic, honeycomb, kagome, lieb, square, triangular
from lattgnn.lattice.orbits import BondOrbits, Bonds, Orbit, bond_orbits
from lattgnn.lattice.space_group import (
    Operation,
    SpaceGroup,
    compatible_operations,
    site_permutations,
    space_group,
    translation_permutation,
)

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
    "translation_permutation",
    "triangular",
]
