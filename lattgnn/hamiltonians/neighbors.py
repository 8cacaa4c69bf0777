"""Bonds as Hamiltonians use them: pairs of sites, hoppings, elastic forces, orbital pairs."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from lattgnn.device_copies import DeviceCopies
from lattgnn.errors import errors_about
from lattgnn.lattice import Lattice
from lattgnn.lattice.labels import values_by_label


def neighbor_pairs(lattice: Lattice) -> Int[Tensor, "2 n_bonds"]:
    """Destinations and sources of nearest-neighbor bonds, both directions, by destination."""
    with errors_about("the nearest-neighbor bonds of the Hamiltonian"):
        bonds = lattice.bonds(lattice.neighbor_distance)
    return torch.stack([torch.tensor(bonds.destination), torch.tensor(bonds.source)])


def hopping_bonds(
    lattice: Lattice, t: float | Mapping[str, float]
) -> tuple[Int[Tensor, "2 n_bonds"], Float[Tensor, " n_bonds"]]:
    """The bonds on which electrons hop, and the hopping on each of them.

    Args:
        lattice: The lattice.
        t: Hopping between nearest neighbors, or one for each bond label on which electrons hop.

    Returns:
        Destinations and sources of the bonds, both directions; and the hoppings in float64.

    Raises:
        InputError: If the lattice does not have a bond label.
    """
    if not isinstance(t, Mapping):
        pairs = neighbor_pairs(lattice)
        return pairs, torch.full((pairs.shape[1],), t, dtype=torch.float64)
    pairs, hoppings = [], []
    for label, hopping in t.items():
        with errors_about(f"the bonds {label!r} of the Hamiltonian"):
            bonds = lattice.bonds(label=label)
        pairs.append(torch.stack([torch.tensor(bonds.destination), torch.tensor(bonds.source)]))
        hoppings.append(torch.full((len(bonds),), hopping, dtype=torch.float64))
    return torch.cat(pairs, dim=1), torch.cat(hoppings)


def labeled_hopping(lattice: Lattice, t: float | Mapping[str, float]) -> float | dict[str, float]:
    """A hopping as it is, or hoppings by label after a check of their labels.

    Args:
        lattice: The lattice.
        t: One number, or one for each bond label of the lattice.

    Raises:
        InputError: If a bond label of the lattice has no hopping, or a hopping no bond label.
    """
    return values_by_label("t", t, tuple(lattice.bond_labels)) if isinstance(t, Mapping) else t


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
