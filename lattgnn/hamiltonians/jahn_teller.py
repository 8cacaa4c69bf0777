"""The E×e Jahn–Teller model: electrons in two orbitals, which a doublet of distortions splits."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.errors import InputError
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.neighbors import neighbor_pairs, orbital_pattern
from lattgnn.lattice import square
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class JahnTeller(Hamiltonian):
    r"""Spinless electrons in two orbitals, and two distortions (Q2, Q3) per site.

        H    = −t Σ_⟨ij⟩ (c†_i T_ij c_j + h.c.) − lam Σ_i (Q2_i c†_i τx c_i + Q3_i c†_i τz c_i)
        T_x  = [[1/4, −√3/4], [−√3/4, 3/4]] along x,    T_y = [[1/4, √3/4], [√3/4, 3/4]] along y
        E_cl = ½ K Σ_i (Q2_i² + Q3_i²)
        F_i  = lam (⟨τx⟩_i, ⟨τz⟩_i) − K (Q2_i, Q3_i)

    The orbitals are a = 3z²−r² and b = x²−y². A rotation by 90° and a reflection at a diagonal
    change the sign of b, and therefore that of Q2. The field (Q2, Q3) transforms as B1 + A1.

    Args:
        lattice: A square lattice, because the orbitals belong to its point group.
        t: Hopping between orbitals that point at each other, the unit of energy.
        lam: Coupling, energy per distortion.
        K: Stiffness, energy per distortion squared.

    Raises:
        InputError: If the lattice is not square.

    Reference:
        Kugel and Khomskii, Sov. Phys. Usp. 25, 231 (1982): hopping of e_g orbitals.
    """

    t: float = 1.0
    lam: float = 1.8
    K: float = 1.0

    n_orbitals = 2
    classical_parameters = ("K",)

    def __post_init__(self) -> None:
        if self.lattice.cell != square(1).cell:
            raise InputError(
                f"JahnTeller needs a square lattice, got {self.lattice.name!r}. Use square(8)."
            )

    @property
    def field_type(self) -> FieldType:
        """The doublet (Q2, Q3). With two states per site, |lam (⟨τx⟩, ⟨τz⟩)| ≤ lam."""
        return FieldType("B1 + A1", n_components=2, force_bound=abs(self.lam))

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """The 2×2 matrix of each bond, then that of each site."""
        sites = torch.arange(self.lattice.n_sites).expand(2, -1)
        bonds = neighbor_pairs(self.lattice)
        return torch.cat([orbital_pattern(bonds, 2), orbital_pattern(sites, 2)], dim=1)

    @cached_property
    def _bond_elements(self) -> DeviceCopies:
        step = torch.tensor(self.lattice.bonds(self.lattice.neighbor_distance).displacement).abs()
        # Steps are (1, 0) or (0, 1), so this is −√3/4 along x and +√3/4 along y.
        mixed = 3**0.5 / 4 * (step[:, 1] - step[:, 0])
        orbitals = [torch.full_like(mixed, 0.25), mixed, mixed, torch.full_like(mixed, 0.75)]
        return DeviceCopies(-self.t * torch.stack(orbitals, dim=-1).flatten())

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
