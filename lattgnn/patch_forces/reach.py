"""How far a force reaches, and what cannot be cut into parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.solvers import DomainDiagonalization, GreenFunction, NoElectrons
from lattgnn.solvers.reach import cells_per_hop, solver_reach

#: Largest extent of the lattice on which the reach of classical forces is tried, by dimension.
_TRIAL_EXTENT = {1: 40, 2: 16, 3: 10}


def reach(force_field: ExactForceField | LearnedForceField) -> tuple[int, ...]:
    """Cells along each axis beyond which the field has no effect on the force on a site.

    Args:
        force_field: The force field.

    Raises:
        InputError: If a force depends on the field of the whole lattice.
    """
    if isinstance(force_field, LearnedForceField):
        electronic = _network_reach(force_field)
    else:
        electronic = _exact_reach(force_field)
    classical = classical_reach(force_field.hamiltonian)
    return tuple(max(pair) for pair in zip(electronic, classical, strict=True))


def classical_reach(model: Hamiltonian) -> tuple[int, ...]:
    """Cells along each axis that the classical force on a site depends on, found by trial.

    In a random field, the field of one cell is changed. The cells whose forces change are within
    reach.

    Args:
        model: The model.

    Raises:
        InputError: If the classical forces reach through the whole lattice of the trial.
    """
    most = _TRIAL_EXTENT[model.lattice.dim]
    extent = tuple(min(length, most) for length in model.lattice.extent)
    small = replace(model, lattice=model.lattice.with_extent(*extent))
    lattice = small.lattice
    generator = torch.Generator().manual_seed(0)
    field = torch.randn(2, *small.field_shape, generator=generator, dtype=torch.float64)
    middle = tuple(length // 2 for length in extent)
    first = lattice.site_index(middle)
    cell = slice(first, first + lattice.n_sublattices)
    changed = field[0].clone()
    changed[cell] = field[1, cell]
    forces = small.classical_forces(torch.stack([field[0], changed]))
    differs = (forces[0] != forces[1]).reshape(lattice.n_sites, -1).any(1).numpy()
    if not differs.any():
        return (0,) * lattice.dim
    cells = lattice.cells[differs]
    found = np.abs(cells - np.array(middle)).max(0)
    if any(2 * n >= length > 2 for n, length in zip(found, extent, strict=True)):
        raise InputError(
            f"the classical forces of {type(model).__name__} reach through the whole lattice, "
            "which cannot be cut. Use one process."
        )
    return tuple(found.tolist())


def _network_reach(force_field: LearnedForceField) -> tuple[int, ...]:
    net = force_field.net
    if force_field.filling is not None:
        raise InputError(
            f"filling={force_field.filling} needs the density of the whole lattice at each step, "
            "which many processes do not have. Leave it out, or use one process."
        )
    if net.receptive_field is None:
        raise InputError(
            f"{type(net).__name__} does not state its receptive field, so that the lattice cannot "
            "be cut. Use one process."
        )
    # The gradient of the energy of one site reaches twice as far.
    return tuple((1 + net.conservative) * cells for cells in net.receptive_field)


def _exact_reach(force_field: ExactForceField) -> tuple[int, ...]:
    solver = force_field.solver
    name = type(solver).__name__
    cells = solver_reach(solver, force_field.hamiltonian)
    if isinstance(solver, NoElectrons):
        cells = (0,) * force_field.lattice.dim
    if cells is None:
        raise InputError(
            f"{name} depends on the field of the whole lattice, which cannot be cut. Use "
            "GreenFunction or DomainDiagonalization, or one process."
        )
    if solver.filling is not None:
        raise InputError(
            f"{name} with filling={solver.filling} finds mu from the whole lattice, which many "
            "processes do not have. Use a fixed mu, or one process."
        )
    if force_field.energy:
        raise InputError(
            f"the energy of {name} is not known for parts of a lattice. Use "
            "--force_field.energy=false, or one process."
        )
    # The derivative of an energy reaches twice as far as the energy.
    twice = isinstance(solver, GreenFunction) and solver.conservative
    return tuple((1 + twice) * n for n in cells)


def solver_cores(solver: DomainDiagonalization, lattice: Lattice) -> tuple[int, ...]:
    """Cells of the cores of the solver along each axis; the blocks of processes consist of them.

    Args:
        solver: The solver of a force field.
        lattice: The whole lattice.

    Raises:
        InputError: If the cores differ in size.
    """
    assert solver.buffer is not None  # that of a force field is resolved
    most = solver.core if isinstance(solver.core, tuple) else (solver.core,) * lattice.dim
    found = []
    for length, core in zip(lattice.extent, most, strict=True):
        n_parts = 1 if core + 2 * solver.buffer >= length else -(-length // core)
        if length % n_parts:
            raise InputError(
                f"DomainDiagonalization cuts {length} cells into {n_parts} cores of different "
                f"sizes, which many processes cannot share. Use a core that divides {length}."
            )
        found.append(length // n_parts)
    return tuple(found)


def halo_of_cores(
    model: Hamiltonian, buffer: Sequence[int], cores: Sequence[int]
) -> tuple[int, ...]:
    """Width of the halo: forces need the cores next to those of the block, with their buffers.

    Args:
        model: The model.
        buffer: Cells of the buffer along each axis.
        cores: Cells of the cores along each axis.
    """
    hops = cells_per_hop(model)
    next_cores = (core * -(-hop // core) for core, hop in zip(cores, hops, strict=True))
    return tuple(core + width for core, width in zip(next_cores, buffer, strict=True))
