"""The energy message-passing network of Fan and Chern: site energies, forces by their gradient."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.dense_layers import checked_channels
from lattgnn.nn.baselines.neighbourhood import NearestNeighbours, nearest_neighbours
from lattgnn.nn.energy_head import energy_and_forces
from lattgnn.nn.force_network import ForceNetwork, cells_reached


class MessageLayer(nn.Module):
    r"""x_i → R x_i + norm(mean_{j nn i} m(x_j) + s(x_i) + ReLU(U x_i)).

    m and s are messages from the neighbours and from the site to itself, each W ReLU(V x + b); norm is a
    layer normalisation. The last layer of the network is :class:`SiteEnergy`.

    Args:
        in_channels: Channels of x.
        out_channels: Channels of the result.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.neighbour = _message(in_channels, out_channels)
        self.own = _message(in_channels, out_channels)
        self.update = nn.Sequential(nn.Linear(in_channels, out_channels), nn.ReLU())
        self.norm = nn.LayerNorm(out_channels)
        self.residual = nn.Linear(in_channels, out_channels)

    def forward(
        self, x: Float[Tensor, "n_sites batch in_channels"], graph: NearestNeighbours
    ) -> Float[Tensor, "n_sites batch out_channels"]:
        """Apply the layer."""
        # A message depends on its sender alone: it is computed once a site, not once a bond.
        mean = graph.sum(self.neighbour(x)) / graph.degree
        return self.residual(x) + self.norm(mean + self.own(x) + self.update(x))


class SiteEnergy(nn.Module):
    """x_i → R x_i + mean_{j nn i} m(x_j) + s(x_i), one number a site."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.neighbour = _message(in_channels, 1)
        self.own = _message(in_channels, 1)
        self.residual = nn.Linear(in_channels, 1)

    def forward(
        self, x: Float[Tensor, "n_sites batch in_channels"], graph: NearestNeighbours
    ) -> Float[Tensor, "n_sites batch"]:
        """Energy of each site."""
        mean = graph.sum(self.neighbour(x)) / graph.degree
        return (self.residual(x) + mean + self.own(x)).squeeze(-1)


class EnergyMPNN(ForceNetwork):
    r"""Three message-passing layers and a site energy, 7.36 million parameters: E = Σ_i e_i, F = −∂E/∂Q.

    ReLU and layer normalisation as published: the energy is continuous and the force its gradient, but the
    force jumps where a ReLU switches. Nearest neighbours without their directions, as in
    :class:`~lattgnn.nn.baselines.PublishedGCN`, so any lattice will do. The published network has no bound on
    the force; ``force_bound`` is ignored.

    Args:
        lattice: The lattice, of any extent.
        force_bound: Not used.
        channels: Widths of the message-passing layers.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2603.02039 (2026). There fitted with Adam, lr 1e-4.
    """

    conservative = True

    def __init__(
        self,
        lattice: Lattice,
        force_bound: float | None = None,
        channels: Sequence[int] = (512, 1024, 512),
    ):
        super().__init__()
        channels = checked_channels(channels)
        self.hyperparameters = dict(force_bound=force_bound, channels=channels)
        self.layers = nn.ModuleList(MessageLayer(a, b) for a, b in pairwise((1, *channels)))
        self.site_energy = SiteEnergy(channels[-1])
        self.reach = cells_reached(lattice, lattice.neighbor_distance, len(self.layers) + 1)

    def graph(self, lattice: Lattice) -> NearestNeighbours:
        """The nearest neighbours in ``lattice``, in this network's dtype and on its device."""
        return nearest_neighbours(lattice, next(self.parameters()))

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: NearestNeighbours
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch n_sites"]]:
        """Electronic energy and force."""
        return energy_and_forces(lambda q: self.site_energies(q, graph).sum(1), field)

    def site_energies(
        self, field: Float[Tensor, "batch n_sites"], graph: NearestNeighbours
    ) -> Float[Tensor, "batch n_sites"]:
        """The energies of sites, whose sum is the electronic energy."""
        x = field.T.unsqueeze(-1)
        for layer in self.layers:
            x = layer(x, graph)
        return self.site_energy(x, graph).T


def _message(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(in_channels, out_channels),
        nn.ReLU(),
        nn.Linear(out_channels, out_channels, bias=False),
    )
