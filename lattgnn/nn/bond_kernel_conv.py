"""The orbit convolution with the kernel of each bond: a gather of neighbors and a GEMM.

Large representations, such as the regular one, have more basis kernels than neighbors times
components. It is then cheaper to add up the kernel of each bond, K_b = Σ_p W_p ⊗ B_p(b), than to
apply every B_p.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.graph import LatticeGraph
from lattgnn.nn.features import Internal
from lattgnn.nn.kernel_operators import neighbor_gather
from lattgnn.nn.kernel_weights import (
    KernelWeights,
    NumberedBlocks,
    bond_kernels,
    pack,
    select_blocks,
    unpack,
)
from lattgnn.symmetry import site_classes


def apply_bond_kernels(
    layer: KernelWeights,
    x: Sequence[Float[Tensor, "_rows _batch _channels"]],
    graph: LatticeGraph,
) -> list[Tensor | None]:
    """Σ_j K_ij x_j for each output block, without biases; None for outputs without kernels."""
    results: list[Tensor | None] = [None] * len(layer.outputs)
    groups = dict.fromkeys((out.type.site_class, out.internal) for out in layer.outputs)
    for site_class, internal in groups:
        outs = select_blocks(layer.outputs, site_class, internal)
        sublattices = site_classes(graph.lattice.cell)[site_class].sublattices
        parts = [_on_sublattice(layer, x, graph, s, outs, internal) for s in sublattices]
        for (b, _), result in zip(outs, unpack(parts, [block for _, block in outs]), strict=True):
            if str(b) in layer.weights:
                results[b] = result
    return results


def _on_sublattice(
    layer: KernelWeights,
    x: Sequence[Tensor],
    graph: LatticeGraph,
    sublattice: int,
    outs: NumberedBlocks,
    internal: Internal,
) -> Float[Tensor, "n_cells batch out"]:
    neighbors, kernels = [], []
    for source in dict.fromkeys(block.type.site_class for block in layer.inputs):
        ins = select_blocks(layer.inputs, source, internal)
        gather = neighbor_gather(graph, source, sublattice, layer.cutoff)
        if not ins or gather is None:
            continue
        packed = torch.cat([pack(x[a], block) for a, block in ins], -1)
        neighbors += list(gather(packed).split(graph.lattice.n_cells))
        key = ("bonds", sublattice, tuple(b for b, _ in outs), tuple(a for a, _ in ins))
        kernel = layer.cached(
            key, lambda ins=ins: bond_kernels(layer, graph, sublattice, outs, ins)
        )
        kernels.append(kernel.flatten(1))
    return torch.nn.functional.linear(torch.cat(neighbors, -1), torch.cat(kernels, -1))
