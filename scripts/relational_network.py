"""A scalar orbit network built from layers of PyG with the same weights, to compare training."""

from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.nn import RGCNConv

from lattgnn.graph import lattice_graph
from lattgnn.lattice import Lattice, bond_orbits
from lattgnn.nn import FieldBasis, OrbitConv, OrbitNetwork


class RelationalNetwork(nn.Module):
    """A scalar orbit network in which each orbit is a relation of RGCNConv.

    The weights are copies of those of the given network.

    Args:
        net: The network, with a direct head.
        lattice: The lattice of all samples; its sites must be equivalent.
        batch: Samples per batch.
    """

    def __init__(self, net: OrbitNetwork, lattice: Lattice, batch: int):
        super().__init__()
        self.lattice, graph = lattice, lattice_graph(lattice, net.cutoff)
        edges, orbits = torch.as_tensor(graph.edge_index), torch.as_tensor(graph.edge_type)
        self.edge_index = torch.cat([edges + k * lattice.n_sites for k in range(batch)], 1)
        self.edge_type = orbits.repeat(batch)
        z = [orbit.multiplicity for orbit in bond_orbits(lattice, net.cutoff).orbits]
        # OrbitConv divides the sum over an orbit of z neighbors by √z; here the weights do.
        dtype = next(net.parameters()).dtype
        self.scales = torch.tensor(z, dtype=dtype).rsqrt()[:, None, None]
        self.basis = cast(FieldBasis, net.basis)
        self.force_bound = net.field_type.force_bound or 1.0
        layers: list[Any] = [net.embed, *net.blocks, net.readout]
        self.convs = nn.ModuleList(self._copied(layer.conv) for layer in layers)
        self.mixes = nn.ModuleList(self._copied(layer.mix) for layer in layers)

    def forward(self, field: Tensor) -> Tensor:
        """Forces [batch, n_sites]."""
        q, steps, bumps = field.reshape(-1, 1), self.basis.steps, self.basis.bumps
        x = torch.cat(
            [torch.tanh(q / steps), q / steps.max(), torch.exp(-0.5 * (q / bumps).square())], 1
        )
        last = len(self.convs) - 1
        for number, (conv, mix) in enumerate(zip(self.convs, self.mixes, strict=True)):
            y = conv(x, self.edge_index, self.edge_type) if isinstance(conv, RGCNConv) else conv(x)
            y = mix(nn.functional.silu(y))
            x = x + y if 0 < number < last else y
        return self.force_bound * torch.tanh(x).view_as(field)

    def gradients(self) -> list[Tensor]:
        """Gradients of all weights, in the layout of the orbit network."""
        found = []
        for layer in chain.from_iterable(zip(self.convs, self.mixes, strict=True)):
            if isinstance(layer, RGCNConv):
                others = self.scales * cast(Tensor, layer.weight.grad)
                found.append(torch.cat([cast(Tensor, layer.root.grad), *others]).T)
            else:
                found.append(layer.weight.grad)
        return found

    def _copied(self, conv: OrbitConv) -> nn.Module:
        """A layer of PyG or torch with the weights of an orbit convolution."""
        weight, bias = conv.weights["0"].data, conv.biases["0"].data
        width = conv.inputs[0].channels
        if conv.cutoff is None:
            layer: Any = nn.Linear(width, len(weight))
            layer.weight.data = weight.clone()
        else:
            layer = RGCNConv(width, len(weight), len(self.scales), aggr="add")
            layer.root.data, *others = (part.T.contiguous() for part in weight.split(width, 1))
            layer.weight.data = self.scales * torch.stack(others)
        layer.bias.data = bias.clone()
        return layer


def compare(
    net: OrbitNetwork, rival: RelationalNetwork, field: Tensor, target: Tensor
) -> tuple[float, float]:
    """Largest difference of forces, and of gradients relative to the largest gradient."""
    forces = [net(field, net.graph(rival.lattice))[1], rival(field)]
    for force in forces:
        nn.functional.mse_loss(force, target).backward()
    weights = [module.weights["0"] for module in net.modules() if isinstance(module, OrbitConv)]
    pairs = [
        (w.grad, own)
        for w, own in zip(weights, rival.gradients(), strict=True)
        if w.grad is not None
    ]
    gradient = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    return float((forces[0] - forces[1]).detach().abs().max()), gradient
