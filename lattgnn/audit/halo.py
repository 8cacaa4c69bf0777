"""How large the margin of a patch must be, and how large a core pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lattgnn.audit.patches import PatchShape
from lattgnn.errors import InputError, check_number
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.solvers import DomainDiagonalization, Solver

#: Largest number of states of a patch, unless the margin is given or follows from the solver. One
#: exact diagonalization of this size takes about 50 ms.
MAX_STATES = 600
#: Largest core and margin of a patch for exact diagonalization, in cells. They matter in one
#: dimension only, where 600 states are many more than a force depends on.
MAX_CORE, MAX_HALO = 16, 48
#: Smallest margin for exact diagonalization. It matters in three dimensions.
MIN_HALO = 3
#: Smallest core for solvers whose cost is linear in the number of sites.
LINEAR_CORE = 8


def patch_shape(
    model: Hamiltonian, solver: Solver, core: int | None = None, halo: int | None = None
) -> PatchShape:
    """The shape of the patches of an audit.

    The margin of a solver of finite reach is this reach: `core + buffer` of
    `DomainDiagonalization`. Exact diagonalization sees the whole patch. Its patches have about 600
    states; along every axis each margin takes a quarter of the cells, at least three, and the core
    takes the rest. Whether this is enough depends on temperature and field; the audit compares with
    a wider margin and says so. On a square lattice the patches are 24 × 24 sites with margins of 6,
    and for the Holstein model at kT = 0.1 the mean square error of their forces is 7e-7, 8e-9 and
    3e-12 t² in random fields of standard deviation 0.5, 1 and 2.

    Args:
        model: The model on the lattice of the run.
        solver: The reference.
        core: Cells of a core along each axis. None chooses.
        halo: Cells of the margin along each axis. None chooses.

    Raises:
        InputError: If a number is not positive.
    """
    lattice = model.lattice
    for name, cells in {"core": core, "halo": halo}.items():
        if cells is not None:
            check_number(name, cells, 1, 10**6)
    reach = solver_reach(solver, model)
    if halo is None and reach is None:
        side = _cells_of_patch(model)
        margin = min(max(side // 4, MIN_HALO), MAX_HALO)
        core = min(max(side - 2 * margin, 2), MAX_CORE) if core is None else core
        return PatchShape.of(lattice, core, (margin,) * lattice.dim)
    margins = reach if halo is None else (halo,) * lattice.dim
    assert margins is not None
    if core is None:
        core = LINEAR_CORE if reach is None else max(LINEAR_CORE, *margins)
        core += core % 2  # patches with an even number of cells suit order of period two
    return PatchShape.of(lattice, core, margins)


def solver_reach(solver: Solver, model: Hamiltonian) -> tuple[int, ...] | None:
    """Cells along each axis that the force on a site can depend on, None for the whole patch.

    Args:
        solver: The solver.
        model: The model, which decides how far a hop goes.
    """
    solver = solver.resolved(model)
    if not isinstance(solver, DomainDiagonalization):
        return None
    assert solver.buffer is not None  # a resolved one has it
    dim = model.lattice.dim
    cores = solver.core if isinstance(solver.core, tuple) else (solver.core,) * dim
    if len(cores) != dim:
        raise InputError(f"core of the solver must be one number, or {dim}, got {cores}. Use 5.")
    hops = cells_per_hop(model)
    return tuple(core + solver.buffer * hop for core, hop in zip(cores, hops, strict=True))


def wider(halo: tuple[int, ...]) -> tuple[int, ...]:
    """A margin that is wider by half, and at least by two cells.

    Args:
        halo: Cells along each axis.
    """
    return tuple(cells + max(2, cells // 2) for cells in halo)


def cells_per_hop(model: Hamiltonian) -> tuple[int, ...]:
    """Largest number of cells that one hop of H crosses along each axis, at least one.

    Args:
        model: The model.
    """
    small = _small(model)
    lattice, per_cell = small.lattice, small.n_states // small.lattice.n_cells
    cells = lattice.cells[:: lattice.n_sublattices]
    rows, cols = (index.cpu().numpy() // per_cell for index in (small.rows, small.cols))
    steps = np.abs(cells[rows] - cells[cols])
    # Across a periodic boundary the shorter way counts.
    around = np.where(lattice.periodic, np.array(lattice.extent) - steps, steps)
    longest = np.minimum(steps, around).max(axis=0)
    return tuple(max(int(hop), 1) for hop in longest)


def on_lattice(model: Hamiltonian, lattice: Lattice) -> Hamiltonian:
    """The same model on another lattice of the same crystal.

    Args:
        model: The model.
        lattice: The lattice.
    """
    return model if lattice == model.lattice else replace(model, lattice=lattice)


def _cells_of_patch(model: Hamiltonian) -> int:
    """Cells along each axis of a patch of at most 600 states, an even number from 6."""
    lattice = model.lattice
    per_cell = model.n_states // lattice.n_cells
    cells = int((MAX_STATES / per_cell) ** (1 / lattice.dim) + 1e-9)
    return max(cells - cells % 2, 6)


def _small(model: Hamiltonian) -> Hamiltonian:
    """The model on a lattice where its pattern is computed quickly."""
    most = 16 if model.lattice.dim < 3 else 8
    extent = tuple(min(length, most) for length in model.lattice.extent)
    return on_lattice(model, model.lattice.with_extent(*extent))
