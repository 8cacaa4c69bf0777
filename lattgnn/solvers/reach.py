"""How far the force on a site reaches: the cells whose field it can depend on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from lattgnn.lattice import Lattice
from lattgnn.solvers.domain import DomainDiagonalization
from lattgnn.solvers.green.blocks import block_groups, is_treelike
from lattgnn.solvers.green.green_function import GreenFunction
from lattgnn.solvers.green.schedule import parse_entry
from lattgnn.solvers.green.site_graph import SiteGraph
from lattgnn.solvers.solver import Solver, TightBinding


def solver_reach(solver: Solver, model: TightBinding) -> tuple[int, ...] | None:
    """Cells along each axis that the force on a site can depend on, None for the whole patch.

    Args:
        solver: The solver.
        model: The model, which decides how far a hop goes.

    Raises:
        InputError: If the tolerance of the solver cannot be reached.
    """
    solver = solver.resolved(model)
    hops = np.array(cells_per_hop(model))
    if isinstance(solver, DomainDiagonalization):
        assert solver.buffer is not None  # a resolved one has it
        return tuple((solver.buffer * hops).tolist())
    if isinstance(solver, GreenFunction):
        return _green_reach(solver, _small(model), hops)
    return None


def _green_reach(
    solver: GreenFunction, model: TightBinding, hops: np.ndarray
) -> tuple[int, ...] | None:
    """The reach of message passing; None on a tree, where messages go on to the end."""
    lattice, graph = model.lattice, SiteGraph.of(model)
    if is_treelike(lattice, graph):
        return None
    entries = solver.schedule or (f"ring{solver.block}:2",)
    longest = np.zeros(lattice.dim, dtype=np.int64)
    for block, rounds in map(parse_entry, entries):
        # A message into the block comes from one hop beyond it, and each round adds a hop. One more
        # is for the elements between two neighbors, each of which has its own block.
        around = hops * (rounds + 2)
        for group in block_groups(lattice, graph, block):
            cells = lattice.cells[group.sites.numpy()]
            steps = _shorter_way(lattice, cells - cells[:, :1])
            longest = np.maximum(longest, around + steps.reshape(-1, lattice.dim).max(axis=0))
    return tuple(longest.tolist())


def _shorter_way(lattice: Lattice, steps: np.ndarray) -> np.ndarray:
    """Lengths of steps between cells [..., dim], across a periodic boundary if that is shorter."""
    lengths = np.abs(steps)
    around = np.where(lattice.periodic, np.array(lattice.extent) - lengths, lengths)
    return np.minimum(lengths, around)


def cells_per_hop(model: TightBinding) -> tuple[int, ...]:
    """Largest number of cells that one hop of H crosses along each axis, at least one.

    Args:
        model: The model.
    """
    small = _small(model)
    lattice, per_cell = small.lattice, small.n_states // small.lattice.n_cells
    cells = lattice.cells[:: lattice.n_sublattices]
    rows, cols = (index.cpu().numpy() // per_cell for index in (small.rows, small.cols))
    longest = _shorter_way(lattice, cells[rows] - cells[cols]).max(axis=0)
    return tuple(max(int(hop), 1) for hop in longest)


def _small(model: TightBinding) -> TightBinding:
    """The model on a lattice where its pattern is computed quickly."""
    most = 16 if model.lattice.dim < 3 else 8
    extent = tuple(min(length, most) for length in model.lattice.extent)
    lattice = model.lattice.with_extent(*extent)
    return model if lattice == model.lattice else replace(cast(Any, model), lattice=lattice)
