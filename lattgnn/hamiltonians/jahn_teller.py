"""The E×e Jahn–Teller model: electrons in two orbitals, which a doublet of distortions splits."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.errors import InputError
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.hopping import Hopping, HoppingBonds, hopping_bonds, normal_hopping
from lattgnn.hamiltonians.neighbors import orbital_pattern
from lattgnn.lattice import square
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class JahnTeller(Hamiltonian):
    r"""Spinless electrons in two orbitals, and two distortions (Q2, Q3) per site.

        H    = −t Σ_⟨ij⟩ (c†_i T_ij c_j + h.c.) − lam Σ_i (Q2_i c†_i τx c_i + Q3_i c†_i τz c_i)
        T_x  = [[1/4, −√3/4], [−√3/4, 3/4]] along x,    T_y = [[1/4, √3/4], [√3/4, 3/4]] along y
        T    = v vᵀ,  v = (1/2, −√3/2 cos 2φ)  along any direction φ in the plane
        E_cl = ½ K Σ_i (Q2_i² + Q3_i²)
        F_i  = lam (⟨τx⟩_i, ⟨τz⟩_i) − K (Q2_i, Q3_i)

    The orbitals are a = 3z²−r² and b = x²−y². A rotation by 90° and a reflection at a diagonal
    change the sign of b, and therefore that of Q2. The field (Q2, Q3) transforms as B1 + A1.

    Args:
        lattice: A square lattice, because the orbitals belong to its point group.
        t: Hopping between orbitals that point at each other (σ bonds), the unit of energy; or one
            hopping for each shell of neighbors or for some orbits of bonds, see `Holstein`.
        lam: Coupling, energy per distortion.
        K: Stiffness, energy per distortion squared.

    Raises:
        InputError: If the lattice is not square.

    Reference:
        Kugel and Khomskii, Sov. Phys. Usp. 25, 231 (1982): hopping of e_g orbitals. Other
        directions: J. C. Slater and G. F. Koster, Phys. Rev. 94, 1498 (1954), with V_ddσ alone.
    """

    # A mapping cannot be hashed; it takes part in comparisons.
    t: Hopping = field(default=1.0, hash=False)
    lam: float = 1.8
    K: float = 1.0

    n_orbitals = 2
    classical_parameters = ("K",)

    def __post_init__(self) -> None:
        if self.lattice.cell != square(1).cell:
            raise InputError(
                f"JahnTeller needs a square lattice, got {self.lattice.name!r}. Use square(8)."
            )
        object.__setattr__(self, "t", normal_hopping(self.lattice, self.t))

    @property
    def field_type(self) -> FieldType:
        """The doublet (Q2, Q3). With two states per site, |lam (⟨τx⟩, ⟨τz⟩)| ≤ lam."""
        return FieldType("B1 + A1", n_components=2, force_bound=abs(self.lam))

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """The 2×2 matrix of each bond, then that of each site."""
        sites = torch.arange(self.lattice.n_sites).expand(2, -1)
        bonds = self._bonds.pairs
        return torch.cat([orbital_pattern(bonds, 2), orbital_pattern(sites, 2)], dim=1)

    @cached_property
    def _bonds(self) -> HoppingBonds:
        return hopping_bonds(self.lattice, self.t)

    @cached_property
    def _bond_elements(self) -> DeviceCopies:
        square_steps = torch.tensor(self._bonds.displacement).square()
        # cos 2φ = (x² − y²) / (x² + y²): 1 along x, −1 along y, 0 along diagonals.
        cosine = (square_steps[:, 0] - square_steps[:, 1]) / square_steps.sum(1)
        mixed = -(3**0.5) / 4 * cosine
        orbitals = [torch.full_like(mixed, 0.25), mixed, mixed, 0.75 * cosine.square()]
        hopping = -self._bonds.values[:, None] * torch.stack(orbitals, dim=-1)
        return DeviceCopies(hopping.flatten())

    def elements(self, field: Float[Tensor, "*batch n_sites 2"]) -> Float[Tensor, "*batch nnz"]:
        """−t T_ij on the bonds, −lam (Q2 τx + Q3 τz) on the sites."""
        q2, q3 = field.unbind(-1)
        onsite = -self.lam * torch.stack([q3, q2, q2, -q3], dim=-1).flatten(-2)
        hopping = self._bond_elements.like(field).expand(*field.shape[:-2], -1)
        return torch.cat([hopping, onsite], dim=-1)

    def classical_forces(
        self, field: Float[Tensor, "*batch n_sites 2"]
    ) -> Float[Tensor, "*batch n_sites 2"]:
        """−K (Q2, Q3)."""
        return -self.K * field

    def classical_energy(self, field: Float[Tensor, "*batch n_sites 2"]) -> Float[Tensor, "*batch"]:
        """½ K Σ (Q2² + Q3²)."""
        return 0.5 * self.K * field.square().sum((-1, -2))
