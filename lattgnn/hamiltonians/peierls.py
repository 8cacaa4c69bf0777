"""The Peierls (Su–Schrieffer–Heeger) model: electrons whose hopping depends on the bond lengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.errors import InputError
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.hopping import Hopping, HoppingBonds, hopping_bonds, normal_hopping
from lattgnn.hamiltonians.neighbors import harmonic_forces, neighbor_table
from lattgnn.symmetry import FieldType


class _Hopping(NamedTuple):
    """Bonds in both directions: nearest neighbors with their unit vectors, and farther ones."""

    near: DeviceCopies  # int64 [2, n_near]
    far: DeviceCopies  # int64 [2, n_far]
    direction: DeviceCopies  # float64 [n_near, dim]
    far_values: DeviceCopies  # float64 [n_far]


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
        t2: Hopping between second neighbors, which does not depend on the displacements; or a list
            with the hoppings of second, third and farther neighbors; or hoppings for some orbits of
            longer bonds than those of nearest neighbors, {"orbit 2": 0.1}, see `Holstein`.
        g: Coupling, energy per displacement.
        k0: On-site stiffness, energy per displacement squared.
        kappa: Stiffness between nearest neighbors, energy per displacement squared; each bond
            counts once.

    Reference:
        arXiv:2510.20659. The default values are those of its square lattice.
    """

    t0: float = 2.5
    # A mapping cannot be hashed; it takes part in comparisons.
    t2: Hopping = field(default=0.5, hash=False)
    g: float = 4.0
    k0: float = 30.0
    kappa: float = 4.0

    classical_parameters = ("k0", "kappa")

    @property
    def field_type(self) -> FieldType:
        """A Cartesian vector. Its force has no bound that holds for all fields."""
        return FieldType("vector", n_components=self.lattice.dim)

    def __post_init__(self) -> None:
        object.__setattr__(self, "t2", normal_hopping(self.lattice, self.t2, "t2"))

    @cached_property
    def _hopping(self) -> _Hopping:
        near = hopping_bonds(self.lattice, self.t0)
        length = np.linalg.norm(near.displacement, axis=1)
        far = self._far_bonds
        return _Hopping(
            near=DeviceCopies(near.pairs),
            far=DeviceCopies(far.pairs),
            direction=DeviceCopies(torch.tensor(near.displacement / length[:, None])),
            far_values=DeviceCopies(far.values),
        )

    @property
    def _far_bonds(self) -> HoppingBonds:
        """Bonds beyond nearest neighbors."""
        if isinstance(self.t2, Sequence):
            return hopping_bonds(self.lattice, (0.0, *self.t2), "t2")
        if not isinstance(self.t2, Mapping):
            return hopping_bonds(self.lattice, (0.0, self.t2), "t2")
        found = hopping_bonds(self.lattice, self.t2, "t2")
        lengths = np.linalg.norm(found.displacement, axis=1)
        if min(lengths, default=np.inf) < self.lattice.neighbor_distance * (1 + 1e-6):
            raise InputError(
                f"t2 must not join nearest neighbors, whose hopping is t0, got {self.t2!r}."
                " Use orbits of longer bonds."
            )
        return found

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """Nearest neighbors, farther neighbors, then the diagonal, which is zero."""
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
        """−t0 + g × stretch for nearest neighbors, −t2 for farther ones, 0 on the diagonal."""
        near = self._hopping.near.on(field.device)
        direction = self._hopping.direction.like(field)
        stretch = ((field[..., near[0], :] - field[..., near[1], :]) * direction).sum(-1)
        farther = -self._hopping.far_values.like(field).expand(*field.shape[:-2], -1)
        return torch.cat(
            [self.g * stretch - self.t0, farther, torch.zeros_like(field[..., 0])], dim=-1
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
