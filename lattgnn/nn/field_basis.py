"""From a field to the channels of a network and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.device_copies import DeviceCopies
from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.nn.features import EVEN, ODD, Block, Features, Internal
from lattgnn.nn.kernel_operators import class_sites, in_site_order
from lattgnn.symmetry import FieldRepresentation, Representation, SiteType, trivial

# Widths in units of the field. They cover the range from the thermal step kT/g of one site to the
# largest fields in a quench.
STEPS = (0.15, 0.3, 0.5, 0.8, 1.3, 2.0, 3.5, 5.0)
BUMPS = (0.15, 0.3, 0.5, 0.8, 1.2, 2.0, 4.0)


def field_blocks(
    field: FieldRepresentation, channels: int = 1, internal: Internal = EVEN
) -> Features:
    """The summands of a field's representation, on each class of sites."""
    return tuple(
        Block(SiteType(site_type.site_class, summand), channels, internal)
        for site_type in field.site_types()
        for summand in site_type.representation.blocks
    )


class FieldComponents(nn.Module):
    """Converts a field to the blocks of its representation, in local frames, and back.

    Args:
        field: Representation of the field.
    """

    def __init__(self, field: FieldRepresentation):
        super().__init__()
        self.representations = field.representations
        self.n_components = field.n_components
        to_local = field.to_local()
        identity = np.eye(field.n_components)
        # Always float64, because rounding the matrices to float32 would break the symmetry of a
        # float64 network.
        self.to_local = None
        if not np.allclose(to_local, identity, atol=0):
            self.to_local = DeviceCopies(torch.from_numpy(to_local))

    def split(
        self, field: Float[Tensor, "batch n_sites *components"], graph: LatticeGraph
    ) -> list[Float[Tensor, "_rows _batch 1"]]:
        """The blocks of a field, with one channel each."""
        local = self._turned(field.reshape(field.shape[0], -1, self.n_components), inverse=False)
        blocks = []
        for number, representation in enumerate(self.representations):
            chosen = (
                local if len(self.representations) == 1 else local[:, class_sites(graph, number)]
            )
            sizes = [summand.dim for summand in representation.blocks]
            blocks += [_rows(part) for part in chosen.split(sizes, dim=-1)]
        return blocks

    def join(
        self, blocks: Sequence[Float[Tensor, "_rows _batch 1"]], graph: LatticeGraph
    ) -> Float[Tensor, "batch n_sites components"]:
        """The field that consists of the given blocks."""
        pieces = iter(blocks)
        batch = blocks[0].shape[1]
        parts = []
        for representation in self.representations:
            columns = [
                next(pieces).squeeze(-1).T.reshape(batch, -1, summand.dim)
                for summand in representation.blocks
            ]
            parts.append(columns[0] if len(columns) == 1 else torch.cat(columns, -1))
        return self._turned(in_site_order(graph, parts, 1), inverse=True)

    def _turned(self, field: Tensor, inverse: bool) -> Tensor:
        if self.to_local is None:
            return field
        matrices = self.to_local.like(field)
        matrices = matrices.mT if inverse else matrices
        # b: sample; n: cell; s: sublattice (fastest in the site number); c, d: components.
        cells = field.view(field.shape[0], -1, len(matrices), self.n_components)
        return torch.einsum("scd,bnsd->bnsc", matrices, cells).reshape(field.shape)


class FieldBasis(nn.Module):
    """Fixed functions of the local field, so that a network need not learn them.

    A site switches from empty to filled within a narrow range of Q. An invariant component Q
    therefore gives steps tanh(Q/s), a linear function Q/s_max and bumps exp(−Q²/2s²), for several
    widths s. For components q that mix under a symmetry, the corresponding functions are the
    vectors q/√(s² + |q|²) and q/s_max, and the invariants exp(−|q|²/2s²).

    Args:
        lattice: The lattice; its extent does not matter.
        field: Representation of the field.
        scale: Unit of the widths, in units of the field.
        odd: Whether to keep odd and even functions in separate blocks, because the field is odd
            under a Z2 symmetry.
    """

    steps: Tensor
    bumps: Tensor

    def __init__(
        self, lattice: Lattice, field: FieldRepresentation, scale: float = 1.0, odd: bool = False
    ):
        super().__init__()
        # Persistent buffers: a checkpoint keeps the widths that it was fitted with.
        self.register_buffer("steps", scale * torch.tensor(STEPS))
        self.register_buffer("bumps", scale * torch.tensor(BUMPS))
        self.components = FieldComponents(field)
        self.odd = odd
        self.summands = field_blocks(field)
        blocks: list[Block] = []
        for block in self.summands:
            invariant = SiteType(block.type.site_class, trivial(block.type.representation.group))
            n_odd, n_even = len(STEPS) + 1, len(BUMPS)
            if self._together(block.type.representation):
                blocks.append(Block(invariant, n_odd + n_even))
            else:
                blocks.append(Block(block.type, n_odd, ODD if odd else EVEN))
                blocks.append(Block(invariant, n_even))
        self.outputs: Features = tuple(blocks)

    def forward(
        self, field: Float[Tensor, "batch n_sites *components"], graph: LatticeGraph
    ) -> list[Float[Tensor, "_rows _batch _channels"]]:
        """Evaluate all functions at each site."""
        result = []
        for block, q in zip(self.summands, self.components.split(field, graph), strict=True):
            if self._together(block.type.representation):
                result.append(self._invariant(q))
                continue
            # Rows are ordered by site, then component: unfold them to sum over components, and
            # repeat each site's factor for all of its components.
            square = q.view(-1, block.type.dim, *q.shape[1:]).square().sum(1)
            if block.type.dim == 1:
                steps = torch.tanh(q / self.steps)
            else:
                steps = q * torch.rsqrt(self.steps.square() + square).repeat_interleave(
                    block.type.dim, 0
                )
            odd = torch.cat([steps, q / self.steps.max()], dim=-1)
            result += [odd, torch.exp(-0.5 * square / self.bumps.square())]
        return result

    def _invariant(self, q: Float[Tensor, "rows batch 1"]) -> Float[Tensor, "rows batch _channels"]:
        """All functions of an invariant component, with channels slowest in memory."""
        value, steps, bumps = q.movedim(-1, 0), self.steps[:, None, None], self.bumps[:, None, None]
        even = torch.exp(-0.5 * value.square() / bumps.square())
        return torch.cat([torch.tanh(value / steps), value / steps.max(), even]).movedim(0, -1)

    def _together(self, representation: Representation) -> bool:
        return representation.is_trivial and representation.dim == 1 and not self.odd


def _rows(components: Float[Tensor, "batch n_sites components"]) -> Float[Tensor, "_rows _batch 1"]:
    """Rows by site, then component."""
    return components.flatten(1).T.unsqueeze(-1)
