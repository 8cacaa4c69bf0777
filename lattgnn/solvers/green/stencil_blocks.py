"""The blocks of a stencil, on the infinite lattice."""

from __future__ import annotations

from functools import partial

from lattgnn.solvers.green.blocks import BlockFinder
from lattgnn.solvers.green.program import Blocks
from lattgnn.solvers.green.schedule import Block
from lattgnn.solvers.green.stencil import Site, Stencil


def stencil_blocks(stencil: Stencil, block: Block) -> Blocks | None:
    """The sites of the block around the site of each sublattice, which lies in cell 0.

    Returns:
        The blocks; None if the lattice is so small that a block, together with the bonds that leave
        it, reaches around an axis.
    """
    finder = BlockFinder(stencil.neighbors)
    # Where there are no cycles, messages alone are right.
    if block.kind == "mean" or is_treelike_stencil(stencil):
        block = Block("ring", 0)
    found = [frozenset(finder.sites(center, block)) for center in _centers(stencil)]
    return found if all(map(partial(_fits, stencil), found)) else None


def is_treelike_stencil(stencil: Stencil) -> bool:
    """Whether no bond lies on a cycle that is not too long, see `BlockFinder`."""
    finder = BlockFinder(stencil.neighbors)
    return not any(map(finder.is_on_cycle, _centers(stencil)))


def _centers(stencil: Stencil) -> list[Site]:
    return [(sublattice, (0,) * len(stencil.extent)) for sublattice in range(stencil.n_sublattices)]


def _fits(stencil: Stencil, block: frozenset[Site]) -> bool:
    reach = stencil.reach
    for axis, extent in enumerate(stencil.extent):
        cells = [site[1][axis] for site in block]
        if max(cells) - min(cells) + 1 + reach[axis] > extent:
            return False
    return True
