"""Networks, from a field on the lattice to the energy and the forces of its electrons.

`OrbitNetwork` has the symmetry of the lattice by construction. `GraphNetwork` is made of any layers
of PyG, and `baselines` are networks of the literature.
"""

from lattgnn.nn.features import EVEN, ODD, SPIN, Block, Features, Internal, features, scalars
from lattgnn.nn.field_basis import FieldBasis, FieldComponents, field_blocks
from lattgnn.nn.force_network import ForceNetwork
from lattgnn.nn.graph_network import ConvLayers, GraphNetwork
from lattgnn.nn.nonlinearities import Gate, NormGate, SquareGate, TensorProduct
from lattgnn.nn.orbit_conv import OrbitConv
from lattgnn.nn.orbit_network import HiddenChannels, OrbitNetwork
from lattgnn.nn.sparse_map import SparseMap
from lattgnn.nn.spin_basis import SpinBasis, SpinComponents, tangent_part

__all__ = [
    "EVEN",
    "ODD",
    "SPIN",
    "Block",
    "ConvLayers",
    "Features",
    "FieldBasis",
    "FieldComponents",
    "ForceNetwork",
    "Gate",
    "GraphNetwork",
    "HiddenChannels",
    "Internal",
    "NormGate",
    "OrbitConv",
    "OrbitNetwork",
    "SparseMap",
    "SpinBasis",
    "SpinComponents",
    "SquareGate",
    "TensorProduct",
    "features",
    "field_blocks",
    "scalars",
    "tangent_part",
]
