"""Neighbors as Hamiltonians use them: pairs of sites, elastic forces, orbital pairs."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from lattgnn.device_copies import DeviceCopies
from lattgnn.errors import errors_about
from lattgnn.lattice import Lattice


def neighbor_pairs(lattice: Lattice) -> Int[Tensor, "2 n_bonds"]:
    """Destinations and sources of nearest-neighbor bonds, both directions, by destination."""
    with errors_about("the nearest-neighbor bonds of the Hamiltonian"):
        bonds = lattice.bonds(lattice.neighbor_distance)
    return torch.stack([torch.tensor(bonds.destination), torch.tensor(bonds.source)])


def neighbor_table(lattice: Lattice) -> Int[Tensor, "coordination n_sites"]:
    """Neighbors of each site; n_sites stands for one that is missing at an open boundary."""
    destination, source = neighbor_pairs(lattice)
    n_sites = lattice.n_sites
    counts = torch.bincount(destination, minlength=n_sites)
    # Pairs are sorted by destination, so the number of a pair minus the number of pairs of earlier
    # sites counts the neighbors of one site: 0, 1, 2, …
    slot = torch.arange(len(source)) - (counts.cumsum(0) - counts)[destination]
    table = torch.full((int(counts.max()), n_sites), n_sites)
    table[slot, destination] = source
    return table


def harmonic_forces(
    field: Float[Tensor, "*batch n_sites"],
    table: DeviceCopies,
    onsite: float,
    between: float,
) -> Float[Tensor, "*batch n_sites"]:
    """−onsite φ_i − between Σ_{j nn i} φ_j.

    They belong to the energy ½ onsite Σ_i φ_i² + between Σ_⟨ij⟩ φ_i φ_j.

    Args:
        field: One scalar per site. The components of a vector are passed as batch dimensions.
        table: Neighbors of each site, as `neighbor_table` returns them.
        onsite: Stiffness of a site.
        between: Stiffness of a bond; each bond is counted once.
    """
    # The zero that is appended to the field is the value of missing neighbors.
    neighbors = pad(field, (0, 1))[..., table.on(field.device)]
    return -onsite * field - between * neighbors.sum(-2)


def orbital_pattern(sites: Int[Tensor, "2 n"], n_orbitals: int) -> Int[Tensor, "2 n_elements"]:
    """Rows and columns of all orbital pairs on each pair of sites.

    The n_orbitals² elements of one pair of sites are consecutive and in row-major order.
    """
    orbital = torch.arange(n_orbitals)
    inner = torch.stack([orbital.repeat_interleave(n_orbitals), orbital.repeat(n_orbitals)])
    return (n_orbitals * sites[:, :, None] + inner[:, None, :]).flatten(1)
