"""The orbit convolution as a dense convolution on the grid of cells, for frozen weights.

If the lattice has one site per cell and the neighbors of a site fill most of the smallest box
around it, PyTorch's dense convolution is much faster than gathering neighbors.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.graph import LatticeGraph, graph_operator
from lattgnn.nn.features import Internal
from lattgnn.nn.kernel_operators import arriving_bonds, sparse_map
from lattgnn.nn.kernel_weights import (
    KernelWeights,
    NumberedBlocks,
    bond_kernels,
    pack,
    select_blocks,
    unpack,
)
from lattgnn.nn.sparse_map import SparseMap

MIN_FILLING = 0.5
"""Smallest fraction of the box that must hold neighbors.

Below it, too many products are with zeros.
"""


def fits_grid(layer: KernelWeights, graph: LatticeGraph) -> bool:
    """Whether `apply_on_grid` can be used and is worthwhile.

    It needs frozen weights on the CPU, one site per cell, and neighbors that fill most of a box.
    """
    if not layer.is_frozen or layer.cutoff is None or graph.lattice.n_sublattices > 1:
        return False
    if next(layer.parameters()).is_cuda:
        return False
    offsets = _offsets(graph, layer.cutoff)
    return len(offsets) >= MIN_FILLING * prod(2 * r + 1 for r in _box(graph, layer.cutoff))


def apply_on_grid(
    layer: KernelWeights,
    x: Sequence[Float[Tensor, "_rows _batch _channels"]],
    graph: LatticeGraph,
) -> list[Tensor | None]:
    """Σ_j K_ij x_j plus bias for each output block; None for outputs without kernels."""
    assert layer.cutoff is not None
    results: list[Tensor | None] = [None] * len(layer.outputs)
    for internal in dict.fromkeys(block.internal for block in layer.outputs):
        ins = select_blocks(layer.inputs, 0, internal)
        outs = [
            (b, block)
            for b, block in select_blocks(layer.outputs, 0, internal)
            if str(b) in layer.weights
        ]
        if not outs:
            continue
        kernel = layer.cached(
            ("grid", internal),
            lambda o=outs, i=ins, n=internal: _box_kernel(layer, graph, o, i, n),
        )
        parts = [pack(x[a], block) for a, block in ins]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        y = _convolved(joined, internal.dim, kernel, graph, layer.cutoff)
        for (b, _), result in zip(outs, unpack([y], [block for _, block in outs]), strict=True):
            results[b] = result
    return results


def _convolved(
    x: Float[Tensor, "n_cells batch into"],
    n_groups: int,
    kernel: tuple[Tensor, Tensor],
    graph: LatticeGraph,
    cutoff: float,
) -> Float[Tensor, "n_cells batch out"]:
    extent, box = graph.lattice.extent, _box(graph, cutoff)
    dim, n_rows = len(extent), x.shape[1]
    padded = [n + 2 * r for n, r in zip(extent, box, strict=True)]
    # From [cells, internal component × sample, channel] to PyTorch's layout of images,
    # [sample, internal component × channel, *cells]. Each internal component is one group of the
    # convolution: all have the same weights and never mix.
    rows = _padding(graph, cutoff)(x).view(*padded, n_groups, n_rows // n_groups, -1)
    image = rows.movedim((dim + 1, dim, dim + 2), (0, 1, 2)).flatten(1, 2)
    convolution = (torch.conv1d, torch.conv2d, torch.conv3d)[dim - 1]
    y = convolution(image, *kernel, groups=n_groups).unflatten(1, (n_groups, -1))
    return y.movedim((1, 0, 2), (dim, dim + 1, dim + 2)).reshape(len(x), n_rows, -1)


def _box_kernel(
    layer: KernelWeights,
    graph: LatticeGraph,
    outs: NumberedBlocks,
    ins: NumberedBlocks,
    internal: Internal,
) -> tuple[Tensor, Tensor]:
    """Weights [out, in, *box] and bias of the convolution, repeated per internal component."""
    assert layer.cutoff is not None
    kernels, box = bond_kernels(layer, graph, 0, outs, ins), _box(graph, layer.cutoff)
    weight = kernels.new_zeros(len(kernels), kernels.shape[-1], *(2 * r + 1 for r in box))
    for number, offset in enumerate(_offsets(graph, layer.cutoff)):
        # The neighbor lies at minus the offset, counted from the center of the box.
        place = tuple(r - n for r, n in zip(box, offset, strict=True))
        weight[(slice(None), slice(None), *place)] = kernels[:, number]
    biases = []
    for b, block in outs:
        zeros = kernels.new_zeros(block.type.dim * block.channels)
        biases.append(layer.biases[str(b)] if str(b) in layer.biases else zeros)
    weight = weight.repeat(internal.dim, 1, *(1 for _ in box))
    if weight.ndim == 4:
        # This is oneDNN's fastest memory layout for two-dimensional convolutions.
        weight = weight.to(memory_format=torch.channels_last)
    return weight, torch.cat(biases).repeat(internal.dim)


def _offsets(graph: LatticeGraph, cutoff: float) -> list[tuple[int, ...]]:
    """Cell of a site minus cell of each neighbor, itself first, in the order of `bond_kernels`."""
    return [offset for _, _, offset in _bonds(graph, cutoff)]


def _box(graph: LatticeGraph, cutoff: float) -> tuple[int, ...]:
    """Largest distance between a site and its neighbors along each axis, in cells."""
    return tuple(max(map(abs, axis)) for axis in zip(*_offsets(graph, cutoff), strict=True))


@graph_operator
def _bonds(graph: LatticeGraph, cutoff: float) -> list:
    return arriving_bonds(graph.lattice, 0, 0, cutoff)


@graph_operator
def _padding(graph: LatticeGraph, cutoff: float) -> SparseMap:
    """A matrix that pads the cells of the lattice by `_box` on all sides.

    Periodic axes are continued periodically; beyond an open boundary there are zeros.
    """
    lattice = graph.lattice
    cell, exists = np.zeros(1, dtype=np.int64), np.ones(1, dtype=bool)
    # Row-major numbers of the padded cells, built axis by axis.
    axes = zip(lattice.extent, lattice.periodic, _box(graph, cutoff), strict=True)
    for extent, periodic, width in axes:
        along = np.arange(-width, extent + width)
        inside = along == along % extent
        cell = np.add.outer(cell * extent, along % extent).reshape(-1)
        exists = np.logical_and.outer(exists, periodic | inside).reshape(-1)
    rows = np.flatnonzero(exists)
    entries = (rows, cell[exists], np.ones(len(rows)))
    return sparse_map(graph, [entries], (len(cell), lattice.n_cells))
