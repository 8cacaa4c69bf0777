"""The double-exchange model (ferromagnetic Kondo lattice): electrons coupled to classical spins."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Complex, Float, Int, Shaped
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.hopping import Hopping, HoppingBonds, hopping_bonds, normal_hopping
from lattgnn.hamiltonians.magnetic_flux import flux_phases, normal_flux
from lattgnn.hamiltonians.neighbors import orbital_pattern
from lattgnn.hamiltonians.rashba import joined_bonds
from lattgnn.hamiltonians.spin_terms import SpinEnergy, SpinTerms
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class DoubleExchange(Hamiltonian):
    r"""Electrons with spin, and one classical spin S_i per site, |S_i| = 1.

        H   = −t Σ_⟨ij⟩σ (c†_iσ c_jσ + h.c.) − J Σ_i S_i·c†_i σ c_i
        B_i = −∂E/∂S_i = J ⟨c†_i σ c_i⟩

    The forces of this model are the effective fields B. Without spin–orbit coupling a global
    rotation of all spins is a symmetry, and the operations of the space group permute the spins
    without rotating them. With it the spins are axial vectors, which turn with the lattice.

    Args:
        lattice: Any lattice.
        t: Hopping between sites at the shortest distance, the unit of energy; or one hopping for
            each shell of neighbors, for some orbits of bonds, or for each bond label of the
            lattice, see `Holstein`.
        J: Exchange coupling of electrons and spins, in units of t. A change of its sign is
            equivalent to a reversal of all spins.
        rashba: Strength λ of the Rashba coupling iλ Σ_⟨ij⟩ (c†_i (σ × d_ij)_z c_j + h.c.), with
            d_ij the unit vector from j to i; in the same forms as t. Spin and space are then
            coupled.
        flux: Magnetic flux per unit cell of a two-dimensional lattice, in flux quanta; a number or
            a text such as "1/7". The hopping around a cell, counterclockwise, gains the phase 2π
            flux. A periodic lattice must hold a whole number of flux quanta.
        classical: Classical terms of the spins, such as exchange, Dzyaloshinskii–Moriya terms,
            anisotropy and a magnetic field; None for none. They are exact and never learned, so
            that one network works for any of them.

    Raises:
        InputError: If the lattice does not have the bonds, or the flux does not fit on it.

    Reference:
        P. W. Anderson and H. Hasegawa, Phys. Rev. 100, 675 (1955).
    """

    # A mapping cannot be hashed; it takes part in comparisons.
    t: Hopping = field(default=1.0, hash=False)
    J: float = 3.5

    # Older descriptions, and thereby the names of datasets, do not have these parameters.
    rashba: Hopping = field(default=0.0, hash=False, metadata={"describe": "changed"})
    flux: float | str = field(default=0.0, metadata={"describe": "changed"})
    classical: SpinTerms | None = field(default=None, metadata={"describe": "changed"})

    n_orbitals = 2
    classical_parameters = ("classical",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "t", normal_hopping(self.lattice, self.t))
        object.__setattr__(self, "rashba", normal_hopping(self.lattice, self.rashba, "rashba"))
        object.__setattr__(self, "flux", normal_flux(self.lattice, self.flux))
        _ = self._classical

    @property
    def field_type(self) -> FieldType:
        """A classical spin. With two states per site, |J ⟨σ⟩| ≤ J."""
        dim = self.lattice.dim
        has_flux, representation = self.flux != 0, "3 trivial"
        if self._has_rashba:
            # Spins are axial vectors, and a flux is one too: reflections that reverse it keep the
            # energy together with the reversal of time, which has no sign of its own then.
            plane, z = ("vector", "trivial") if has_flux else ("pseudovector", "pseudoscalar")
            representation = f"{plane} + {3 - dim} {z}"
        elif has_flux:
            representation = "3 pseudoscalar"
        return FieldType(
            representation,
            n_components=3,
            is_spin=True,
            force_bound=abs(self.J),
            coupled_by="rashba" if self._has_rashba else "",
            reversed_by="flux" if has_flux else "",
        )

    @property
    def _has_rashba(self) -> bool:
        return self.rashba != 0

    @cached_property
    def _bond_matrices(self) -> tuple[HoppingBonds, Shaped[Tensor, "n_bonds ..."]]:
        """The bonds, and −t or the 2×2 matrix of each, with the phases of the flux."""
        bonds = hopping_bonds(self.lattice, self.t)
        matrices: Tensor = -bonds.values
        if self._has_rashba:
            spin_orbit = hopping_bonds(self.lattice, self.rashba, "rashba")
            bonds, matrices = joined_bonds(self.lattice, bonds, spin_orbit)
        if self.flux:
            phases = torch.exp(1j * flux_phases(self.lattice, bonds, float(self.flux)))
            matrices = matrices * phases.reshape(-1, *[1] * (matrices.ndim - 1))
        return bonds, matrices

    @cached_property
    def _hoppings(self) -> DeviceCopies:
        matrices = self._bond_matrices[1]
        return DeviceCopies(matrices.flatten() if self._has_rashba else matrices.repeat(2))

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """Bonds for spin up, bonds for spin down, then the 2×2 matrix of each site.

        With spin–orbit coupling each bond has a 2×2 matrix too.
        """
        sites = torch.arange(self.lattice.n_sites).expand(2, -1)
        pairs = self._bond_matrices[0].pairs
        bonds = [2 * pairs, 2 * pairs + 1]
        if self._has_rashba:
            bonds = [orbital_pattern(pairs, 2)]
        return torch.cat([*bonds, orbital_pattern(sites, 2)], dim=1)

    def elements(self, field: Float[Tensor, "*batch n_sites 3"]) -> Complex[Tensor, "*batch nnz"]:
        """−t on the bonds, with spin–orbit coupling and flux, and −J S·σ on the sites."""
        x, y, z = field.unbind(-1)
        zero = torch.zeros_like(z)
        # S·σ = [[z, x − iy], [x + iy, −z]], row by row.
        up_up, up_down = torch.complex(z, zero), torch.complex(x, -y)
        down_up, down_down = torch.complex(x, y), torch.complex(-z, zero)
        products = torch.stack([up_up, up_down, down_up, down_down], dim=-1)
        onsite = -self.J * products.flatten(-2)
        hopping = self._hoppings.like(onsite).expand(*field.shape[:-2], -1)
        return torch.cat([hopping, onsite], dim=-1)

    @cached_property
    def _classical(self) -> SpinEnergy | None:
        return None if self.classical is None else self.classical.on(self.lattice)

    def classical_forces(
        self, field: Float[Tensor, "*batch n_sites 3"]
    ) -> Float[Tensor, "*batch n_sites 3"]:
        """The effective field of the classical terms, zero without any."""
        return torch.zeros_like(field) if self._classical is None else self._classical.forces(field)

    def classical_energy(self, field: Float[Tensor, "*batch n_sites 3"]) -> Float[Tensor, "*batch"]:
        """The energy of the classical terms, zero without any."""
        if self._classical is None:
            return field.new_zeros(field.shape[:-2])
        return self._classical.energy(field)
