"""The 1/5-depleted square lattice, and the Holstein model with next-nearest hopping."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.symmetry import FieldType


def depleted_square(extent: Sequence[int], periodic: bool = True) -> Lattice:
    """The square lattice with every fifth site removed, as in CaV4O9: 4 sites per cell."""
    vectors = [[2.0, 1.0], [-1.0, 2.0]]
    basis = [["2/5", "4/5"], ["1/5", "2/5"], ["3/5", "1/5"], ["4/5", "3/5"]]
    return Lattice(vectors, basis, extent, periodic, name="depleted square")


@dataclass(frozen=True)
class NextNearestHolstein(Hamiltonian):
    r"""Spinless electrons with two hoppings and an on-site coupling to displacements Q_i.

        H    = −t Σ_⟨ij⟩ (c†_i c_j + h.c.) − t2 Σ_⟨⟨ij⟩⟩ (c†_i c_j + h.c.) − g Σ_i (n_i − ½) Q_i
        E_cl = ½ k Σ_i Q_i²

    ⟨ij⟩ are pairs at distance 1, ⟨⟨ij⟩⟩ pairs at distance √2.
    """

    t: float = 1.0
    t2: float = 0.2
    g: float = 2.0
    k: float = 1.0

    @property
    def field_type(self) -> FieldType:
        """One scalar per site, coupled to the density. |g (n − ½)| ≤ g/2, because 0 ≤ n ≤ 1."""
        return FieldType(force_bound=abs(self.g) / 2, density_coupling=self.g)

    @cached_property
    def _bonds(self):
        return self.lattice.bonds(cutoff=1.5)  # lengths 1 and √2, both directions of each bond

    @cached_property
    def _hopping(self) -> Tensor:
        lengths = np.linalg.norm(self._bonds.displacement, axis=1)
        return torch.from_numpy(np.where(lengths < 1.2, -self.t, -self.t2))

    @cached_property
    def pattern(self) -> Tensor:
        """Rows and columns of the matrix elements [2, nnz]: the bonds, then the diagonal."""
        ends = torch.from_numpy(np.stack([self._bonds.destination, self._bonds.source]))
        sites = torch.arange(self.lattice.n_sites)
        return torch.cat([ends, torch.stack([sites, sites])], dim=1)

    def elements(self, field: Tensor) -> Tensor:
        """The matrix elements in the order of the pattern: −t or −t2, then −g Q_i."""
        hopping = self._hopping.to(field).expand(*field.shape[:-1], -1)
        return torch.cat([hopping, -self.g * field], dim=-1)

    def background_energy(self, field: Tensor) -> Tensor:
        """½ g Σ_i Q_i, which comes from the ½ in n_i − ½."""
        return 0.5 * self.g * field.sum(-1)

    def classical_energy(self, field: Tensor) -> Tensor:
        """½ k Σ_i Q_i²."""
        return 0.5 * self.k * field.square().sum(-1)
