"""Nearest neighbours as Hamiltonians use them: pairs, sums, harmonic forces, blocks of orbitals."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from lattgnn.lattice import Lattice


def neighbor_pairs(lattice: Lattice) -> Int[Tensor, "2 n_bonds"]:
    """Both directions of every nearest-neighbour bond, destination above source, sorted by destination."""
    bonds = lattice.bonds(lattice.neighbor_distance)
    return torch.stack([torch.tensor(bonds.destination), torch.tensor(bonds.source)])


def neighbor_table(lattice: Lattice) -> Int[Tensor, "coordination n_sites"]:
    """Neighbours of each site; missing ones (open boundaries) are n_sites, a zero behind the last."""
    destination, source = neighbor_pairs(lattice)
    n_sites = lattice.n_sites
    counts = torch.bincount(destination, minlength=n_sites)
    slot = torch.arange(len(source)) - (counts.cumsum(0) - counts)[destination]
    table = torch.full((int(counts.max()), n_sites), n_sites)
    table[slot, destination] = source
    return table


def harmonic_forces(
    field: Float[Tensor, "*batch n_sites"],
    table: Int[Tensor, "coordination n_sites"],
    onsite: float,
    between: float,
) -> Float[Tensor, "*batch n_sites"]:
    """−onsite φ_i − between Σ_{j nn i} φ_j, of the energy ½ onsite Σ φ² + between Σ_⟨ij⟩ φ_i φ_j.

    Args:
        field: one scalar a site; the components of a vector are batch dimensions.
        table: of `neighbor_table`.
        onsite: stiffness of a site.
        between: stiffness of a bond, each bond counted once.
    """
    return -onsite * field - between * pad(field, (0, 1))[..., table.to(field.device)].sum(-2)


def block_pattern(sites: Int[Tensor, "2 n"], n_orbitals: int) -> Int[Tensor, "2 n_elements"]:
    """Rows and columns of the full block of each pair of sites, pair by pair, each block row by row."""
    orbital = torch.arange(n_orbitals)
    inner = torch.stack([orbital.repeat_interleave(n_orbitals), orbital.repeat(n_orbitals)])
    return (n_orbitals * sites[:, :, None] + inner[:, None, :]).flatten(1)
