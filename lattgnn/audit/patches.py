"""Patches of a lattice: a core, whose forces are compared, with a margin around it.

A patch is a smaller lattice of the same crystal. It begins at any cell, so that sublattices and the
labels of sites and bonds stay where they are. Along each axis there are three cases:

- core and margins reach the extent: the patch has the whole axis with its own boundary;
- the axis is periodic: the patch is periodic too, and may begin at any cell;
- the axis is open: so is the patch. Near an end of the lattice it is shifted inwards, so that this
  end is that of the lattice, and the other one lies at least the margin away from the core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int

from lattgnn.lattice import Lattice


@dataclass(frozen=True)
class Patch:
    """One patch: where its sites and the sites of its core lie.

    Attributes:
        sites: The site of the lattice at each site of the patch.
        core: The sites of the core, numbered in the patch.
    """

    sites: Int[np.ndarray, " n_sites"]
    core: Int[np.ndarray, " n_core"]

    @property
    def core_sites(self) -> Int[np.ndarray, " n_core"]:
        """The sites of the core, numbered in the lattice, in the order of `core`."""
        return self.sites[self.core]


@dataclass(frozen=True)
class PatchShape:
    """The size of all patches of an audit, in cells along each axis.

    Attributes:
        lattice: The lattice of the run.
        core: Cells of a core.
        extent: Cells of a patch.
    """

    lattice: Lattice
    core: tuple[int, ...]
    extent: tuple[int, ...]

    @classmethod
    def of(cls, lattice: Lattice, core: int, halo: Sequence[int]) -> PatchShape:
        """Cores with margins; an axis that they span belongs to the core as a whole.

        Args:
            lattice: The lattice of the run.
            core: Cells of a core along each axis.
            halo: Cells of a margin along each axis.
        """
        cores, extents = [], []
        for length, margin in zip(lattice.extent, halo, strict=True):
            spans = core + 2 * margin >= length
            cores.append(length if spans else core)
            extents.append(length if spans else core + 2 * margin)
        return cls(lattice, tuple(cores), tuple(extents))

    def widened(self, halo: Sequence[int]) -> PatchShape:
        """Patches with the same cores and other margins.

        Args:
            halo: Cells of a margin along each axis.
        """
        zipped = zip(self.lattice.extent, self.core, halo, strict=True)
        extent = tuple(min(length, core + 2 * margin) for length, core, margin in zipped)
        return replace(self, extent=extent)

    @property
    def is_whole(self) -> bool:
        """Whether a patch is the whole lattice."""
        return self.extent == self.lattice.extent

    @cached_property
    def patch_lattice(self) -> Lattice:
        """The lattice of a patch."""
        return self.lattice.with_extent(*self.extent)

    def random_start(self, generator: np.random.Generator) -> tuple[int, ...]:
        """The first cell of a random core, such that each site is in it with the same probability.

        Args:
            generator: Draws one number for each axis.
        """
        start = []
        zipped = zip(self.lattice.extent, self.core, self.lattice.periodic, strict=True)
        for length, core, periodic in zipped:
            if core == length:
                start.append(0)
            elif periodic:
                start.append(int(generator.integers(length)))
            else:  # one of the blocks that tile the axis, of which the last one may be shorter
                start.append(core * int(generator.integers(-(-length // core))))
        return tuple(start)

    def cut(self, start: Sequence[int]) -> Patch:
        """The patch around a core.

        Args:
            start: First cell of the core.
        """
        cells, cores = [], []
        for axis, first in enumerate(start):
            along, inside = self._cut_axis(axis, first)
            cells.append(along)
            cores.append(inside)
        lattice = self.lattice
        sublattices = np.arange(lattice.n_sublattices)
        # One row per cell of the patch in the order of its own lattice, one column per sublattice.
        grid = np.stack(np.meshgrid(*cells, indexing="ij"), -1).reshape(-1, 1, lattice.dim)
        sites = lattice.ravel(grid, sublattices).reshape(-1)
        core_grid = np.stack(np.meshgrid(*cores, indexing="ij"), -1).reshape(-1, 1, lattice.dim)
        return Patch(sites, self.patch_lattice.ravel(core_grid, sublattices).reshape(-1))

    def _cut_axis(self, axis: int, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Cell of the lattice at each cell of the patch, and the cells of the core in the patch."""
        length, core, extent = self.lattice.extent[axis], self.core[axis], self.extent[axis]
        periodic = self.lattice.periodic[axis]
        halo = (extent - core) // 2
        if extent == length:
            begin = 0
        elif periodic:
            begin = first - halo
        else:
            begin = min(max(first - halo, 0), length - extent)
        n_core = core if periodic else min(core, length - first)
        cells = (begin + np.arange(extent)) % length
        # A core that wraps around a whole periodic axis has its cells at both ends of the patch.
        return cells, (first - begin + np.arange(n_core)) % extent
