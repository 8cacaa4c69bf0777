"""The weights of an orbit convolution, one matrix per equivariant kernel."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.nn.features import Block, Features, Internal
from lattgnn.nn.kernel_operators import basis_kernels, block_rows
from lattgnn.symmetry import SiteType, orbit_kernels

T = TypeVar("T")
NumberedBlocks = list[tuple[int, Block]]
"""Blocks with their positions among all blocks of a layer."""


class KernelWeights(nn.Module):
    r"""Weights :math:`W_p` of the kernels :math:`K = \sum_p W_p \otimes B_p`, and biases.

    Args:
        lattice: Determines the orbits and kernels; its extent does not matter.
        inputs: Blocks of channels that the layer reads.
        outputs: Blocks of channels that the layer returns.
        cutoff: Longest bond, in the units of the lattice; None makes the layer act on each site
            separately.
        bias: Whether invariant channels get a bias.
    """

    is_frozen = False
    """Whether the weights never change again, so that the kernels made from them may be cached.

    Only the owner of a private copy may set it, as `ForceNetwork.frozen_copy` does.
    """

    def __init__(
        self,
        lattice: Lattice,
        inputs: Features,
        outputs: Features,
        cutoff: float | None = None,
        bias: bool = True,
    ):
        super().__init__()
        self.inputs, self.outputs, self.cutoff = inputs, outputs, cutoff
        self.n_kernels: dict[tuple[int, int], tuple[int, int]] = {}
        """Numbers of on-site and of bond kernels for each pair (input number, output number)."""
        for b, out in enumerate(outputs):
            for a, into in enumerate(inputs):
                # Channels of different internal spaces never mix linearly.
                counts = _count(lattice, into.type, out.type, cutoff)
                if into.internal == out.internal and sum(counts):
                    self.n_kernels[a, b] = counts
        self.cached_kernels: dict[Hashable, object] = {}
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for b, block in enumerate(outputs):
            fan_in = sum(self.widths(b).values())
            if fan_in:
                self.weights[str(b)] = nn.Parameter(torch.empty(block.channels, fan_in))
                nn.init.kaiming_uniform_(self.weights[str(b)], a=math.sqrt(5))
            if bias and block.is_invariant:
                self.biases[str(b)] = nn.Parameter(torch.zeros(block.channels))

    def widths(self, b: int) -> dict[int, int]:
        """Number of columns of an output's weight matrix that belong to each input."""
        return {
            a: sum(counts) * self.inputs[a].channels
            for (a, to), counts in self.n_kernels.items()
            if to == b
        }

    def weight_of(self, a: int, b: int) -> Float[Tensor, "channels_out kernels channels_in"] | None:
        """Weights of each basis kernel from input block a to output block b, or None.

        None means that no equivariant kernel connects the two blocks.
        """
        if (a, b) not in self.n_kernels:
            return None
        widths = self.widths(b)
        position = list(widths).index(a)
        columns = self.weights[str(b)].split(list(widths.values()), dim=1)[position]
        return columns.unflatten(1, (-1, self.inputs[a].channels))

    def uses_all(self) -> bool:
        """Whether every input block has a kernel to some output."""
        return len({a for a, _ in self.n_kernels}) == len(self.inputs)

    def reaches_all(self) -> bool:
        """Whether every output block has a kernel from some input."""
        return len({b for _, b in self.n_kernels}) == len(self.outputs)

    def with_bias(
        self, b: int, result: Tensor | None, x: Sequence[Tensor], graph: LatticeGraph
    ) -> Tensor:
        """An output block with its bias added; zeros plus bias if no kernel leads to it."""
        block = self.outputs[b]
        if result is None:
            # Components of an internal space are part of the batch axis.
            batch = x[0].shape[1] // self.inputs[0].internal.dim
            shape = (block_rows(graph, block.type), batch * block.internal.dim, block.channels)
            result = x[0].new_zeros(shape)
        return result + self.biases[str(b)] if str(b) in self.biases else result

    def cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `make()`, recomputed in every call unless the weights are frozen.

        Frozen weights give the same value every time, so it is computed in the first call and then
        kept.
        """
        if not self.is_frozen:
            return make()
        weight = next(self.parameters())
        key = (key, weight.dtype, weight.device)
        if key not in self.cached_kernels:
            self.cached_kernels[key] = make()
        return self.cached_kernels[key]  # type: ignore[return-value]


def bond_kernels(
    layer: KernelWeights,
    graph: LatticeGraph,
    sublattice: int,
    outs: NumberedBlocks,
    ins: NumberedBlocks,
) -> Float[Tensor, "out bonds into"]:
    """The kernel of each bond that ends on a sublattice.

    Both axes of size "out" and "into" list blocks, then components, then channels (fastest).
    """
    rows = []
    for b, out in outs:
        columns = []
        for a, into in ins:
            basis = basis_kernels(graph, into.type, out.type, sublattice, layer.cutoff)
            weight = layer.weight_of(a, b)
            if weight is None:
                shape = (out.type.dim, out.channels, len(basis), into.type.dim, into.channels)
                columns.append(basis.new_zeros(shape))
            else:
                # o, i: channels out and in; c, d: components out and in; k: bond; p: kernel.
                columns.append(torch.einsum("opi,kpcd->cokdi", weight, basis))
        rows.append(torch.cat([c.flatten(3) for c in columns], -1).flatten(0, 1))
    return torch.cat(rows)


def select_blocks(
    blocks: Sequence[Block], site_class: int, internal: Internal | None = None
) -> NumberedBlocks:
    """The numbered blocks on one class of sites, optionally of one internal space only."""
    return [
        (number, block)
        for number, block in enumerate(blocks)
        if block.type.site_class == site_class and internal in (None, block.internal)
    ]


def pack(x: Tensor, block: Block) -> Float[Tensor, "n_sites batch components"]:
    """A block with its components moved from the rows to the channel axis."""
    # [site × component, batch, channel] to [site, batch, component × channel].
    sites = x.view(-1, block.type.dim, *x.shape[1:])
    return sites.transpose(1, 2).flatten(2)


def unpack(parts: list[Tensor], blocks: list[Block]) -> list[Tensor]:
    """The inverse of `pack` for several blocks at once.

    Args:
        parts: For each sublattice of the class, results of shape [n_cells, batch, components of all
            blocks].
        blocks: The blocks that the last axis holds, one after another.
    """
    joined = torch.stack(parts, 1)  # [n_cells, n_sublattices, batch, components]
    pieces = joined.split([block.type.dim * block.channels for block in blocks], -1)
    return [
        piece.unflatten(-1, (block.type.dim, block.channels)).transpose(2, 3).flatten(0, 2)
        for piece, block in zip(pieces, blocks, strict=True)
    ]


def _count(
    lattice: Lattice, source: SiteType, destination: SiteType, cutoff: float | None
) -> tuple[int, int]:
    """Number of on-site kernels, and number of bond kernels."""
    found = orbit_kernels(lattice.cell, source, destination, cutoff)
    on_site = sum(len(kernels) for kernels in found if kernels.orbit < 0)
    return on_site, sum(map(len, found)) - on_site
