"""The orbit convolution as a dense convolution on the grid of cells: for weights that stay as they are.

Where a lattice has one site a cell, and most cells of the smallest box around a site hold one of its neighbours,
the compiled convolution of PyTorch takes a fraction of the time of gathering neighbours or summing over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.nn.blocks import Internal
from lattgnn.nn.expanded_conv import Numbered, bond_kernels, kept, pack, select_blocks, unpack
from lattgnn.nn.kernel_matrices import KernelGraph

if TYPE_CHECKING:
    from lattgnn.nn.orbit_conv import OrbitConv

LEAST_FILLING = 0.5
"""Share of the cells of the box that must hold neighbours; below it too many products are with zeros."""


def is_grid(conv: OrbitConv, x: Sequence[Tensor], graph: KernelGraph) -> bool:
    """Whether `grid_conv` can and should serve: weights frozen, one sample, on the CPU, bonds in a full box.

    A second sample would need its channels beside those of the first: several are better one by one. Layers of
    few channels, which sum over neighbours first, gain nothing.
    """
    if not conv.expands or conv.cutoff is None or graph.lattice.n_sublattices > 1 or x[0].is_cuda:
        return False
    if x[0].shape[1] != conv.inputs[0].internal.dim or any(p.requires_grad for p in conv.parameters()):
        return False
    offsets = graph.offsets(conv.cutoff)
    return len(offsets) >= LEAST_FILLING * prod(2 * r + 1 for r in graph.box(conv.cutoff))


def grid_conv(
    conv: OrbitConv, x: Sequence[Float[Tensor, "_rows _batch _channels"]], graph: KernelGraph
) -> list[Tensor | None]:
    """Σ_j K_ij x_j for each output block of a layer, biases included; None where no kernel leads."""
    results: list[Tensor | None] = [None] * len(conv.outputs)
    for internal in dict.fromkeys(block.internal for block in conv.outputs):
        outs, ins = select_blocks(conv.outputs, 0, internal), select_blocks(conv.inputs, 0, internal)
        outs = [(b, block) for b, block in outs if str(b) in conv.weights]
        if not outs:
            continue
        key = ("grid", internal)
        weight, bias = kept(conv, key, lambda o=outs, i=ins, n=internal: _box_kernel(conv, graph, o, i, n))
        parts = [pack(x[a], block) for a, block in ins]
        y = _convolved(parts[0] if len(parts) == 1 else torch.cat(parts, -1), weight, bias, conv, graph)
        for (b, _), result in zip(outs, unpack([y], [block for _, block in outs]), strict=True):
            results[b] = result
    return results


def _convolved(
    x: Float[Tensor, "n_cells internal into"], weight: Tensor, bias: Tensor, conv: OrbitConv, graph: KernelGraph
) -> Float[Tensor, "n_cells internal out"]:
    assert conv.cutoff is not None
    extent, box = graph.lattice.extent, graph.box(conv.cutoff)
    rows = graph.padding(conv.cutoff)(x)
    image = rows.view(*(n + 2 * r for n, r in zip(extent, box, strict=True)), -1).movedim(-1, 0)
    convolution = (torch.conv1d, torch.conv2d, torch.conv3d)[len(extent) - 1]
    y = convolution(image.unsqueeze(0), weight, bias, groups=x.shape[1])
    return y.squeeze(0).movedim(0, -1).reshape(len(x), x.shape[1], -1)


def _box_kernel(
    conv: OrbitConv, graph: KernelGraph, outs: Numbered, ins: Numbered, internal: Internal
) -> tuple[Tensor, Tensor]:
    """Weights [out, in, *box] of the convolution and its bias; the components of an internal space are groups."""
    assert conv.cutoff is not None
    kernels, box = bond_kernels(conv, graph, 0, outs, ins), graph.box(conv.cutoff)
    weight = kernels.new_zeros(len(kernels), kernels.shape[-1], *(2 * r + 1 for r in box))
    for k, offset in enumerate(graph.offsets(conv.cutoff)):  # of the site from its neighbour
        weight[(slice(None), slice(None), *(r - n for r, n in zip(box, offset, strict=True)))] = kernels[:, k]
    biases = [
        conv.biases[str(b)] if str(b) in conv.biases else kernels.new_zeros(block.type.dim * block.channels)
        for b, block in outs
    ]
    weight = weight.repeat(internal.dim, 1, *(1 for _ in box))
    if weight.ndim == 4:
        weight = weight.to(memory_format=torch.channels_last)
    return weight, torch.cat(biases).repeat(internal.dim)
