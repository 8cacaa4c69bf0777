"""The Peierls (Su–Schrieffer–Heeger) model: electrons whose hopping follows the lengths of the bonds."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.neighbors import harmonic_forces, neighbor_table
from lattgnn.symmetry import FieldType


class _Hopping(NamedTuple):
    """Both directions of the bonds: nearest neighbours with their directions, then second neighbours."""

    near: Int[Tensor, "2 n_near"]
    far: Int[Tensor, "2 n_far"]
    direction: Float[Tensor, "n_near dim"]


@dataclass(frozen=True)
class Peierls(Hamiltonian):
    r"""Spinless electrons and a displacement vector u_i a site; e_ij is the unit vector from j to i.

        H    = −Σ_⟨ij⟩ (t0 − g e_ij·(u_i − u_j)) (c†_i c_j + h.c.) − t2 Σ_⟨⟨ij⟩⟩ (c†_i c_j + h.c.)
        E_cl = ½ k0 Σ_i |u_i|² + kappa Σ_⟨ij⟩ u_i·u_j
        F_i  = −2g Σ_{j nn i} e_ij Re ρ_ij − k0 u_i − kappa Σ_{j nn i} u_j

    Only the stretch along the bond counts. The papers' ground state is that of half filling, T → 0, with μ in
    the middle of the gap: `ExactDiagonalization(kT=0.0, filling=0.5)`.

    Args:
        lattice: any lattice. u has as many components as it has dimensions; ⟨ij⟩ are the bonds of its
            shortest distance, ⟨⟨ij⟩⟩ those of the next one.
        t0: hopping along a bond of its own length.
        t2: hopping between second neighbours, which u leaves alone.
        g: coupling, energy per displacement.
        k0: on-site stiffness, energy per displacement squared.
        kappa: stiffness between nearest neighbours, each bond counted once.

    Reference:
        arXiv:2510.20659; the defaults are its values on the square lattice.
    """

    t0: float = 2.5
    t2: float = 0.5
    g: float = 4.0
    k0: float = 30.0
    kappa: float = 4.0

    def __post_init__(self) -> None:
        self._check_finite("t0", "t2", "g", "k0", "kappa")

    @property
    def field_type(self) -> FieldType:
        """Cartesian displacements, without a bound on the force."""
        return FieldType("vector", n_components=self.lattice.dim)

    @cached_property
    def _hopping(self) -> _Hopping:
        near = self.lattice.neighbor_distance
        bonds = self.lattice.bonds(_second_distance(self.lattice) if self.t2 else near)
        length = np.linalg.norm(bonds.displacement, axis=1)
        pairs, is_near = np.stack([bonds.destination, bonds.source]), length < near * (1 + 1e-6)
        direction = bonds.displacement[is_near] / length[is_near, None]
        return _Hopping(*map(torch.tensor, (pairs[:, is_near], pairs[:, ~is_near], direction)))

    @cached_property
    def _pattern(self) -> Int[Tensor, "2 nnz"]:
        """Bonds, then the diagonal: it is zero, but solvers read the occupations there."""
        diagonal = torch.arange(self.n_states)
        return torch.cat(
            [self._hopping.near, self._hopping.far, torch.stack([diagonal, diagonal])], dim=1
        )

    @property
    def rows(self) -> Int[Tensor, " nnz"]:
        """Row of each element: nearest neighbours, second neighbours, the diagonal."""
        return self._pattern[0]

    @property
    def cols(self) -> Int[Tensor, " nnz"]:
        """Column of each element: nearest neighbours, second neighbours, the diagonal."""
        return self._pattern[1]

    def elements(self, field: Float[Tensor, "*batch n_sites dim"]) -> Float[Tensor, "*batch nnz"]:
        """−t0 + g × stretch between nearest neighbours, −t2 between second ones, 0 on the diagonal."""
        near, far, direction = (part.to(field.device) for part in self._hopping)
        stretch = ((field[..., near[0], :] - field[..., near[1], :]) * direction.to(field)).sum(-1)
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
        """½ k0 Σ |u|² + kappa Σ_⟨ij⟩ u_i·u_j, which is −½ u·F because it is quadratic."""
        return -0.5 * (field * self.classical_forces(field)).sum((-1, -2))

    @cached_property
    def _neighbors(self) -> Int[Tensor, "coordination n_sites"]:
        return neighbor_table(self.lattice)


def _second_distance(lattice) -> float:
    """The second shortest distance of two sites."""
    distances = [r for s in range(lattice.n_sublattices) for r, _ in lattice.shells(2, s)]
    return min(r for r in distances if r > lattice.neighbor_distance * (1 + 1e-6))
