"""The graph convolutional network of Fan and Chern: nearest neighbours, wide layers, forces directly."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.dense_layers import checked_channels
from lattgnn.nn.baselines.neighbourhood import NearestNeighbours, nearest_neighbours
from lattgnn.nn.force_network import ForceNetwork, cells_reached


class GraphConvolution(nn.Module):
    r"""y_i = W x_i + b + V Σ_{j nn i} x_j / √(d_i d_j), with d the number of neighbours.

    Args:
        in_channels: Channels of x.
        out_channels: Channels of y.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.linear = nn.Linear(2 * in_channels, out_channels)  # W and V side by side: one GEMM
        for half in self.linear.weight.data.chunk(2, dim=1):
            nn.init.xavier_uniform_(half)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, x: Float[Tensor, "n_sites batch in_channels"], graph: NearestNeighbours
    ) -> Float[Tensor, "n_sites batch out_channels"]:
        """Apply the layer."""
        scale = graph.degree.rsqrt()
        return self.linear(torch.cat([x, scale * graph.sum(scale * x)], dim=-1))


class PublishedGCN(ForceNetwork):
    r"""Eight graph convolutions with ReLU between them, 10.75 million parameters; F_i is the last channel.

    A site sees nearest neighbours only, without their directions. On the square lattice the linear response
    of a uniform state therefore depends on the wave vector through cos kx + cos ky alone, and k = (π, 0) and
    (π/2, π/2), whose exact responses differ by far, get the same. Information travels eight bonds.

    Any lattice will do. The published network has no bound on the force; ``force_bound`` is ignored.

    Args:
        lattice: The lattice, of any extent.
        force_bound: Not used.
        channels: Widths of the layers between the field and the force.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2603.02039 (2026). There fitted with Adam, lr 1e-3.
    """

    def __init__(
        self,
        lattice: Lattice,
        force_bound: float | None = None,
        channels: Sequence[int] = (128, 512, 1024, 2048, 1024, 512, 128),
    ):
        super().__init__()
        channels = checked_channels(channels)
        self.hyperparameters = dict(force_bound=force_bound, channels=channels)
        self.layers = nn.ModuleList(GraphConvolution(a, b) for a, b in pairwise((1, *channels, 1)))
        self.reach = cells_reached(lattice, lattice.neighbor_distance, len(self.layers))

    def graph(self, lattice: Lattice) -> NearestNeighbours:
        """The nearest neighbours in ``lattice``, in this network's dtype and on its device."""
        return nearest_neighbours(lattice, next(self.parameters()))

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: NearestNeighbours
    ) -> tuple[None, Float[Tensor, "batch n_sites"]]:
        """No energy, and the electronic force."""
        x = self.layers[0](field.T.unsqueeze(-1), graph)
        for layer in list(self.layers)[1:]:
            x = layer(torch.relu(x), graph)
        return None, x.squeeze(-1).T
