"""Networks: plain ``torch.nn`` on PyG message passing."""

from lattgnn.nn.force_network import ForceNetwork
from lattgnn.nn.orbit_conv import OrbitConv, orbit_sums
from lattgnn.nn.orbit_network import OrbitNetwork, ResidualBlock, ScalarBasis

__all__ = ["ForceNetwork", "OrbitConv", "OrbitNetwork", "ResidualBlock", "ScalarBasis", "orbit_sums"]
