"""The Peierls (Su–Schrieffer–Heeger) model: electrons whose hopping depends on the bond lengths."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.errors import errors_about
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.neighbors import harmonic_forces, neighbor_table
from lattgnn.lattice import Lattice
from lattgnn.symmetry import FieldType


class _Hopping(NamedTuple):
    """Bonds in both directions: nearest neighbors with their unit vectors, and second neighbors."""

    near: DeviceCopies  # int64 [2, n_near]
    far: DeviceCopies  # int64 [2, n_far]
    direction: DeviceCopies  # float64 [n_near, dim]


@dataclass(frozen=True)
class Peierls(Hamiltonian):
    r"""Spinless electrons and one displacement vector u_i per site.

        H    = −Σ_⟨ij⟩ (t0 − g e_ij·(u_i − u_j)) (c†_i c_j + h.c.) − t2 Σ_⟨⟨ij⟩⟩ (c†_i c_j + h.c.)
        E_cl = ½ k0 Σ_i |u_i|² + kappa Σ_⟨ij⟩ u_i·u_j
        F_i  = −2g Σ_{j nn i} e_ij Re ρ_ij − k0 u_i − kappa Σ_{j nn i} u_j

    e_ij is the unit vector from j to i. The hopping depends only on the stretch along the bond. The
    ground state of the paper, at half filling and T → 0 with μ in the middle of the gap, is that of
    `ExactDiagonalization(kT=0.0, filling=0.5)`.

    Args:
        lattice: Any lattice. The displacements have as many components as it has dimensions; ⟨ij⟩
            are its nearest neighbors and ⟨⟨ij⟩⟩ its second neighbors.
        t0: Hopping between nearest neighbors at zero displacement.
        t2: Hopping between second neighbors, which does not depend on the displacements.
        g: Coupling, energy per displacement.
        k0: On-site stiffness, energy per displacement squared.
        kappa: Stiffness between nearest neighbors, energy per displacement squared; each bond
            counts once.

    Reference:
        arXiv:2510.20659. The default values are those of its square lattice.
    """

    t0: float = 2.5
    t2: float = 0.5
    g: float = 4.0
    k0: float = 30.0
    kappa: float = 4.0

    classical_parameters = ("k0", "kappa")

    @property
    def field_type(self) -> FieldType:
        """A Cartesian vector. Its force has no bound that holds for all fields."""
        return FieldType("vector", n_components=self.lattice.dim)

    @cached_property
    def _hopping(self) -> _Hopping:
        near = self.lattice.neighbor_distance
        with errors_about("the bonds of the Hamiltonian"):
            bonds = self.lattice.bonds(_second_distance(self.lattice) if self.t2 else near)
        length = np.linalg.norm(bonds.displacement, axis=1)
        pairs = np.stack([bonds.destination, bonds.source])
        is_near = length < near * (1 + 1e-6)
        direction = bonds.displacement[is_near] / length[is_near, None]
        return _Hopping(
            near=DeviceCopies(torch.tensor(pairs[:, is_near])),
            far=DeviceCopies(torch.tensor(pairs[:, ~is_near])),
            direction=DeviceCopies(torch.tensor(direction)),
        )

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """Nearest neighbors, second neighbors, then the diagonal, which is zero."""
        diagonal = torch.arange(self.n_states)
        return torch.cat(
            [
                self._hopping.near.tensor,
                self._hopping.far.tensor,
                torch.stack([diagonal, diagonal]),
            ],
            dim=1,
        )

    def elements(self, field: Float[Tensor, "*batch n_sites dim"]) -> Float[Tensor, "*batch nnz"]:
        """−t0 + g × stretch for nearest neighbors, −t2 for second neighbors, 0 on the diagonal."""
        near, far = self._hopping.near.on(field.device), self._hopping.far.tensor
        direction = self._hopping.direction.like(field)
        stretch = ((field[..., near[0], :] - field[..., near[1], :]) * direction).sum(-1)
        second = field.new_full((*field.shape[:-2], far.shape[1]), -self.t2)
        return torch.cat(
            [self.g * stretch - self.t0, second, torch.zeros_like(field[..., 0])], dim=-1
        )

    @property
    def stiffness(self) -> tuple[float, float]:
        """(k0, kappa)."""
        return self.k0, self.kappa

    def classical_forces(
        self, field: Float[Tensor, "*batch n_sites dim"]
    ) -> Float[Tensor, "*batch n_sites dim"]:
        """−k0 u_i − kappa Σ_{j nn i} u_j."""
        return harmonic_forces(field.mT, self._neighbors, self.k0, self.kappa).mT

    def classical_energy(
        self, field: Float[Tensor, "*batch n_sites dim"]
    ) -> Float[Tensor, "*batch"]:
        """½ k0 Σ_i |u_i|² + kappa Σ_⟨ij⟩ u_i·u_j. It is quadratic, and therefore −½ u·F."""
        return -0.5 * (field * self.classical_forces(field)).sum((-1, -2))

    @cached_property
    def _neighbors(self) -> DeviceCopies:
        return DeviceCopies(neighbor_table(self.lattice))


def _second_distance(lattice: Lattice) -> float:
    """The second shortest distance between two sites."""
    beyond_first = lattice.neighbor_distance * (1 + 1e-6)
    distances = []
    for sublattice in range(lattice.n_sublattices):
        distances += [r for r, _ in lattice.shells(2, sublattice) if r > beyond_first]
    return min(distances)
