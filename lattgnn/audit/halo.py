"""How large the margin of a patch must be, and how large a core is efficient."""

from __future__ import annotations

from dataclasses import replace

from lattgnn.audit.patches import PatchShape
from lattgnn.errors import check_number
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.solvers import DomainDiagonalization, GreenFunction, Solver
from lattgnn.solvers.reach import solver_reach

#: Largest number of states of a patch, unless the margin is given or follows from the solver. One
#: exact diagonalization of this size takes about 50 ms.
MAX_STATES = 600
#: Largest core and margin of a patch for exact diagonalization, in cells. They matter in one
#: dimension only, where 600 states are many more than a force depends on.
MAX_CORE, MAX_HALO = 16, 48
#: Smallest margin for exact diagonalization. It matters in three dimensions.
MIN_HALO = 3
#: Core of a patch for solvers whose cost is linear in the number of sites.
LINEAR_CORE = 16


def patch_shape(
    model: Hamiltonian, solver: Solver, core: int | None = None, halo: int | None = None
) -> PatchShape:
    """The shape of the patches of an audit.

    - `GreenFunction`: the margin is its reach, that is, the largest block with its rounds of
      messages. The core is large, because the cost is linear in the number of sites.
    - `DomainDiagonalization`: a patch is one domain with its core and its buffer.
    - Any other solver sees the whole patch, which has about 600 states; along every axis each
      margin takes a quarter of the cells, at least three, and the core takes the rest. On a square
      lattice the patches are 24 × 24 sites with margins of 6. By exact diagonalization, the mean
      square error of their forces in the Holstein model at kT = 0.1 is 7e-7, 8e-9 and 3e-12 t² in
      random fields of standard deviation 0.5, 1 and 2.

    Whether a margin is enough depends on temperature and field. An audit compares with a wider one.

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
    side = _cells_of_patch(model)
    margins = solver_reach(solver, model)
    if margins is None:
        margins = (min(max(side // 4, MIN_HALO), MAX_HALO),) * lattice.dim
    if core is None:
        core = _core(solver, max(side - 2 * margins[0], 2))
    return PatchShape.of(lattice, core, margins if halo is None else (halo,) * lattice.dim)


def _core(solver: Solver, rest: int) -> int:
    """Cells of a core that suit a solver; `rest` are those that a margin leaves of a patch."""
    if isinstance(solver, GreenFunction):
        return LINEAR_CORE
    if isinstance(solver, DomainDiagonalization):
        return max(solver.core) if isinstance(solver.core, tuple) else solver.core
    return min(rest, MAX_CORE)


def wider(halo: tuple[int, ...]) -> tuple[int, ...]:
    """A margin that is wider by half, and at least by two cells, or one in three dimensions.

    Args:
        halo: Cells along each axis.
    """
    least = 2 if len(halo) < 3 else 1
    return tuple(cells + max(least, cells // 2) for cells in halo)


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
