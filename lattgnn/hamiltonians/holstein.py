"""The Holstein model: electrons coupled to one displacement per site."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.hopping import Hopping, HoppingBonds, hopping_bonds, normal_hopping
from lattgnn.hamiltonians.magnetic_flux import flux_phases, normal_flux
from lattgnn.hamiltonians.neighbors import harmonic_forces, neighbor_table
from lattgnn.lattice.labels import values_by_label
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class Holstein(Hamiltonian):
    r"""Spinless electrons with an on-site coupling to displacements Q_i.

        H    = −t Σ_⟨ij⟩ (c†_i c_j + h.c.) − g Σ_i (n_i − ½) Q_i
        E_cl = ½ k0 Σ_i Q_i² + k1 Σ_⟨ij⟩ Q_i Q_j
        F_i  = g (⟨n_i⟩ − ½) − k0 Q_i − k1 Σ_{j nn i} Q_j

    ⟨ij⟩ are nearest neighbors; electrons can also hop farther, see `t`. On a bipartite lattice at
    μ = 0 the map Q → −Q changes F to −F (particle–hole symmetry). On-site energies break it, and so
    does hopping within one sublattice. At fixed particle number the electronic
    force is F_canonical(Q) = F_{μ=0}(Q + μ/g).

    On a lattice with labels, each kind of bond can have its own hopping and each kind of site its
    own on-site energy: Σ_i ε_i n_i is added to H. The classical energy does not see the labels. For
    energies without a pattern see `lattgnn.disorder`.

    Args:
        lattice: Any lattice.
        t: Hopping between sites at the shortest distance, the unit of energy. Or a list with one
            hopping per shell of neighbors, in the order of the distances: [1.0, 0.0, -0.85] for
            first and third neighbors. Or one for some orbits of bonds, numbered as the symmetry
            table prints them, {"orbit 0": 1.0, "orbit 3": 0.2}; an orbit and that of the reversed
            bonds have the same hopping. Or one for each bond label of the lattice, such as
            {"dimer": 1.0, "square": 0.5}. Electrons hop on these bonds only, whatever their length.
        g: Coupling, energy per displacement.
        k0: On-site stiffness, energy per displacement squared.
        k1: Stiffness between nearest neighbors, energy per displacement squared; each bond counts
            once.
        on_site_energy: Energy ε_i for each site label of the lattice, such as {"A": 0.5, "B":
            -0.5}; None for no such term.
        flux: Magnetic flux per unit cell of a two-dimensional lattice, in flux quanta; a number or
            a text such as "1/7". The hopping around a cell, counterclockwise, gains the phase 2π
            flux. A periodic lattice must hold a whole number of flux quanta.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2601.04104 (2026). The default values and F = −∂E/∂Q are
        theirs.
    """

    # Mappings cannot be hashed; they take part in comparisons.
    t: Hopping = field(default=1.0, hash=False)
    g: float = 3.5
    k0: float = 1.0
    k1: float = 0.18

    classical_parameters = ("k0", "k1")
    # Older descriptions, and thereby the names of datasets, do not have this parameter.
    on_site_energy: Mapping[str, float] | None = field(
        default=None, hash=False, metadata={"describe": "changed"}
    )
    flux: float | str = field(default=0.0, metadata={"describe": "changed"})

    def __post_init__(self) -> None:
        object.__setattr__(self, "t", normal_hopping(self.lattice, self.t))
        if self.on_site_energy is not None:
            labels = self.lattice.site_labels
            energies = values_by_label("on_site_energy", self.on_site_energy, labels)
            object.__setattr__(self, "on_site_energy", energies)
        object.__setattr__(self, "flux", normal_flux(self.lattice, self.flux))

    @property
    def field_type(self) -> FieldType:
        """A scalar that couples to the density. Since 0 ≤ n ≤ 1, |g (n − ½)| ≤ g/2."""
        return FieldType(force_bound=abs(self.g) / 2, density_coupling=self.g)

    @cached_property
    def _bonds(self) -> HoppingBonds:
        return hopping_bonds(self.lattice, self.t)

    @cached_property
    def _hoppings(self) -> DeviceCopies:
        values = -self._bonds.values
        if self.flux:
            phases = flux_phases(self.lattice, self._bonds, float(self.flux))
            values = values * torch.exp(1j * phases)
        return DeviceCopies(values)

    @cached_property
    def _on_site(self) -> DeviceCopies | None:
        if self.on_site_energy is None:
            return None
        return DeviceCopies(torch.from_numpy(self.lattice.site_values(self.on_site_energy)))

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """Bonds first, then the diagonal."""
        diagonal = torch.arange(self.n_states)
        return torch.cat([self._bonds.pairs, torch.stack([diagonal, diagonal])], dim=1)

    def elements(self, field: Float[Tensor, "*batch n_sites"]) -> Shaped[Tensor, "*batch nnz"]:
        """−t on the bonds, with the phases of the flux, and ε_i − g Q_i on the diagonal."""
        dtype = field.dtype.to_complex() if self.flux else field.dtype
        hopping = self._hoppings.on(field.device, dtype).expand(*field.shape[:-1], -1)
        diagonal = -self.g * field
        if self._on_site is not None:
            diagonal = diagonal + self._on_site.like(field)
        return torch.cat([hopping, diagonal.to(dtype)], dim=-1)

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
