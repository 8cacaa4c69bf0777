"""The equivariant fully connected network of Fan and Chern, with two corrections."""

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
)
from lattgnn.nn.baselines.irreps_network import PatchDecomposition, ProductLinear
from lattgnn.nn.baselines.site_patch import check_periodic, patch_table, patch_values
from lattgnn.nn.force_network import ForceNetwork, bond_length, cells_spanned
from lattgnn.symmetry import FieldType, Representation


class Gate(nn.Module):
    """v → v σ(s + b)/s with s = √(1 + |v|²), where |v| is the length over all components.

    Args:
        channels: Copies of the irrep, each with its own b.
        fan_in: Number of inputs of the preceding map, which sets the initial range of b.
    """

    def __init__(self, channels: int, fan_in: int):
        super().__init__()
        bound = 1 / math.sqrt(max(fan_in, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1).uniform_(-bound, bound))

    def forward(
        self, v: Float[Tensor, "*batch channels dim"]
    ) -> Float[Tensor, "*batch channels dim"]:
        """Apply the gate."""
        s = torch.sqrt(1 + v.square().sum(-1, keepdim=True))
        return v * (torch.sigmoid(s + self.bias) / s)


class IrrepsLayer(nn.Module):
    """A linear map of irreps and of the products of all pairs, then a gate for each irrep."""

    def __init__(self, irreps: Sequence[Representation], copies: Sequence[int], channels: int):
        super().__init__()
        self.linear = ProductLinear(irreps, copies, channels)
        self.gates = nn.ModuleList(Gate(channels, width) for width in self.linear.widths)

    def forward(
        self, f: list[Float[Tensor, "n_sites batch _ _"]]
    ) -> list[Float[Tensor, "n_sites batch channels _"]]:
        """Apply the layer."""
        return [gate(v) for gate, v in zip(self.gates, self.linear(f), strict=True)]


class IrrepsFCNN(ForceNetwork):
    """Three layers of products of irreps over the 45 sites of nine shells.

    On the square lattice the field around a site consists of 9 A1, 3 A2, 6 B1, 5 B2 and 11 E, and
    the network has 143 thousand parameters. In each layer, the irreps and the products of all pairs
    of different ones pass through one linear map for each irrep, then through a :class:`Gate`. The
    force is a linear map of the last A1 and products. Any lattice with one site per cell can be
    used, with the irreps of its own point group.

    Two faults are corrected. The published gate multiplies v by σ(|v| + b)/|v|. This is 0/0 for a
    doublet of length 0, as at every site of a uniform field or of a perfect charge-density wave,
    and it jumps where a singlet changes its sign. Ours has √(1 + |v|²) in place of |v|, and is
    smooth and finite. Both components of a doublet also get the same factor, a function of its
    length √(x² + y²). Unequal factors, which are a possible reading of the paper, break the
    fourfold rotation.

    The published network has no bound on the force; the bound of ``field_type`` is ignored.

    Args:
        lattice: The periodic lattice, of any extent.
        field_type: Must be one scalar per site; its bound is not used.
        cutoff: Radius of the patch, in units of the nearest-neighbor distance; with √13 it holds 45
            sites of the square lattice.
        channels: Copies of each irrep after each layer.
        field_scale: Value of the field that enters as 1. The published value is the largest in the
            training set.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2601.04104 (2026), who fit it with Adam and a learning rate of
        1e-3.
    """

    def __init__(
        self,
        lattice: Lattice,
        field_type: FieldType = SCALAR_FIELD,
        cutoff: float = math.sqrt(13),
        channels: Sequence[int] = (32, 8, 4),
        field_scale: float = 5.0,
    ):
        super().__init__()
        self.field_scale = checked_scale(field_scale)
        self.patch_radius = bond_length(lattice, cutoff)
        # The patch may be wider than the lattice, so the graph only needs nearest-neighbor bonds.
        self.cutoff = lattice.neighbor_distance
        channels = checked_channels(channels)
        self.field_type = checked_scalar(field_type)
        self.hyperparameters = dict(
            field_type=field_type, cutoff=cutoff, channels=channels, field_scale=field_scale
        )
        self.decomposition = PatchDecomposition(lattice, self.patch_radius)
        irreps = self.decomposition.irreps
        copies = [self.decomposition.copies, *((width,) * len(irreps) for width in channels)]
        self.layers = nn.ModuleList(
            IrrepsLayer(irreps, before, width)
            for before, width in zip(copies, channels, strict=False)
        )
        self.readout = ProductLinear(irreps, copies[-1], 1, n_targets=1)
        self.readout_bias = nn.Parameter(torch.zeros(1))
        self.receptive_field = cells_spanned(lattice, self.patch_radius)

    def graph(self, lattice: Lattice) -> LatticeGraph:
        """The graph of a lattice, in this network's dtype and on its device."""
        check_periodic(lattice)
        return super().graph(lattice)

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: LatticeGraph
    ) -> tuple[None, Float[Tensor, "batch n_sites"]]:
        """None for the energy, and the electronic force."""
        f = self.decomposition(
            patch_values(field, patch_table(graph, self.patch_radius)) / self.field_scale
        )
        for layer in self.layers:
            f = layer(f)
        return None, (self.readout(f)[0][..., 0, 0] + self.readout_bias).T
