"""The cells of a lattice as rows of slots, over which the compiled code sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lattgnn.backends.stencil import Kernel, StencilNetwork
from lattgnn.lattice import Lattice

TILE_BYTES = 512 * 2**10
"""Memory for the rows that a sweep keeps: half of the second-level cache of a core."""
MARGIN = 64
"""Slots beyond the ends of a row that a vector may touch."""
Reach = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tile:
    """A piece of a row, int32 arrays.

    Attributes:
        cells: [n_slots], the cell of the row in each slot, -1 for none.
        core: [n_slots], 1 where the result belongs to this tile, 0 in the halo that the core needs,
            -1 elsewhere.
        copies: [n, 2], slots beyond a periodic boundary, and the slots that they copy.
    """

    cells: np.ndarray
    core: np.ndarray
    copies: np.ndarray


class Grid:
    """A lattice as rows along axis 0; the other axes are padded and flattened within a row.

    With this layout a bond is one constant shift in memory, for all cells of a row.

    A row that is too long for the cache is cut along axis 1. Beyond the ends of a piece its
    neighbors' cells are computed again. A whole periodic axis needs no such halo: its ends are
    copies.

    Args:
        lattice: A chain is one row.
        network: Its layers say how far information goes.
        classical: Kernels of the classical force.
        tile_bytes: Memory for the rows that a sweep keeps.
        flat: Make the whole lattice one row. Nothing is computed twice, but all channels are kept
            at once, and one thread does the work.
    """

    def __init__(
        self,
        lattice: Lattice,
        network: StencilNetwork,
        classical: Sequence[tuple[Kernel, ...]],
        tile_bytes: int = TILE_BYTES,
        flat: bool = False,
    ) -> None:
        self._first = (0,) if lattice.dim == 1 or flat else ()
        self.dim = lattice.dim
        self.extent = (1,) * len(self._first) + lattice.extent
        self.periodic = (True,) * len(self._first) + lattice.periodic
        reaches = [self.offset(layer.reach) for layer in network.layers]
        own = (0,) * len(self.extent)
        offsets = [
            self.offset(bond[2])
            for kernels in classical
            for kernel in kernels
            for bond in kernel.bonds
        ]
        self.classical_reach = tuple(int(n) for n in np.abs([own, *offsets]).max(0))
        longest = [int(n) for n in np.max([*reaches, self.classical_reach], axis=0)]
        total = int(sum(reach[1] for reach in reaches)) * (1 + network.conservative)
        total = max(total, self.classical_reach[1])
        cell_bytes = bytes_per_cell(network, [reach[0] for reach in reaches])
        cuts = [0, self.extent[1]] if flat else self._cuts(tile_bytes // cell_bytes, total)
        is_whole = len(cuts) == 2
        self._halo = (longest[1] if is_whole else total, *longest[2:])
        widest = max(stop - start for start, stop in pairwise(cuts))
        padded = [e + 2 * h for e, h in zip((widest, *self.extent[2:]), self._halo, strict=True)]
        self._strides = [int(np.prod(padded[axis + 1 :])) for axis in range(len(padded))]
        self._margin = MARGIN + self.shift((0, *longest[1:]))
        self.tiles = [self._tile(piece, is_whole) for piece in pairwise(cuts)]

    def offset(self, offset: Reach) -> Reach:
        """An offset of cells, with a leading axis of rows where the lattice has none."""
        return self._first + offset

    def shift(self, offset: Reach) -> int:
        """Slots between two cells of a row; axis 0 does not count."""
        return sum(n * stride for n, stride in zip(offset[1:], self._strides, strict=True))

    def _cuts(self, most_places: int, halo: int) -> list[int]:
        """Cuts of axis 1 into equal pieces that fit the memory and are at least 8 halos wide."""
        n = -(-int(np.prod(self.extent[1:])) // max(most_places, 1))
        n = max(1, min(n, self.extent[1] // max(8 * halo, 1)))
        return [self.extent[1] * k // n for k in range(n + 1)]

    def _tile(self, piece: tuple[int, int], is_whole: bool) -> Tile:
        """The tile of a piece of axis 1."""
        # Each axis extends the arrays by an outer product, so that they end up with one entry per
        # slot of the padded row, flattened in row-major order.
        pieces = (piece, *((0, extent) for extent in self.extent[2:]))
        place, source = np.full(1, self._margin), np.full(1, self._margin)
        cell, exists, inside, computed = np.zeros(1, int), *(np.ones(1, bool) for _ in range(3))
        for axis, (start, stop) in enumerate(pieces):
            extent, halo, stride = self.extent[axis + 1], self._halo[axis], self._strides[axis]
            x = np.arange(start - halo, stop + halo)
            # Halo slots of a whole axis copy the other end; those of a cut axis are computed.
            own, copied = (x >= start) & (x < stop), axis > 0 or is_whole
            place = np.add.outer(place, (x - x[0]) * stride).reshape(-1)
            source = np.add.outer(source, ((x % extent if copied else x) - x[0]) * stride).reshape(
                -1
            )
            cell = np.add.outer(cell * extent, x % extent).reshape(-1)
            exists = np.logical_and.outer(
                exists, self.periodic[axis + 1] | (x == x % extent)
            ).reshape(-1)
            inside = np.logical_and.outer(inside, own).reshape(-1)
            computed = np.logical_and.outer(computed, own | (not copied)).reshape(-1)
        # Rounded up to whole vectors of 16 floats.
        length = -(-(int(place[-1]) + 1 + self._margin) // 16) * 16
        cells, core = np.full((2, length), -1, dtype=np.int32)
        cells[place[exists]] = cell[exists]
        core[place[computed]] = inside[computed]
        beyond = exists & ~computed
        return Tile(cells, core, np.stack([place[beyond], source[beyond]], 1).astype(np.int32))


def bytes_per_cell(network: StencilNetwork, reaches: Sequence[int]) -> int:
    """Memory per cell of the rows that a sweep keeps, float32.

    The depths are those of the ring buffers in `csrc/stencil.cpp`.

    Args:
        network: The network.
        reaches: Rows that the bonds of each layer span along axis 0.
    """
    reaches, numbers = [*reaches, 0], 0
    for number, layer in enumerate(network.layers):
        n_out, n_hidden = sum(map(len, layer.out_bias)), sum(map(len, layer.bias))
        numbers += n_out * (2 * reaches[number + 1] + 1)
        if network.conservative:  # gradients, and derivatives that wait for them
            numbers += n_out * (reaches[number] + 1) + n_hidden * (2 * reaches[number] + 1)
            numbers += n_hidden * (2 * sum(reaches[number + 1 :]) + 1)
    return 4 * numbers
