"""The orbit convolution as a dense convolution on the grid of cells: for weights that stay as they are.

Where a lattice has one site a cell, and most cells of the smallest box around a site hold one of its
neighbours, the convolution of PyTorch takes a fraction of the time of gathering neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.nn.expanded_conv import Numbered, bond_kernels, kept, pack, select_blocks, unpack
from lattgnn.nn.features import Internal
from lattgnn.nn.kernel_matrices import KernelGraph

if TYPE_CHECKING:
    from lattgnn.nn.orbit_conv import OrbitConv

LEAST_FILLING = 0.5
"""Share of the cells of the box that must hold neighbours; below it too many products are with zeros."""


def is_grid(conv: OrbitConv, x: Sequence[Tensor], graph: KernelGraph) -> bool:
    """Whether `grid_conv` can and should serve: frozen weights, on the CPU, bonds that fill a box.

    Layers of few channels, which sum over neighbours first, gain nothing.
    """
    if not conv.expands or conv.cutoff is None or graph.lattice.n_sublattices > 1:
        return False
    if x[0].is_cuda or any(p.requires_grad for p in conv.parameters()):
        return False
    offsets = graph.offsets(conv.cutoff)
    return len(offsets) >= LEAST_FILLING * prod(2 * r + 1 for r in graph.box(conv.cutoff))


def grid_conv(
    conv: OrbitConv, x: Sequence[Float[Tensor, "_rows _batch _channels"]], graph: KernelGraph
) -> list[Tensor | None]:
    """Σ_j K_ij x_j for each output block of a layer, biases included; None where no kernel leads."""
    assert conv.cutoff is not None
    results: list[Tensor | None] = [None] * len(conv.outputs)
    for internal in dict.fromkeys(block.internal for block in conv.outputs):
        outs, ins = (
            select_blocks(conv.outputs, 0, internal),
            select_blocks(conv.inputs, 0, internal),
        )
        outs = [(b, block) for b, block in outs if str(b) in conv.weights]
        if not outs:
            continue
        key = ("grid", internal)
        kernel = kept(
            conv, key, lambda o=outs, i=ins, n=internal: _box_kernel(conv, graph, o, i, n)
        )
        parts = [pack(x[a], block) for a, block in ins]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        y = _convolved(joined, internal.dim, kernel, graph, conv.cutoff)
        for (b, _), result in zip(outs, unpack([y], [block for _, block in outs]), strict=True):
            results[b] = result
    return results


def _convolved(
    x: Float[Tensor, "n_cells batch into"],
    n_groups: int,
    kernel: tuple[Tensor, Tensor],
    graph: KernelGraph,
    cutoff: float,
) -> Float[Tensor, "n_cells batch out"]:
    extent, box = graph.lattice.extent, graph.box(cutoff)
    dim, n_rows = len(extent), x.shape[1]
    padded = [n + 2 * r for n, r in zip(extent, box, strict=True)]
    # [*cells, component of the internal space, sample, channel] and back
    rows = graph.padding(cutoff)(x).view(*padded, n_groups, n_rows // n_groups, -1)
    image = rows.movedim((dim + 1, dim, dim + 2), (0, 1, 2)).flatten(1, 2)
    convolution = (torch.conv1d, torch.conv2d, torch.conv3d)[dim - 1]
    y = convolution(image, *kernel, groups=n_groups).unflatten(1, (n_groups, -1))
    return y.movedim((1, 0, 2), (dim, dim + 1, dim + 2)).reshape(len(x), n_rows, -1)


def _box_kernel(
    conv: OrbitConv, graph: KernelGraph, outs: Numbered, ins: Numbered, internal: Internal
) -> tuple[Tensor, Tensor]:
    """Weights [out, in, *box] of the convolution and its bias, for each component of the internal space."""
    assert conv.cutoff is not None
    kernels, box = bond_kernels(conv, graph, 0, outs, ins), graph.box(conv.cutoff)
    weight = kernels.new_zeros(len(kernels), kernels.shape[-1], *(2 * r + 1 for r in box))
    for k, offset in enumerate(graph.offsets(conv.cutoff)):  # of the site from its neighbour
        weight[(slice(None), slice(None), *(r - n for r, n in zip(box, offset, strict=True)))] = (
            kernels[:, k]
        )
    biases = [
        conv.biases[str(b)]
        if str(b) in conv.biases
        else kernels.new_zeros(block.type.dim * block.channels)
        for b, block in outs
    ]
    weight = weight.repeat(internal.dim, 1, *(1 for _ in box))
    if weight.ndim == 4:
        weight = weight.to(memory_format=torch.channels_last)
    return weight, torch.cat(biases).repeat(internal.dim)
