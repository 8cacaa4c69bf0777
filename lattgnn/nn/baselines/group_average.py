"""An ordinary network on the patch around a site, averaged over the point group."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.dense_layers import checked_channels, checked_scale, mlp
from lattgnn.nn.baselines.neighbourhood import patch, patch_table, patch_values
from lattgnn.nn.force_network import ForceNetwork, cells_reached


class GroupAveragedMLP(ForceNetwork):
    r"""F_i = b tanh(1/|G| Σ_g f(g·patch of i)), f fully connected: symmetric by brute force.

    Each operation of the point group costs one evaluation of f, 8 on the square lattice. Any lattice with one
    site a cell will do.

    Args:
        lattice: The lattice, of any extent, periodic; fixes the point group.
        force_bound: Largest electronic force on a site, b; None leaves the output unbounded.
        cutoff: Radius of the patch, in the units of the lattice; √13 holds 45 sites of the square lattice.
        channels: Widths of the hidden layers.
        field_scale: Field that enters as 1.

    Reference:
        D. Yarotsky, arXiv:1804.10306 (2018): such averages approximate every invariant function. The widths
        are ours.
    """

    permutations: Tensor

    def __init__(
        self,
        lattice: Lattice,
        force_bound: float | None = None,
        cutoff: float = math.sqrt(13),
        channels: Sequence[int] = (256, 256, 128),
        field_scale: float = 1.0,
    ):
        super().__init__()
        channels = checked_channels(channels)
        self.hyperparameters = dict(
            force_bound=force_bound, cutoff=cutoff, channels=channels, field_scale=field_scale
        )
        self.force_bound, self.cutoff = force_bound, cutoff
        self.field_scale = checked_scale(field_scale)
        sites = patch(lattice, cutoff)
        self.register_buffer("permutations", torch.from_numpy(sites.permutations), persistent=False)
        self.mlp = mlp((len(sites), *channels, 1), nn.SiLU)
        self.reach = cells_reached(lattice, cutoff)

    def graph(self, lattice: Lattice) -> Int[Tensor, "n_sites n_patch"]:
        """The sites of the patch around each site of ``lattice``, on this network's device."""
        return patch_table(lattice, self.cutoff, next(self.parameters()).device)

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: Int[Tensor, "n_sites n_patch"]
    ) -> tuple[None, Float[Tensor, "batch n_sites"]]:
        """No energy, and the electronic force."""
        values = patch_values(field, graph) / self.field_scale
        y = self.mlp(values[..., self.permutations]).mean(-2).squeeze(-1).T
        return None, y if self.force_bound is None else self.force_bound * torch.tanh(y)
