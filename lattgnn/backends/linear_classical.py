"""Linear classical forces of scalar fields in the form of a layer: kernels on bonds."""

import numpy as np

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
