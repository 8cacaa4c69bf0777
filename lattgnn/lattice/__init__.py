"""Geometry: lattices, space groups, orbits of directed bonds, representations, equivariant kernels."""

from lattgnn.lattice.fields import FieldRepresentation, field_representation
from lattgnn.lattice.intertwiners import clebsch_gordan, intertwiner_dim, intertwiners
from lattgnn.lattice.kernels import OrbitKernels, SiteType, kernel_count, orbit_kernels
from lattgnn.lattice.lattice import Lattice
from lattgnn.lattice.named import chain, cubic, honeycomb, kagome, lieb, square, triangular
from lattgnn.lattice.orbits import BondOrbits, Bonds, Orbit, bond_orbits
from lattgnn.lattice.point_group import PointGroup, site_point_group
from lattgnn.lattice.representation_text import parse
from lattgnn.lattice.representations import (
    Representation,
    axial,
    direct_sum,
    irreps,
    permutation,
    pseudoscalar,
    regular,
    trivial,
    vector,
)
from lattgnn.lattice.site_classes import SiteClass, local_element, site_class, site_classes
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
    "PointGroup",
    "Representation",
    "SiteClass",
    "SiteType",
    "SpaceGroup",
    "axial",
    "bond_orbits",
    "chain",
    "clebsch_gordan",
    "compatible_operations",
    "cubic",
    "direct_sum",
    "field_representation",
    "honeycomb",
    "intertwiner_dim",
    "intertwiners",
    "irreps",
    "kagome",
    "kernel_count",
    "lieb",
    "local_element",
    "orbit_kernels",
    "parse",
    "permutation",
    "pseudoscalar",
    "regular",
    "site_class",
    "site_classes",
    "site_permutations",
    "site_point_group",
    "space_group",
    "square",
    "symmetry_table",
    "translation_permutation",
    "triangular",
    "trivial",
    "vector",
]
