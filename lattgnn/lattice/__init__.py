"""Geometry: lattices, their space groups, orbits of directed bonds, representations and equivariant kernels."""

from lattgnn.lattice.fields import FieldRepresentation, field_representation
from lattgnn.lattice.kernels import OrbitKernels, SiteType, kernel_count, orbit_kernels
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
    "FieldRepresentation",
    "Lattice",
    "Operation",
    "Orbit",
    "OrbitKernels",
    "SiteType",
    "SpaceGroup",
    "bond_orbits",
    "chain",
    "compatible_operations",
    "cubic",
    "field_representation",
    "honeycomb",
    "kagome",
    "kernel_count",
    "lieb",
    "orbit_kernels",
    "site_permutations",
    "space_group",
    "square",
    "symmetry_table",
    "translation_permutation",
    "triangular",
]
