"""Linear classical forces of scalar fields in the form of a layer: kernels on bonds."""

import numpy as np
import torch
from torch import Tensor

from lattgnn.backends.grid_forces import BondSums
from lattgnn.backends.stencil import Kernel
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import bond_orbits
from lattgnn.lattice.labels import Bond


def linear_classical(hamiltonian: Hamiltonian) -> tuple[tuple[Kernel, ...], ...] | None:
    """The classical force −k0 φ_i − k1 Σ_{j nn i} φ_j as kernels on bonds.

    Args:
        hamiltonian: The model.

    Returns:
        1×1 kernels for each destination sublattice, or None if the classical force has another form
        or the field is not a scalar.
    """
    stiffness, lattice = hamiltonian.stiffness, hamiltonian.lattice
    if stiffness is None or hamiltonian.field_type.n_components:
        return None
    onsite, between = (np.array([[-k]]) for k in stiffness)
    neighbors: list[Bond] = []
    for orbit in bond_orbits(lattice, lattice.neighbor_distance).orbits:
        neighbors += orbit.bonds
    kernels = []
    for sublattice in range(lattice.n_sublattices):
        here: Bond = (sublattice, sublattice, (0,) * lattice.dim)
        into = tuple(bond for bond in neighbors if bond[1] == sublattice)
        kernels.append((Kernel((here,), onsite), Kernel(into, between)))
    return tuple(kernels)


def probed_classical(hamiltonian: Hamiltonian) -> tuple[tuple[Kernel, ...], ...] | None:
    """The classical force as kernels on bonds, found from the forces of a few fields.

    This is for a class of your own without `stiffness`: any force that is linear in a scalar field,
    the same in all cells, and shorter than half the extent of its lattice.

    Args:
        hamiltonian: The model.

    Returns:
        1×1 kernels for each destination sublattice, or None if the classical force is of another
        kind.
    """
    if hamiltonian.field_type.n_components:
        return None
    lattice = hamiltonian.lattice
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, lattice.n_sites, dtype=torch.float64, generator=generator)
    force = hamiltonian.classical_forces
    sums = force(first) + 2 * force(second)
    # One combination shows that the force is linear, because the numbers are arbitrary.
    if force(torch.zeros_like(first)).any() or not _close(force(first + 2 * second), sums):
        return None
    kernels = _responses(hamiltonian)
    if kernels is None:
        return None
    one = [1] * lattice.n_sublattices
    sums_over_bonds = BondSums(kernels, one, one, lattice.periodic)
    grid = first.reshape(1, *lattice.extent, lattice.n_sublattices)
    # A force that differs between cells, or at an open boundary, is not that of its kernels.
    found = sums_over_bonds(grid.movedim(-1, 1)).movedim(1, -1)
    return kernels if _close(found.reshape(-1), force(first)) else None


def _responses(hamiltonian: Hamiltonian) -> tuple[tuple[Kernel, ...], ...] | None:
    """The forces of a field that is 1 on one site, as kernels; None if they reach too far."""
    lattice = hamiltonian.lattice
    grid = (*lattice.extent, lattice.n_sublattices)
    middle = tuple(n // 2 for n in lattice.extent)
    bonds_by_value: list[dict[float, list[Bond]]] = [{} for _ in range(lattice.n_sublattices)]
    for source in range(lattice.n_sublattices):
        impulse = torch.zeros(grid, dtype=torch.float64)
        impulse[(*middle, source)] = 1.0
        response = hamiltonian.classical_forces(impulse.reshape(-1)).reshape(grid).numpy()
        for *cell, destination in np.argwhere(response):
            offset = tuple(int(n) for n in np.subtract(cell, middle))
            if any(2 * abs(n) >= size for n, size in zip(offset, lattice.extent, strict=True)):
                return None
            value = float(response[(*cell, destination)])
            bonds = bonds_by_value[destination].setdefault(value, [])
            bonds.append((source, int(destination), offset))
    kernels = []
    for sublattice, found in enumerate(bonds_by_value):
        here: Bond = (sublattice, sublattice, (0,) * lattice.dim)
        found = found or {0.0: [here]}
        kernels.append(tuple(Kernel(tuple(bonds), np.array([[k]])) for k, bonds in found.items()))
    return tuple(kernels)


def _close(found: Tensor, wanted: Tensor) -> bool:
    return bool((found - wanted).abs().max() <= 1e-9 * (1 + wanted.abs().max()))
