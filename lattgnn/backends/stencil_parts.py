"""The parts of the channels of a network, and its nonlinearities in terms of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from lattgnn.backends.stencil import StencilGate
from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.nn.features import EVEN, SPIN, Features, Internal
from lattgnn.nn.kernel_weights import NumberedBlocks, select_blocks
from lattgnn.nn.nonlinearities import EntrywiseSiLU, Gate, Nonlinearity, NormGate, SquareGate
from lattgnn.symmetry import site_class_index

Parts = tuple[Internal | None, ...]
"""The internal space of the channels of each part of a sublattice; None for all channels."""
SCALAR_PARTS: Parts = (None,)
SPIN_PARTS: Parts = (EVEN, SPIN, SPIN, SPIN)


def blocks_of_parts(blocks: Features, lattice: Lattice, parts: Parts) -> list[NumberedBlocks]:
    """The blocks of channels of each part of the network."""
    found = []
    for sublattice in range(lattice.n_sublattices):
        number = site_class_index(lattice.cell, sublattice)
        found += [select_blocks(blocks, number, space) for space in parts]
    return found


def n_channels(blocks: NumberedBlocks) -> int:
    """Number of channels of a part."""
    return sum(block.type.dim * block.channels for _, block in blocks)


def stencil_gates(
    nonlinearity: Nonlinearity, graph: LatticeGraph, parts: Parts
) -> tuple[tuple[StencilGate, ...], ...]:
    """The gates of each sublattice; none at all if no block is gated."""
    if isinstance(nonlinearity, NormGate):
        return ()
    gate = nonlinearity.gate if isinstance(nonlinearity, SquareGate) else nonlinearity
    assert isinstance(gate, Gate)
    if not gate.gated:
        return ()
    all_blocks, n = blocks_of_parts(gate.inputs, graph.lattice, parts), len(parts)
    gates = []
    for first in range(0, len(all_blocks), n):
        # Channels [component, copy] of each block, for each part that has it.
        places: dict[int, list[np.ndarray]] = {}
        start = 0
        for blocks in all_blocks[first : first + n]:
            for b, block in blocks:
                size = block.type.dim * block.channels
                channels = np.arange(start, start + size).reshape(block.type.dim, -1)
                places.setdefault(b, []).append(channels)
                start += size
        of_sublattice: list[StencilGate] = []
        for number, gated in enumerate(gate.gated):
            if gated not in places:
                continue
            squares = np.zeros(gate.outputs[gated].channels)
            if isinstance(nonlinearity, SquareGate):
                squares = nonlinearity.coefficients[number].numpy()
            members = np.concatenate(places[gated]).T
            (channels,) = places[len(gate.outputs) + number][0]
            for channel, own, square in zip(channels, members, squares, strict=True):
                own = tuple(int(m) for m in own)
                of_sublattice.append(StencilGate(int(channel), own, float(square)))
        gates.append(tuple(of_sublattice))
    return tuple(gates)


def channel_changes(
    nonlinearity: Nonlinearity,
    graph: LatticeGraph,
    parts: Parts,
    biases: Sequence[np.ndarray],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each part, the map before the nonlinearity, and that from its result to the second map.

    The second map of a `Gate` does not read the gates, which are the last channels.
    """
    changes = []
    sizes = [n_channels(b) for b in blocks_of_parts(nonlinearity.outputs, graph.lattice, parts)]
    for part, (bias, n_read) in enumerate(zip(biases, sizes, strict=True)):
        forth, back = np.eye(len(bias)), np.eye(n_read, len(bias))
        if isinstance(nonlinearity, Gate | NormGate) and parts == SCALAR_PARTS:
            pairs = _pairs(nonlinearity.silu, site_class_index(graph.lattice.cell, part))
            forth[:n_read, :n_read], back[:, :n_read] = pairs
        changes.append((forth, back))
    return changes


def _pairs(silu: EntrywiseSiLU, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The map from even and odd channels to their sums and differences, and its inverse.

    SiLU acts on the sums e + o and differences e − o, rather than on the even channels e and the
    odd channels o themselves.
    """
    blocks = select_blocks(silu.blocks, number)
    sizes = [block.type.dim * block.channels for _, block in blocks]
    starts = accumulate(sizes[:-1], initial=0)
    first = {b: start for (b, _), start in zip(blocks, starts, strict=True)}
    forth = np.eye(sum(sizes))
    for even, odd in silu.partners.items():
        if even not in first:
            continue
        block, partner = silu.blocks[even], silu.blocks[odd]
        for c in range(block.type.dim):
            # Components are the slow index within a block. An even block can have more channels
            # than its odd partner; the rest stays as it is.
            e = first[even] + c * block.channels + np.arange(partner.channels)
            o = first[odd] + c * partner.channels + np.arange(partner.channels)
            forth[e, o], forth[o, e], forth[o, o] = 1, 1, -1
    return forth, np.linalg.inv(forth)
