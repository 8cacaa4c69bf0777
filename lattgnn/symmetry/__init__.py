"""Group theory on a lattice: point groups, irreps, representations and equivariant kernels."""

from lattgnn.symmetry.equivariant_kernels import OrbitKernels, SiteType, kernel_count, orbit_kernels
from lattgnn.symmetry.equivariant_maps import clebsch_gordan, intertwiner_dim, intertwiners
from lattgnn.symmetry.field_representations import FieldRepresentation, field_representation
from lattgnn.symmetry.field_type import FieldType
from lattgnn.symmetry.local_frames import SiteClass, local_element, site_class_index, site_classes
from lattgnn.symmetry.point_group import PointGroup, site_point_group
from lattgnn.symmetry.representation_text import parse_representation
from lattgnn.symmetry.representations import Representation, direct_sum, irreps
from lattgnn.symmetry.standard_representations import (
    axial,
    permutation,
    pseudoscalar,
    pseudovector,
    regular,
    trivial,
    vector,
)
from lattgnn.symmetry.table_text import symmetry_table

__all__ = [
    "FieldRepresentation",
    "FieldType",
    "OrbitKernels",
    "PointGroup",
    "Representation",
    "SiteClass",
    "SiteType",
    "axial",
    "clebsch_gordan",
    "direct_sum",
    "field_representation",
    "intertwiner_dim",
    "intertwiners",
    "irreps",
    "kernel_count",
    "local_element",
    "orbit_kernels",
    "parse_representation",
    "permutation",
    "pseudoscalar",
    "pseudovector",
    "regular",
    "site_class_index",
    "site_classes",
    "site_point_group",
    "symmetry_table",
    "trivial",
    "vector",
]
