"""Double exchange (the ferromagnetic Kondo lattice): electrons with spin among classical spins."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.neighbors import block_pattern, neighbor_pairs
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class DoubleExchange(Hamiltonian):
    r"""Electrons with spin and one classical spin S_i a site, |S_i| = 1.

        H   = −t Σ_⟨ij⟩σ (c†_iσ c_jσ + h.c.) − J Σ_i S_i·c†_i σ c_i
        B_i = −∂E/∂S_i = J ⟨c†_i σ c_i⟩

    The forces of this model are the effective fields B. There is no spin–orbit coupling: a global rotation of
    all spins is a symmetry, and an operation of the space group permutes the spins without turning them.

    Args:
        lattice: any lattice; the hopping joins sites at its shortest distance.
        t: hopping, the unit of energy.
        J: exchange of the electrons with the spins; its sign only names the spin directions.

    Reference:
        P. W. Anderson and H. Hasegawa, Phys. Rev. 100, 675 (1955).
    """

    t: float = 1.0
    J: float = 3.5

    n_orbitals = 2

    def __post_init__(self) -> None:
        self._check_finite("t", "J")

    @property
    def field_type(self) -> FieldType:
        """A spin; |J ⟨σ⟩| ≤ J, for two states per site."""
        return FieldType("3 trivial", n_components=3, is_spin=True, force_bound=abs(self.J))

    @cached_property
    def _bonds(self) -> Int[Tensor, "2 n_bonds"]:
        return neighbor_pairs(self.lattice)

    @cached_property
    def _pattern(self) -> Int[Tensor, "2 nnz"]:
        """Bonds of spin up, bonds of spin down, then the block of each site."""
        sites = torch.arange(self.lattice.n_sites).expand(2, -1)
        return torch.cat([2 * self._bonds, 2 * self._bonds + 1, block_pattern(sites, 2)], dim=1)

    @property
    def rows(self) -> Int[Tensor, " nnz"]:
        """Row of each element: bonds of spin up, of spin down, blocks of sites."""
        return self._pattern[0]

    @property
    def cols(self) -> Int[Tensor, " nnz"]:
        """Column of each element: bonds of spin up, of spin down, blocks of sites."""
        return self._pattern[1]

    def elements(self, field: Float[Tensor, "*batch n_sites 3"]) -> Complex[Tensor, "*batch nnz"]:
        """−t on the bonds, −J S·σ on the sites."""
        x, y, z = field.unbind(-1)
        zero = torch.zeros_like(z)
        blocks = [
            torch.complex(z, zero),
            torch.complex(x, -y),
            torch.complex(x, y),
            torch.complex(-z, zero),
        ]
        onsite = -self.J * torch.stack(blocks, dim=-1).flatten(-2)
        hopping = onsite.new_full((*field.shape[:-2], 2 * self._bonds.shape[1]), -self.t)
        return torch.cat([hopping, onsite], dim=-1)

    def classical_forces(
        self, field: Float[Tensor, "*batch n_sites 3"]
    ) -> Float[Tensor, "*batch n_sites 3"]:
        """None: all energy is the electrons'."""
        return torch.zeros_like(field)

    def classical_energy(self, field: Float[Tensor, "*batch n_sites 3"]) -> Float[Tensor, "*batch"]:
        """0: all energy is the electrons'."""
        return field.new_zeros(field.shape[:-2])
