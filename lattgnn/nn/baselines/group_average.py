"""A fully connected network on the patch around a site, averaged over the point group."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.dense_layers import (
    SCALAR_FIELD,
    checked_channels,
    checked_scalar,
    checked_scale,
    mlp,
)
from lattgnn.nn.baselines.site_patch import check_periodic, patch, patch_table, patch_values
from lattgnn.nn.force_network import ForceNetwork, bond_length, cells_spanned
from lattgnn.symmetry import FieldType


class GroupAveragedMLP(ForceNetwork):
    """F_i = b tanh(1/|G| Σ_g f(g·patch of i)), f fully connected: symmetric by brute force.

    Each operation of the point group costs one evaluation of f, 8 on the square lattice. Any
    lattice with one site per cell can be used.

    Args:
        lattice: The periodic lattice, of any extent; determines the point group.
        field_type: Must be one scalar per site; its `force_bound` is b, and None leaves the output
            unbounded.
        cutoff: Radius of the patch, in units of the nearest-neighbor distance; with √13 it holds 45
            sites of the square lattice.
        channels: Widths of the hidden layers.
        field_scale: Value of the field that enters as 1.

    Reference:
        D. Yarotsky, arXiv:1804.10306 (2018): such averages approximate every invariant function.
        The widths are ours.
    """

    permutations: Tensor

    def __init__(
        self,
        lattice: Lattice,
        field_type: FieldType = SCALAR_FIELD,
        cutoff: float = math.sqrt(13),
        channels: Sequence[int] = (256, 256, 128),
        field_scale: float = 1.0,
    ):
        super().__init__()
        channels = checked_channels(channels)
        self.field_type = checked_scalar(field_type)
        self.hyperparameters = dict(
            field_type=field_type, cutoff=cutoff, channels=channels, field_scale=field_scale
        )
        self.patch_radius = bond_length(lattice, cutoff)
        # The patch may be wider than the lattice, so the graph only needs nearest-neighbor bonds.
        self.cutoff = lattice.neighbor_distance
        self.field_scale = checked_scale(field_scale)
        sites = patch(lattice, self.patch_radius)
        self.register_buffer("permutations", torch.from_numpy(sites.permutations), persistent=False)
        self.mlp = mlp((len(sites), *channels, 1), nn.SiLU)
        self.receptive_field = cells_spanned(lattice, self.patch_radius)

    def graph(self, lattice: Lattice) -> LatticeGraph:
        """The graph of a lattice, in this network's dtype and on its device."""
        check_periodic(lattice)
        return super().graph(lattice)

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: LatticeGraph
    ) -> tuple[None, Float[Tensor, "batch n_sites"]]:
        """None for the energy, and the electronic force."""
        values = patch_values(field, patch_table(graph, self.patch_radius)) / self.field_scale
        y = self.mlp(values[..., self.permutations]).mean(-2).squeeze(-1).T
        bound = self.field_type.force_bound
        return None, y if bound is None else bound * torch.tanh(y)
