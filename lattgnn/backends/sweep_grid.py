"""Memory layout of a lattice for the compiled code: rows of slots, swept one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from lattgnn.backends.stencil import Kernel, StencilNetwork
from lattgnn.lattice import Lattice

TILE_BYTES = 512 * 2**10
"""Memory for the rows that a sweep keeps: half of a typical L2 cache of 1 MiB."""
MARGIN = 64
"""Slots before and after a row that vector instructions may read or write."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A piece of each row, as int32 arrays over its slots.

    Attributes:
        cells: Cell of the row that each slot holds, or -1 for none; [n_slots].
        core: 1 where this tile writes the result, 0 in the halo that it computes for the core, and
            -1 elsewhere; [n_slots].
        copies: Slots beyond a periodic boundary and the slots that they copy; [n, 2].
    """

    cells: np.ndarray
    core: np.ndarray
    copies: np.ndarray


class Grid:
    """A lattice as rows along axis 0; the other axes are padded and flattened within a row.

    With this layout a bond is one constant shift in memory, for all cells of a row.

    If the rows do not fit the cache, they are cut into tiles along axis 1. Each tile also computes
    a halo of cells that belong to its neighbors, so that tiles do not exchange data. Rows that are
    not cut need no computed halo: beyond a periodic boundary they hold copies of the other end.

    Args:
        lattice: The lattice; a chain is one row.
        network: The network, whose layers determine the width of the halo.
        classical: Kernels of the classical force, for each destination sublattice.
        tile_bytes: Memory for the rows that a sweep keeps.
        flat: Make the whole lattice one row. No halo is computed, but all channels of the lattice
            are kept at once, and one thread handles each sample.
        core: Cells of the lattice along each axis whose energies count, None for all. The rows must
            not be flat then.
    """

    def __init__(
        self,
        lattice: Lattice,
        network: StencilNetwork,
        classical: Sequence[tuple[Kernel, ...]],
        tile_bytes: int = TILE_BYTES,
        flat: bool = False,
        core: Sequence[slice] | None = None,
    ) -> None:
        # A leading axis of length 1 if the lattice is a single row.
        self._first = (0,) if lattice.dim == 1 or flat else ()
        self.dim = lattice.dim
        self.extent = (1,) * len(self._first) + lattice.extent
        self.periodic = (True,) * len(self._first) + lattice.periodic
        field_reach = self.offset(network.field_reach)
        self.field_reach = field_reach[0]  # in rows
        reaches = [field_reach, *(self.offset(layer.reach) for layer in network.layers)]
        own = (0,) * len(self.extent)
        offsets = [own]
        for kernel in chain.from_iterable(classical):
            offsets += [self.offset(bond[2]) for bond in kernel.bonds]
        self.classical_reach = tuple(int(n) for n in np.abs(offsets).max(0))
        longest = [int(n) for n in np.max([*reaches, self.classical_reach], axis=0)]
        # Every layer widens the halo by its reach, and the gradient of an energy does so again.
        total = int(sum(reach[1] for reach in reaches)) * (1 + network.conservative)
        total = max(total, self.classical_reach[1])
        cell_bytes = bytes_per_cell(network, [reach[0] for reach in reaches[1:]], field_reach[0])
        # Along the leading axis that a chain does not have, all rows count.
        counted = [slice(0, 1)] * len(self._first) + list(
            core or [slice(0, n) for n in lattice.extent]
        )
        self.counted_rows = slice(None) if core is None else counted[0]
        first, last = (0, self.extent[1]) if core is None else (counted[1].start, counted[1].stop)
        cuts = [0, self.extent[1]]
        if not flat:
            cuts = [
                first + cut for cut in self._cuts(tile_bytes // cell_bytes, total, last - first)
            ]
        is_whole = cuts == [0, self.extent[1]]
        # Copies at the ends of a whole axis are refreshed after each layer: the longest bond is
        # enough. A cut axis needs the sum over all layers.
        self._halo = (longest[1] if is_whole else total, *longest[2:])
        widest = max(stop - start for start, stop in pairwise(cuts))
        padded = [e + 2 * h for e, h in zip((widest, *self.extent[2:]), self._halo, strict=True)]
        # Row-major strides over the padded axes. All tiles share them, and the shifts of bonds.
        self._strides = [int(np.prod(padded[axis + 1 :])) for axis in range(len(padded))]
        self._margin = MARGIN + self.shift((0, *longest[1:]))
        self.tiles = [self._tile(piece, is_whole) for piece in pairwise(cuts)]

    def offset(self, offset: tuple[int, ...]) -> tuple[int, ...]:
        """An offset in cells with the leading axis of rows, also where the lattice has none."""
        return self._first + offset

    def shift(self, offset: tuple[int, ...]) -> int:
        """Slots between two cells within a row, from their offset along all axes but the first."""
        return sum(n * stride for n, stride in zip(offset[1:], self._strides, strict=True))

    def _cuts(self, max_cells: int, halo: int, length: int) -> list[int]:
        """Boundaries of equal pieces of a part of axis 1, including both ends.

        Args:
            max_cells: Cells per row that fit the memory.
            halo: Width of the halo; pieces are at least 8 times as wide, which limits the work that
                is done twice.
            length: Cells of the part.
        """
        n_cells = length * int(np.prod(self.extent[2:]))
        n = -(-n_cells // max(max_cells, 1))  # rounded up
        n = max(1, min(n, length // max(8 * halo, 1)))
        return [length * k // n for k in range(n + 1)]

    def _tile(self, piece: tuple[int, int], is_whole: bool) -> Tile:
        """The tile of the cells [start, stop) of axis 1."""
        # All arrays have one entry per slot of the padded row. Each axis extends them by an outer
        # sum, flattened in row-major order.
        pieces = (piece, *((0, extent) for extent in self.extent[2:]))
        place, source = np.full(1, self._margin), np.full(1, self._margin)
        cell, exists, inside, computed = np.zeros(1, int), *(np.ones(1, bool) for _ in range(3))
        for axis, (start, stop) in enumerate(pieces):
            extent, halo, stride = self.extent[axis + 1], self._halo[axis], self._strides[axis]
            x = np.arange(start - halo, stop + halo)
            # Halo slots of a whole axis copy the other end; those of a cut axis are computed.
            own, copied = (x >= start) & (x < stop), axis > 0 or is_whole
            place = np.add.outer(place, (x - x[0]) * stride).reshape(-1)
            wrapped = x % extent
            origin = wrapped if copied else x
            source = np.add.outer(source, (origin - x[0]) * stride).reshape(-1)
            cell = np.add.outer(cell * extent, wrapped).reshape(-1)
            # Beyond an open end there are no cells.
            present = self.periodic[axis + 1] | (x == wrapped)
            exists = np.logical_and.outer(exists, present).reshape(-1)
            inside = np.logical_and.outer(inside, own).reshape(-1)
            computed = np.logical_and.outer(computed, own | (not copied)).reshape(-1)
        # Rounded up to whole vectors of 16 floats (AVX-512).
        length = -(-(int(place[-1]) + 1 + self._margin) // 16) * 16
        cells, core = np.full((2, length), -1, dtype=np.int32)
        cells[place[exists]] = cell[exists]
        core[place[computed]] = inside[computed]
        beyond = exists & ~computed
        return Tile(cells, core, np.stack([place[beyond], source[beyond]], 1).astype(np.int32))


def bytes_per_cell(network: StencilNetwork, reaches: Sequence[int], field_reach: int = 0) -> int:
    """Memory per cell of the rows that a sweep keeps, float32.

    A layer whose bonds span r rows reads 2r + 1 rows of its input; older rows are overwritten. The
    sums below follow the ring buffers of `csrc/stencil.cpp`.

    Args:
        network: The network.
        reaches: Rows that the bonds of each layer span along axis 0.
        field_reach: Rows between a site and what the functions of the field read.

    Returns:
        Bytes per cell.
    """
    reaches, numbers = [*reaches, 0], 0
    if network.spins is not None and network.conservative:
        # Gradients of the functions of spins, which lie on bonds.
        n_functions = sum(kernels[0].matrix.shape[1] for kernels in network.layers[0].kernels)
        numbers += n_functions * (2 * field_reach + 1)
    for number, layer in enumerate(network.layers):
        n_out, n_hidden = sum(map(len, layer.out_bias)), sum(map(len, layer.bias))
        numbers += n_out * (2 * reaches[number + 1] + 1)
        if network.conservative:
            # Gradients, and the slopes of the nonlinearity, which wait until the gradient of the
            # later layers has arrived at their row.
            numbers += n_out * (reaches[number] + 1) + n_hidden * (2 * reaches[number] + 1)
            numbers += n_hidden * (2 * sum(reaches[number + 1 :]) + 1)
    return 4 * numbers
