"""The Holstein model: electrons coupled to one displacement per site."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.neighbors import harmonic_forces, neighbor_pairs, neighbor_table
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class Holstein(Hamiltonian):
    r"""Spinless electrons with an on-site coupling to displacements Q_i.

        H    = −t Σ_⟨ij⟩ (c†_i c_j + h.c.) − g Σ_i (n_i − ½) Q_i
        E_cl = ½ k0 Σ_i Q_i² + k1 Σ_⟨ij⟩ Q_i Q_j
        F_i  = g (⟨n_i⟩ − ½) − k0 Q_i − k1 Σ_{j nn i} Q_j

    ⟨ij⟩ are nearest neighbors. On a bipartite lattice at μ = 0 the map Q → −Q changes F to −F
    (particle–hole symmetry). At fixed particle number the electronic force is F_canonical(Q) =
    F_{μ=0}(Q + μ/g).

    Args:
        lattice: Any lattice. Electrons hop between sites at its shortest distance.
        t: Hopping, the unit of energy.
        g: Coupling, energy per displacement.
        k0: On-site stiffness, energy per displacement squared.
        k1: Stiffness between nearest neighbors, energy per displacement squared; each bond counts
            once.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2601.04104 (2026). The default values and F = −∂E/∂Q are
        theirs.
    """

    t: float = 1.0
    g: float = 3.5
    k0: float = 1.0
    k1: float = 0.18

    @property
    def field_type(self) -> FieldType:
        """A scalar that couples to the density. Since 0 ≤ n ≤ 1, |g (n − ½)| ≤ g/2."""
        return FieldType(force_bound=abs(self.g) / 2, density_coupling=self.g)

    @cached_property
    def _bonds(self) -> Int[Tensor, "2 n_bonds"]:
        return neighbor_pairs(self.lattice)

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """Bonds first, then the diagonal."""
        diagonal = torch.arange(self.n_states)
        return torch.cat([self._bonds, torch.stack([diagonal, diagonal])], dim=1)

    def elements(self, field: Float[Tensor, "*batch n_sites"]) -> Float[Tensor, "*batch nnz"]:
        """−t on the bonds, −g Q_i on the diagonal."""
        hopping = field.new_full((*field.shape[:-1], self._bonds.shape[1]), -self.t)
        return torch.cat([hopping, -self.g * field], dim=-1)

    def background_energy(self, field: Float[Tensor, "*batch n_sites"]) -> Float[Tensor, "*batch"]:
        """½ g Σ_i Q_i, which comes from the ½ in n_i − ½."""
        return 0.5 * self.g * field.sum(-1)

    @property
    def stiffness(self) -> tuple[float, float]:
        """(k0, k1)."""
        return self.k0, self.k1

    def classical_forces(
        self, field: Float[Tensor, "*batch n_sites"]
    ) -> Float[Tensor, "*batch n_sites"]:
        """−k0 Q_i − k1 Σ_{j nn i} Q_j."""
        return harmonic_forces(field, self._neighbors, self.k0, self.k1)

    def classical_energy(self, field: Float[Tensor, "*batch n_sites"]) -> Float[Tensor, "*batch"]:
        """½ k0 Σ_i Q_i² + k1 Σ_⟨ij⟩ Q_i Q_j. It is quadratic, and therefore −½ Q·F."""
        return -0.5 * (field * self.classical_forces(field)).sum(-1)

    @cached_property
    def _neighbors(self) -> DeviceCopies:
        return DeviceCopies(neighbor_table(self.lattice))
