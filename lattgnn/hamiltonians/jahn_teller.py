"""The E×e Jahn–Teller model: a doublet of distortions splits two orbitals."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.neighbors import block_pattern, neighbor_pairs
from lattgnn.lattice import square
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class JahnTeller(Hamiltonian):
    r"""Spinless electrons in two orbitals a = 3z²−r², b = x²−y², and distortions (Q2, Q3) of every site.

        H    = −t Σ_⟨ij⟩ (c†_i T_ij c_j + h.c.) − lam Σ_i (Q2_i c†_i τx c_i + Q3_i c†_i τz c_i)
        T_x  = [[1/4, −√3/4], [−√3/4, 3/4]] along x,    T_y = [[1/4, √3/4], [√3/4, 3/4]] along y
        E_cl = ½ K Σ_i (Q2_i² + Q3_i²)
        F_i  = lam (⟨τx⟩_i, ⟨τz⟩_i) − K (Q2_i, Q3_i)

    A quarter turn or a diagonal mirror changes the sign of b, and with it that of Q2: (Q2, Q3) is B1 + A1.

    Args:
        lattice: the square lattice, whose point group the orbitals belong to.
        t: hopping between the orbitals that point at each other.
        lam: coupling, energy per distortion.
        K: stiffness, energy per distortion squared.

    Raises:
        ValueError: another lattice.

    Reference:
        Kugel and Khomskii, Sov. Phys. Usp. 25, 231 (1982): hopping of e_g orbitals.
    """

    t: float = 1.0
    lam: float = 1.8
    K: float = 1.0

    n_orbitals = 2

    def __post_init__(self) -> None:
        self._check_finite("t", "lam", "K")
        if self.lattice.cell != square(1).cell:
            raise InputError(
                f"lattice must be square for these two orbitals, got {self.lattice.name!r}. Use square(8)."
            )

    @property
    def field_type(self) -> FieldType:
        """The doublet (Q2, Q3); |lam (⟨τx⟩, ⟨τz⟩)| ≤ lam, for two states per site."""
        return FieldType("B1 + A1", n_components=2, force_bound=abs(self.lam))

    @cached_property
    def _pattern(self) -> Int[Tensor, "2 nnz"]:
        """The block of each bond, then that of each site."""
        sites = torch.arange(self.lattice.n_sites)
        return torch.cat(
            [
                block_pattern(pairs, 2)
                for pairs in (neighbor_pairs(self.lattice), sites.expand(2, -1))
            ],
            dim=1,
        )

    @property
    def rows(self) -> Int[Tensor, " nnz"]:
        """Row of each element: blocks of bonds, then of sites."""
        return self._pattern[0]

    @property
    def cols(self) -> Int[Tensor, " nnz"]:
        """Column of each element: blocks of bonds, then of sites."""
        return self._pattern[1]

    @cached_property
    def _bond_elements(self) -> Float[Tensor, " n_elements"]:
        step = torch.tensor(self.lattice.bonds(self.lattice.neighbor_distance).displacement).abs()
        mixed = (
            3**0.5 / 4 * (step[:, 1] - step[:, 0])
        )  # −√3/4 along x, +√3/4 along y: a step has length 1
        blocks = [torch.full_like(mixed, 0.25), mixed, mixed, torch.full_like(mixed, 0.75)]
        return -self.t * torch.stack(blocks, dim=-1).flatten()

    def elements(self, field: Float[Tensor, "*batch n_sites 2"]) -> Float[Tensor, "*batch nnz"]:
        """−t T_ij on the bonds, −lam (Q2 τx + Q3 τz) on the sites."""
        q2, q3 = field.unbind(-1)
        onsite = -self.lam * torch.stack([q3, q2, q2, -q3], dim=-1).flatten(-2)
        hopping = self._bond_elements.to(field).expand(*field.shape[:-2], -1)
        return torch.cat([hopping, onsite], dim=-1)

    def classical_forces(
        self, field: Float[Tensor, "*batch n_sites 2"]
    ) -> Float[Tensor, "*batch n_sites 2"]:
        """−K (Q2, Q3)."""
        return -self.K * field

    def classical_energy(self, field: Float[Tensor, "*batch n_sites 2"]) -> Float[Tensor, "*batch"]:
        """½ K Σ (Q2² + Q3²)."""
        return 0.5 * self.K * field.square().sum((-1, -2))
