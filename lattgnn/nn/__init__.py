"""Networks: plain ``torch.nn`` on PyG message passing."""

from lattgnn.nn.features import EVEN, ODD, SPIN, Block, Features, Internal, features, scalars
from lattgnn.nn.field_basis import FieldBasis, FieldComponents, field_blocks
from lattgnn.nn.force_network import ForceNetwork
from lattgnn.nn.kernel_matrices import KernelGraph, SparseMap, kernel_graph
from lattgnn.nn.nonlinearities import Gate, NormGate, SquareGate, TensorProduct
from lattgnn.nn.orbit_conv import OrbitConv
from lattgnn.nn.orbit_network import OrbitNetwork
from lattgnn.nn.spin_basis import SpinBasis, SpinComponents, tangent_part

__all__ = [
    "EVEN",
    "ODD",
    "SPIN",
    "Block",
    "Features",
    "FieldBasis",
    "FieldComponents",
    "ForceNetwork",
    "Gate",
    "Internal",
    "KernelGraph",
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
    "kernel_graph",
    "scalars",
    "tangent_part",
]
