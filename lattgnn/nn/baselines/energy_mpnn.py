"""The energy message-passing network of Fan and Chern: forces are gradients of site energies."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.dense_layers import SCALAR_FIELD, checked_channels, checked_scalar
from lattgnn.nn.bond_operators import degrees, neighbor_sum
from lattgnn.nn.energy_head import energy_and_forces
from lattgnn.nn.force_network import ForceNetwork, cells_spanned
from lattgnn.symmetry import FieldType


class MessageLayer(nn.Module):
    """x_i → R x_i + norm(mean_{j nn i} m(x_j) + s(x_i) + ReLU(U x_i)).

    m and s are the messages from the neighbors and from the site to itself, each of the form W
    ReLU(V x + b); norm is a layer normalization. The last layer of the network is
    :class:`SiteEnergy`.

    Args:
        in_channels: Number of channels of x.
        out_channels: Number of channels of the result.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.neighbour = _message(in_channels, out_channels)
        self.own = _message(in_channels, out_channels)
        self.update = nn.Sequential(nn.Linear(in_channels, out_channels), nn.ReLU())
        self.norm = nn.LayerNorm(out_channels)
        self.residual = nn.Linear(in_channels, out_channels)

    def forward(
        self, x: Float[Tensor, "n_sites batch in_channels"], graph: LatticeGraph
    ) -> Float[Tensor, "n_sites batch out_channels"]:
        """Apply the layer."""
        # A message depends only on its sender, so it is computed per site, not per bond.
        mean = neighbor_sum(graph)(self.neighbour(x)) / degrees(graph)
        return self.residual(x) + self.norm(mean + self.own(x) + self.update(x))


class SiteEnergy(nn.Module):
    """x_i → R x_i + mean_{j nn i} m(x_j) + s(x_i), one number per site."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.neighbour = _message(in_channels, 1)
        self.own = _message(in_channels, 1)
        self.residual = nn.Linear(in_channels, 1)

    def forward(
        self, x: Float[Tensor, "n_sites batch in_channels"], graph: LatticeGraph
    ) -> Float[Tensor, "n_sites batch"]:
        """Energy of each site."""
        mean = neighbor_sum(graph)(self.neighbour(x)) / degrees(graph)
        return (self.residual(x) + mean + self.own(x)).squeeze(-1)


class EnergyMPNN(ForceNetwork):
    """Three message-passing layers and a site energy: E = Σ_i e_i, F = −∂E/∂Q.

    The network has 7.36 million parameters, with ReLU and layer normalization as published. The
    energy is therefore continuous, but its gradient, the force, jumps where a ReLU switches. The
    layers read nearest neighbors without their directions, as in configs/benchmark/gcn.yaml, so any
    lattice can be used. The published network has no bound on the force; the bound of
    ``field_type`` is ignored.

    Args:
        lattice: The lattice, of any extent.
        field_type: Must be one scalar per site; its bound is not used.
        channels: Widths of the message-passing layers.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2603.02039 (2026), who fit it with Adam and a learning rate of
        1e-4.
    """

    conservative = True

    def __init__(
        self,
        lattice: Lattice,
        field_type: FieldType = SCALAR_FIELD,
        channels: Sequence[int] = (512, 1024, 512),
    ):
        super().__init__()
        channels = checked_channels(channels)
        self.field_type, self.cutoff = checked_scalar(field_type), lattice.neighbor_distance
        self.hyperparameters = dict(field_type=field_type, channels=channels)
        self.layers = nn.ModuleList(MessageLayer(a, b) for a, b in pairwise((1, *channels)))
        self.site_energy = SiteEnergy(channels[-1])
        self.receptive_field = cells_spanned(
            lattice, lattice.neighbor_distance, len(self.layers) + 1
        )

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: LatticeGraph
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch n_sites"]]:
        """Electronic energy and force."""
        return energy_and_forces(lambda q: self.site_energies(q, graph).sum(1), field)

    def site_energies(
        self, field: Float[Tensor, "batch n_sites"], graph: LatticeGraph
    ) -> Float[Tensor, "batch n_sites"]:
        """The energy of each site; the electronic energy is their sum."""
        x = field.T.unsqueeze(-1)
        for layer in self.layers:
            x = layer(x, graph)
        return self.site_energy(x, graph).T

    def energy_constants(self) -> list[Tensor]:
        """The bias of the last layer."""
        return [self.site_energy.residual.bias]


def _message(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(in_channels, out_channels),
        nn.ReLU(),
        nn.Linear(out_channels, out_channels, bias=False),
    )
