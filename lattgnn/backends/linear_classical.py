"""The classical force of a scalar field where it is linear: kernels on bonds, like a layer's."""

import numpy as np

from lattgnn.backends.stencil import Kernel
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import bond_orbits


def linear_classical(hamiltonian: Hamiltonian) -> tuple[tuple[Kernel, ...], ...] | None:
    """−k0 φ_i − k1 Σ_{j nn i} φ_j as 1×1 kernels of each destination; None where it is not that."""
    stiffness, lattice = hamiltonian.stiffness, hamiltonian.lattice
    if stiffness is None or hamiltonian.field_type.n_components:
        return None
    onsite, between = (np.array([[-k]]) for k in stiffness)
    near = [
        bond
        for orbit in bond_orbits(lattice, lattice.neighbor_distance).orbits
        for bond in orbit.bonds
    ]
    return tuple(
        (
            Kernel(((s, s, (0,) * lattice.dim),), onsite),
            Kernel(tuple(bond for bond in near if bond[1] == s), between),
        )
        for s in range(lattice.n_sublattices)
    )
