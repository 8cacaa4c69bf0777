"""The double-exchange model (ferromagnetic Kondo lattice): electrons coupled to classical spins."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.hopping import Hopping, HoppingBonds, hopping_bonds, normal_hopping
from lattgnn.hamiltonians.neighbors import orbital_pattern
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class DoubleExchange(Hamiltonian):
    r"""Electrons with spin, and one classical spin S_i per site, |S_i| = 1.

        H   = −t Σ_⟨ij⟩σ (c†_iσ c_jσ + h.c.) − J Σ_i S_i·c†_i σ c_i
        B_i = −∂E/∂S_i = J ⟨c†_i σ c_i⟩

    The forces of this model are the effective fields B. There is no spin–orbit coupling: a global
    rotation of all spins is a symmetry, and the operations of the space group permute the spins
    without rotating them.

    Args:
        lattice: Any lattice.
        t: Hopping between sites at the shortest distance, the unit of energy; or one hopping for
            each shell of neighbors, for some orbits of bonds, or for each bond label of the
            lattice, see `Holstein`.
        J: Exchange coupling of electrons and spins, in units of t. A change of its sign is
            equivalent to a reversal of all spins.

    Reference:
        P. W. Anderson and H. Hasegawa, Phys. Rev. 100, 675 (1955).
    """

    # A mapping cannot be hashed; it takes part in comparisons.
    t: Hopping = field(default=1.0, hash=False)
    J: float = 3.5

    n_orbitals = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "t", normal_hopping(self.lattice, self.t))

    @property
    def field_type(self) -> FieldType:
        """A classical spin. With two states per site, |J ⟨σ⟩| ≤ J."""
        return FieldType("3 trivial", n_components=3, is_spin=True, force_bound=abs(self.J))

    @cached_property
    def _bonds(self) -> HoppingBonds:
        return hopping_bonds(self.lattice, self.t)

    @cached_property
    def _hoppings(self) -> DeviceCopies:
        return DeviceCopies(-self._bonds.values.repeat(2))

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """Bonds for spin up, bonds for spin down, then the 2×2 matrix of each site."""
        sites = torch.arange(self.lattice.n_sites).expand(2, -1)
        up = 2 * self._bonds.pairs
        return torch.cat([up, up + 1, orbital_pattern(sites, 2)], dim=1)

    def elements(self, field: Float[Tensor, "*batch n_sites 3"]) -> Complex[Tensor, "*batch nnz"]:
        """−t on the bonds, −J S·σ on the sites."""
        x, y, z = field.unbind(-1)
        zero = torch.zeros_like(z)
        # S·σ = [[z, x − iy], [x + iy, −z]], row by row.
        up_up, up_down = torch.complex(z, zero), torch.complex(x, -y)
        down_up, down_down = torch.complex(x, y), torch.complex(-z, zero)
        products = torch.stack([up_up, up_down, down_up, down_down], dim=-1)
        onsite = -self.J * products.flatten(-2)
        hopping = self._hoppings.like(onsite).expand(*field.shape[:-2], -1)
        return torch.cat([hopping, onsite], dim=-1)

    def classical_forces(
        self, field: Float[Tensor, "*batch n_sites 3"]
    ) -> Float[Tensor, "*batch n_sites 3"]:
        """Zero, because there is no classical energy."""
        return torch.zeros_like(field)

    def classical_energy(self, field: Float[Tensor, "*batch n_sites 3"]) -> Float[Tensor, "*batch"]:
        """Zero, because all energy is electronic."""
        return field.new_zeros(field.shape[:-2])
