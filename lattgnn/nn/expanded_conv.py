"""The orbit convolution with its kernels written out: one gather of neighbours, one GEMM a sublattice.

Large representations, such as the regular one, have more basis kernels than neighbours times components. It
is then cheaper to add up the kernel of each bond, K_b = Σ_p W_p ⊗ B_p(b), than to apply every B_p.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.nn.features import Block, Internal
from lattgnn.nn.kernel_matrices import KernelGraph
from lattgnn.symmetry import site_classes

if TYPE_CHECKING:
    from lattgnn.nn.orbit_conv import OrbitConv

T = TypeVar("T")
Numbered = list[tuple[int, Block]]


def expanded_conv(
    conv: OrbitConv, x: Sequence[Float[Tensor, "_rows _batch _channels"]], graph: KernelGraph
) -> list[Tensor | None]:
    """Σ_j K_ij x_j for each output block of a layer, without biases; None where no kernel leads."""
    results: list[Tensor | None] = [None] * len(conv.outputs)
    for site_class, internal in dict.fromkeys(
        (o.type.site_class, o.internal) for o in conv.outputs
    ):
        outs = select_blocks(conv.outputs, site_class, internal)
        sublattices = site_classes(graph.lattice.cell)[site_class].sublattices
        parts = [_on_sublattice(conv, x, graph, s, outs, internal) for s in sublattices]
        for (b, _), result in zip(outs, unpack(parts, [block for _, block in outs]), strict=True):
            if str(b) in conv.weights:
                results[b] = result
    return results


def bond_kernels(
    conv: OrbitConv, graph: KernelGraph, sublattice: int, outs: Numbered, ins: Numbered
) -> Float[Tensor, "out kinds into"]:
    """The kernel of each bond that arrives on a sublattice; components are slower than channels."""
    rows = []
    for b, out in outs:
        columns = []
        for a, into in ins:
            basis = graph.basis(into.type, out.type, sublattice, conv.cutoff)
            weight = conv.weight_of(a, b)
            if weight is None:
                columns.append(
                    basis.new_zeros(
                        out.type.dim, out.channels, len(basis), into.type.dim, into.channels
                    )
                )
            else:
                columns.append(torch.einsum("opi,kpcd->cokdi", weight, basis))
        rows.append(torch.cat([c.flatten(3) for c in columns], -1).flatten(0, 1))
    return torch.cat(rows)


def _on_sublattice(
    conv: OrbitConv,
    x: Sequence[Tensor],
    graph: KernelGraph,
    sublattice: int,
    outs: Numbered,
    internal: Internal,
) -> Float[Tensor, "n_cells batch out"]:
    neighbours, kernels = [], []
    for source in dict.fromkeys(block.type.site_class for block in conv.inputs):
        ins = select_blocks(conv.inputs, source, internal)
        gather = graph.gather(source, sublattice, conv.cutoff)
        if not ins or gather is None:
            continue
        packed = torch.cat([pack(x[a], block) for a, block in ins], -1)
        n_cells = graph.lattice.n_cells
        neighbours += list(gather(packed).split(n_cells))
        kernels.append(_once(conv, graph, sublattice, outs, ins).flatten(1))
    return torch.nn.functional.linear(torch.cat(neighbours, -1), torch.cat(kernels, -1))


def _once(
    conv: OrbitConv, graph: KernelGraph, sublattice: int, outs: Numbered, ins: Numbered
) -> Tensor:
    """The kernels, kept where no gradient flows back to the weights."""
    key = (sublattice, tuple(b for b, _ in outs), tuple(a for a, _ in ins))
    return kept(conv, key, lambda: bond_kernels(conv, graph, sublattice, outs, ins))


def kept(conv: OrbitConv, key: tuple, make: Callable[[], T]) -> T:
    """What is made of the weights; without gradients it is made anew only when a weight has changed."""
    parameters = list(conv.parameters())
    if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
        return make()
    state = [(p.dtype, p.device, p.data_ptr(), p._version) for p in parameters]
    if key not in conv.written_out or conv.written_out[key][0] != state:
        conv.written_out[key] = state, make()
    return conv.written_out[key][1]


def select_blocks(blocks: Sequence[Block], site_class: int, internal: Internal) -> Numbered:
    """The blocks on a class of sites with an internal space, with their numbers."""
    return [
        (number, block)
        for number, block in enumerate(blocks)
        if block.type.site_class == site_class and block.internal == internal
    ]


def pack(x: Tensor, block: Block) -> Float[Tensor, "n_sites batch components"]:
    """Components beside the channels."""
    sites = x.view(-1, block.type.dim, *x.shape[1:])
    return sites.transpose(1, 2).flatten(2)


def unpack(parts: list[Tensor], blocks: list[Block]) -> list[Tensor]:
    """Blocks in their own layout, from results [n_cells, batch, all components] on each sublattice."""
    joined = torch.stack(parts, 1)  # [n_cells, n_sublattices, batch, components]
    pieces = joined.split([block.type.dim * block.channels for block in blocks], -1)
    return [
        piece.unflatten(-1, (block.type.dim, block.channels)).transpose(2, 3).flatten(0, 2)
        for piece, block in zip(pieces, blocks, strict=True)
    ]
