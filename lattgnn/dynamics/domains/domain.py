"""A lattice cut into blocks of cells, one for each process, and the patches around them.

    block   cells whose field this process moves
    halo    cells around the block whose field it receives from its neighbors, as many as the force
            on a site of the block depends on
    patch   block and halo, a small lattice with the boundaries of the large one

On a patch, the forces in the block are those on the whole lattice. Errors from the edge of the
patch stay in the halo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from torch import Tensor

from lattgnn.dynamics.langevin_kernels import SiteRows
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

MAX_CUT_AXES = 2
"""Axes that can be cut, the first ones: rows of sites along the other axes stay whole."""


@dataclass(frozen=True)
class Piece:
    """The part of one axis that a process has, in cells.

    Attributes:
        start: First cell of the block.
        stop: Cell after the last one.
        below: Halo cells before the block.
        above: Halo cells after it.
    """

    start: int
    stop: int
    below: int
    above: int

    @property
    def length(self) -> int:
        """Cells of the block."""
        return self.stop - self.start

    @property
    def patch_length(self) -> int:
        """Cells of the block and its halo."""
        return self.length + self.below + self.above

    @property
    def core(self) -> slice:
        """The block within the patch."""
        return slice(self.below, self.below + self.length)


@dataclass(frozen=True)
class Domain:
    """The block of one process.

    Attributes:
        lattice: The whole lattice.
        mesh: Number of processes along each axis.
        rank: Number of the process; processes are numbered row-major in the mesh.
        halo: Width of the halo along each axis that is cut, in cells.
        unit: Blocks are multiples of this number of cells along each axis.
    """

    lattice: Lattice
    mesh: tuple[int, ...]
    rank: int
    halo: tuple[int, ...]
    unit: tuple[int, ...]

    def of(self, rank: int) -> Domain:
        """The domain of another process."""
        return replace(self, rank=rank)

    @cached_property
    def place(self) -> tuple[int, ...]:
        """Place of the process in the mesh."""
        return tuple(int(n) for n in np.unravel_index(self.rank, self.mesh))

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The part of each axis."""
        return tuple(map(self._piece, range(self.lattice.dim)))

    def _piece(self, axis: int) -> Piece:
        n, k, extent = self.mesh[axis], self.place[axis], self.lattice.extent[axis]
        if n == 1:
            return Piece(0, extent, 0, 0)
        n_units = extent // self.unit[axis]
        start, stop = (self.unit[axis] * (n_units * i // n) for i in (k, k + 1))
        # At an open end of the lattice there is nothing to receive.
        periodic, halo = self.lattice.periodic[axis], self.halo[axis]
        below = halo if periodic or k > 0 else 0
        above = halo if periodic or k < n - 1 else 0
        return Piece(start, stop, below, above)

    @cached_property
    def patch(self) -> Lattice:
        """The patch as a lattice."""
        return self.lattice.with_extent(*(piece.patch_length for piece in self.pieces))

    @cached_property
    def block_extent(self) -> tuple[int, ...]:
        """Cells of the block along each axis."""
        return tuple(piece.length for piece in self.pieces)

    @cached_property
    def core(self) -> tuple[slice, ...]:
        """The block within the cells of the patch."""
        return tuple(piece.core for piece in self.pieces)

    @property
    def n_sites(self) -> int:
        """Number of sites of the block."""
        return math.prod(self.block_extent) * self.lattice.n_sublattices

    @cached_property
    def sites_of_row(self) -> int:
        """Sites of the whole lattice for each cell along axis 0."""
        return self.lattice.n_sites // self.lattice.extent[0]

    @cached_property
    def rows(self) -> SiteRows:
        """The sites of the block in the whole lattice, for the noise."""
        extent, pieces = self.lattice.extent, self.pieces
        if self.lattice.dim == 1 or self.mesh[1] == 1:
            first = pieces[0].start * self.sites_of_row
            return SiteRows(first, self.n_sites, 0)  # all one row
        along = self.sites_of_row // extent[1]  # sites for each cell along axis 1
        first = pieces[0].start * self.sites_of_row + pieces[1].start * along
        return SiteRows(first, pieces[1].length * along, self.sites_of_row)

    def site(self, index: int) -> int:
        """Number in the whole lattice of a site of the block."""
        row, place = divmod(index, self.rows.length)
        return self.rows.first + row * self.rows.stride + place

    def patch_sites(self) -> np.ndarray:
        """Number in the whole lattice of each site of the patch, int64."""
        cells = np.zeros(1, dtype=np.int64)
        for piece, extent in zip(self.pieces, self.lattice.extent, strict=True):
            along = (np.arange(piece.patch_length) + piece.start - piece.below) % extent
            cells = (extent * cells[:, None] + along).ravel()  # cells are numbered row-major
        n = self.lattice.n_sublattices
        return (n * cells[:, None] + np.arange(n)).ravel()

    def copy_block(self, patch_values: Tensor, out: Tensor) -> Tensor:
        """Copy the values on the block out of those on the patch.

        Args:
            patch_values: [n, n_patch_sites, *components].
            out: [n, n_sites, *components], which is returned.
        """
        cells = patch_values.view(len(patch_values), *self.patch.extent, -1)
        out.view(len(out), *self.block_extent, -1).copy_(cells[(slice(None), *self.core)])
        return out

    def part_of(self, values: np.ndarray) -> np.ndarray:
        """The values on the block, from those on the whole lattice, [n, n_sites, *components]."""
        cells = values.reshape(len(values), *self.lattice.extent, -1)
        block = cells[(slice(None), *(slice(p.start, p.stop) for p in self.pieces))]
        return block.reshape(len(values), self.n_sites, *values.shape[2:])


def cut(
    lattice: Lattice,
    n: int,
    halo: Sequence[int],
    unit: Sequence[int] | None = None,
    cuts: Sequence[int] | None = None,
) -> Domain:
    """Cut a lattice into blocks for a number of processes; the domain of the first one.

    Without `cuts`, the mesh with the fewest cells in patches is taken.

    Args:
        lattice: The lattice.
        n: Number of processes.
        halo: Cells along each axis that the force on a site depends on.
        unit: Blocks are multiples of this number of cells along each axis; default: 1.
        cuts: Number of processes along the first axes, such as (2, 2).

    Raises:
        InputError: If the blocks would be smaller than the halo, or `cuts` is not for n processes.
    """
    unit = (1,) * lattice.dim if unit is None else tuple(unit)
    # Whole units, so that the units of a patch are those of the lattice.
    widths = tuple(u * -(-h // u) for h, u in zip(halo, unit, strict=True))
    if cuts is not None and (math.prod(cuts) != n or len(cuts) > min(MAX_CUT_AXES, lattice.dim)):
        raise InputError(
            f"cuts must be numbers of processes along at most {min(MAX_CUT_AXES, lattice.dim)} axes"
            f" whose product is {n}, got {list(cuts)}. Leave it out."
        )
    meshes = _meshes(n, lattice.dim) if cuts is None else [tuple(cuts)]
    domains = []
    for mesh in meshes:
        whole_mesh = mesh + (1,) * (lattice.dim - len(mesh))
        domain = Domain(lattice, whole_mesh, 0, widths, unit)
        if _fits(domain):
            domains.append(domain)
    if not domains:
        wide = " × ".join(map(str, widths[:MAX_CUT_AXES]))
        raise InputError(
            f"the lattice of {' × '.join(map(str, lattice.extent))} cells cannot be cut into "
            f"{n} blocks that are at least as wide as the halo of {wide} cells. Use fewer "
            "processes or a larger lattice."
        )
    # The first of equal ones, which has the most cuts along axis 0.
    return min(domains, key=lambda domain: math.prod(domain.patch.extent))


def _meshes(n: int, dim: int) -> list[tuple[int, ...]]:
    """All meshes of n processes along the axes that can be cut, most cuts along axis 0 first."""
    if dim == 1:
        return [(n,)]
    pairs = product(range(n, 0, -1), range(1, n + 1))
    return [(rows, columns) for rows, columns in pairs if rows * columns == n]


def _fits(domain: Domain) -> bool:
    """Whether each block is at least as wide as the halo that its neighbors receive from it."""
    for axis, n in enumerate(domain.mesh):
        n_units = domain.lattice.extent[axis] // domain.unit[axis]
        if n > 1 and (n_units // n) * domain.unit[axis] < max(domain.halo[axis], 1):
            return False
    return True
