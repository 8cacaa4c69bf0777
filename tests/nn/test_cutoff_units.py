"""The cutoff of a network is in nearest-neighbor distances, whatever the unit of length."""

import pytest
import torch

from lattgnn.hamiltonians import Holstein, Peierls
from lattgnn.lattice import Lattice, square, triangular
from lattgnn.nn import ConvLayers, GraphNetwork, OrbitNetwork
from lattgnn.nn.baselines import BehlerParrinello, EnergyMPNN, GroupAveragedMLP, IrrepsFCNN
from lattgnn.symmetry import FieldType

SCALAR, SPIN = FieldType(force_bound=1.0), FieldType("trivial", 3, is_spin=True)
VECTOR = FieldType("vector", 2)


def graph_network(lattice, edge_features):
    layers = ConvLayers("torch_geometric.nn.TransformerConv", (4,), edge_features=edge_features)
    return GraphNetwork(lattice, SCALAR, layers)


NETWORKS = {
    "orbits": lambda lattice: OrbitNetwork(lattice, SCALAR),
    "orbits, vector": lambda lattice: OrbitNetwork(lattice, VECTOR),
    "orbits, spin": lambda lattice: OrbitNetwork(lattice, SPIN),
    "orbits, energy": lambda lattice: OrbitNetwork(lattice, SCALAR, conservative=True),
    "graph, orbits": lambda lattice: graph_network(lattice, "orbit"),
    "graph, distances": lambda lattice: graph_network(lattice, "distance"),
    "graph, vectors": lambda lattice: graph_network(lattice, "vector"),
    "Behler-Parrinello": lambda lattice: BehlerParrinello(lattice, channels=[4], cutoff=2.7),
    "irreps": lambda lattice: IrrepsFCNN(lattice, channels=[4, 2], cutoff=2.3),
    "group average": lambda lattice: GroupAveragedMLP(lattice, channels=[4], cutoff=2.3),
    "messages": lambda lattice: EnergyMPNN(lattice, channels=[4]),
}


@pytest.mark.parametrize(
    ("base", "a"), [(square(6), 3.905), (triangular(6), 3.9e-10)], ids=["square", "triangular"]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_forces_do_not_depend_on_the_unit_of_length(base, name, a):
    scaled = Lattice([[a * x for x in v] for v in base.primitive_vectors], base.basis, base.extent)
    torch.manual_seed(0)
    net = NETWORKS[name](base).double()
    other = NETWORKS[name](scaled).double()
    other.load_state_dict(net.state_dict())
    assert other.receptive_field == net.receptive_field
    components = (net.field_type.n_components,) if net.field_type.n_components else ()
    field = torch.randn(2, base.n_sites, *components, dtype=torch.float64)
    forces, other_forces = (n(field, n.graph(x))[1] for n, x in ((net, base), (other, scaled)))
    torch.testing.assert_close(other_forces, forces, rtol=1e-9, atol=1e-9)


def test_the_message_about_a_small_extent_names_whose_cutoff_it_is():
    a = 2.0
    small = Lattice([[a, 0.0], [0.0, a]], [[0, 0]], [2, 2])
    net = OrbitNetwork(square(6), SCALAR)
    with pytest.raises(ValueError, match=r"^the bonds of OrbitNetwork: extent must be"):
        net.graph(square(2))
    with pytest.raises(ValueError, match="^the nearest-neighbor bonds of the Hamiltonian: extent"):
        _ = Holstein(small).pattern
    with pytest.raises(ValueError, match="^the nearest-neighbor bonds of the Hamiltonian: extent"):
        _ = Peierls(small).pattern
    with pytest.raises(ValueError, match="^extent must be"):
        small.bonds(2.0)
