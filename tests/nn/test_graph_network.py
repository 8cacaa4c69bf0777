"""Networks of PyG layers: their inputs, the symmetry they preserve, one layer by its formula."""

from typing import Any, cast

import pytest
import torch
from torch import nn

from lattgnn.lattice import honeycomb, kagome, square, triangular
from lattgnn.nn import ConvLayers, ForceNetwork, GraphNetwork
from lattgnn.serialize import build, describe
from lattgnn.symmetry import FieldType

CONVS = {
    "GATv2Conv": {},
    "RGCNConv": {"arguments": {"aggr": "add"}},
    "GCNConv": {},
    "GraphConv": {"normalize": True},
    "SAGEConv": {},
    "TransformerConv": {"edge_features": "distance"},
}
SCALAR, VECTOR = FieldType(force_bound=1.75), FieldType("vector", 2, force_bound=1.75)


def make(lattice, conv="RGCNConv", field_type=SCALAR, channels=(5, 4), randomize=None, **options):
    layers = {"edge_features": options.pop("edge_features", "orbit")} | CONVS.get(conv, {})
    torch.manual_seed(0)
    net = GraphNetwork(
        lattice,
        field_type,
        ConvLayers(f"torch_geometric.nn.{conv}", channels, **layers),
        **{"cutoff": 1.0, **options},
    ).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.4)
    return net


@pytest.mark.aggregation
@pytest.mark.parametrize("conservative", [False, True], ids=["direct", "energy"])
@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize(
    "lattice", [square(4), triangular(4), kagome(3)], ids=lambda lattice: lattice.name
)
def test_orbits_and_lengths_keep_the_space_group(lattice, conv, conservative, symmetry_error):
    net = make(lattice, conv, conservative=conservative)
    assert net.symmetry == "space group"
    assert symmetry_error(net, lattice, "trivial") < 1e-10


@pytest.mark.parametrize(
    ("field_type", "features"), [(SCALAR, "vector"), (VECTOR, "orbit"), (VECTOR, "vector")], ids=str
)
def test_vectors_and_components_keep_translations_only(field_type, features, symmetry_error, rng):
    lattice = square(4)
    net = make(lattice, "GATv2Conv", field_type, edge_features=features)
    assert net.symmetry == "translations"
    assert symmetry_error(net, lattice, field_type.representation) > 1e-4
    shape = (1, 16, 2) if field_type.n_components else (1, 16)
    field = torch.randn(shape, generator=rng, dtype=torch.float64)
    grid = (1, 4, 4, *field.shape[2:])
    moved = field.view(grid).roll((1, 2), (1, 2)).view(shape)
    forces, after = (net(q, net.graph(lattice))[1] for q in (field, moved))
    expected = forces.view(grid).roll((1, 2), (1, 2)).view(shape)
    torch.testing.assert_close(after, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("conv", CONVS)
def test_samples_do_not_see_each_other_and_extents_share_parameters(conv, rng):
    small, large = honeycomb(4), honeycomb(8)
    net = make(small, conv)
    field = torch.randn(3, small.n_sites, generator=rng, dtype=torch.float64)
    forces = net(field, net.graph(small))[1]
    one = net(field[1:2], net.graph(small))[1]
    torch.testing.assert_close(one, forces[1:2], rtol=0, atol=1e-12)
    tiled, expected = (
        values.view(-1, 4, 4, 2).repeat(1, 2, 2, 1).flatten(1) for values in (field, forces)
    )
    found = net(tiled, net.graph(large))[1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert forces.abs().max() <= 1.75


def test_forces_are_minus_the_gradient_of_the_energy(rng):
    lattice, h = square(4), 1e-5
    net = make(lattice, "GATv2Conv", conservative=True)
    field, graph = torch.randn(1, 16, generator=rng, dtype=torch.float64), net.graph(lattice)
    forces = net(field, graph)[1]
    step = torch.zeros_like(field)
    step[0, 5] = h
    slope = (net(field + step, graph)[0] - net(field - step, graph)[0]) / (2 * h)
    torch.testing.assert_close(-slope[0], forces[0, 5], rtol=1e-7, atol=1e-9)
    assert net.receptive_field == (3, 3)


@pytest.mark.parametrize(
    ("channels", "count"),
    [
        ((128, 512, 1024, 2048, 1024, 512, 128), 10_753_793),
        ((16, 64, 128, 256, 128, 64, 16), 168_673),
    ],
)
def test_the_published_graph_convolutional_network(channels, count, rng):
    """y_i = W x_i + b + V Σ_j x_j / √(d_i d_j): on the square lattice a mean over neighbors."""
    lattice = square(6)
    layers = ConvLayers("torch_geometric.nn.GraphConv", channels, {}, "none", True, "relu")
    net = GraphNetwork(lattice, SCALAR, layers, cutoff=1.0, bounded=False)
    assert sum(parameter.numel() for parameter in net.parameters()) == count
    field = torch.randn(2, 36, generator=rng)
    x = field.view(2, 6, 6, 1)
    for number, conv in enumerate(net.convs):
        x = torch.relu(x) if number else x
        mean = sum(x.roll(step, axis) for step in (1, -1) for axis in (1, 2)) / 4
        x = cast(Any, conv).lin_root(x) + cast(Any, conv).lin_rel(mean)
    expected = x.view(2, 36).detach()
    forces = net(field, net.graph(lattice))[1]
    scale = float(expected.abs().max())
    torch.testing.assert_close(forces / scale, expected / scale, rtol=0, atol=1e-5)


def test_description_rebuilds_the_network(rng):
    lattice = kagome(3)
    net = make(lattice, "GATv2Conv", channels=(3,))
    again = build(describe(net), ForceNetwork, kagome(4)).double()
    again.load_state_dict(net.state_dict())
    assert describe(again) == describe(net)
    field = torch.randn(1, lattice.n_sites, generator=rng, dtype=torch.float64)
    assert again(field, again.graph(lattice))[1].equal(net(field, net.graph(lattice))[1])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"conv": "torch.nn.Linear"}, "conv must name a convolution of PyG"),
        ({"conv": "torch_geometric.nn.GATv9Conv"}, "conv must name a convolution of PyG"),
        ({"channels": ()}, "channels must be one or more widths"),
        ({"activation": "sili"}, "activation must be a function of torch.nn.functional"),
        ({"conv": "torch_geometric.nn.RGCNConv", "arguments": {"heds": 2}}, r"got \['heds'\]"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(layers, message):
    with pytest.raises(ValueError, match=message):
        GraphNetwork(square(4), SCALAR, ConvLayers(**layers))


@pytest.mark.parametrize("field_type", [SCALAR, VECTOR], ids=["scalar", "vector"])
def test_the_length_of_a_direct_force_is_bounded(field_type, rng):
    lattice = square(4)
    layers = ConvLayers("torch_geometric.nn.GraphConv", channels=(40,))
    components = (2,) if field_type.n_components else ()
    field = 100 * torch.randn(2, lattice.n_sites, *components, generator=rng, dtype=torch.float64)
    lengths = {}
    for bounded in (True, False):
        torch.manual_seed(0)
        net = GraphNetwork(lattice, field_type, layers, bounded=bounded).double()
        forces = net(field, net.graph(lattice))[1].reshape(2, lattice.n_sites, -1)
        lengths[bounded] = forces.norm(dim=-1).max()
    assert lengths[True] <= 1.75 * (1 + 1e-12) < lengths[False]
