r"""On-site disorder by an exact shift of the field, for a field that couples to the density.

With disorder, on-site energies ε_i and the coupling −g n_i φ_i enter H together:

    Σ_i (ε_i − g φ_i) n_i = −g Σ_i (φ_i − ε_i/g) n_i.

So the electrons of the disordered model in the field φ are those of the clean model in the field
φ − ε/g. A network that was trained on the clean model works for every disorder; it needs no other
labels, as long as the shifted fields are like those of its training. The classical part belongs to
the field itself and is not shifted.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.field_statistics import FieldStatistics
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice


@dataclass(frozen=True)
class BoxDisorder:
    """Independent on-site energies ε_i, uniform between −width/2 and width/2 (Anderson's model).

    Args:
        width: Width W of the distribution, in units of the hopping.
        seed: Seed of the energies.

    Raises:
        InputError: If the width is not a finite number ≥ 0.

    Reference:
        P. W. Anderson, Phys. Rev. 109, 1492 (1958).
    """

    width: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.width) and self.width >= 0):
            raise InputError(f"width must be a finite number >= 0, got {self.width!r}. Use 1.0.")

    def energies(self, lattice: Lattice) -> np.ndarray:
        """The energies on the sites of a lattice, float64 [n_sites]."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        return self.width * (generator.random(lattice.n_sites) - 0.5)


class DisorderedForceField:
    """The force field of a clean model with on-site energies added, exactly.

    Args:
        clean: Exact or learned force field of the clean model.
        on_site_energy: Energies ε_i in units of the hopping, [n_sites], or what draws them.

    Raises:
        InputError: If the field does not couple to the density, or there is not one finite energy
            per site.

    Example:
        >>> from lattgnn.hamiltonians import Holstein
        >>> from lattgnn.lattice import square
        >>> from lattgnn.solvers import ExactDiagonalization
        >>> clean = ExactForceField(Holstein(square(4)), ExactDiagonalization(kT=0.1, mu=0.0))
        >>> disordered = DisorderedForceField(clean, BoxDisorder(width=2.0))
        >>> energy, forces = disordered(torch.zeros(16, dtype=torch.float64))
        >>> forces.shape
        torch.Size([16])
    """

    def __init__(
        self,
        clean: ExactForceField | LearnedForceField,
        on_site_energy: np.ndarray | Tensor | BoxDisorder,
    ) -> None:
        self.disorder = on_site_energy if isinstance(on_site_energy, BoxDisorder) else None
        if isinstance(on_site_energy, BoxDisorder):
            on_site_energy = on_site_energy.energies(clean.lattice)
        energies = torch.as_tensor(on_site_energy, dtype=torch.float64).detach().cpu()
        if energies.shape != (clean.lattice.n_sites,) or not bool(energies.isfinite().all()):
            raise InputError(
                f"on_site_energy must hold one finite number for each of the"
                f" {clean.lattice.n_sites} sites, got shape {list(energies.shape)}."
                " Use lattice.site_values or an array [n_sites]."
            )
        self.clean, self.on_site_energy = clean, energies
        # An on-site energy acts like a chemical potential of the opposite sign on its site.
        self._shift = clean.hamiltonian.field_type.field_shift(-energies)

    @property
    def hamiltonian(self) -> Hamiltonian:
        """The clean model, which has the classical energy of the disordered one."""
        return self.clean.hamiltonian

    @property
    def lattice(self) -> Lattice:
        """The lattice of the field."""
        return self.clean.lattice

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one field, without batch dimensions."""
        return self.clean.field_shape

    @property
    def field_shift(self) -> np.ndarray:
        """What is added to a field before the clean model sees it, −ε_i/g, [n_sites]."""
        return self._shift.numpy()

    @property
    def field_statistics(self) -> FieldStatistics | None:
        """Statistics of the fields that the clean network was fitted on, None if unknown."""
        return getattr(self.clean, "field_statistics", None)

    def prepare(self) -> None:
        """Build the backend of a learned force field now; see `LearnedForceField.prepare`."""
        if isinstance(self.clean, LearnedForceField):
            self.clean.prepare()

    def warm_start(self) -> AbstractContextManager[None]:
        """See `ExactForceField.warm_start`."""
        clean = self.clean
        return clean.warm_start() if isinstance(clean, ExactForceField) else nullcontext()

    def electronic(
        self, field: Float[Tensor, "*batch n_sites"]
    ) -> tuple[Float[Tensor, "*batch"] | None, Float[Tensor, "*batch n_sites"]]:
        """Energy (None for a direct head) and forces without the classical part.

        Args:
            field: The field φ, [..., n_sites].
        """
        shifted = field + self._shift.to(field)
        energy, forces = self.clean.electronic(shifted)
        if energy is not None:
            # The background contains no electrons, so it belongs to the field and is not shifted.
            background = self.hamiltonian.background_energy
            energy = energy + background(field) - background(shifted)
        return energy, forces

    def __call__(
        self, field: Float[Tensor, "*batch n_sites"]
    ) -> tuple[Float[Tensor, "*batch"] | None, Float[Tensor, "*batch n_sites"]]:
        """Total energy (None for a direct head) and forces −∂E/∂field.

        Args:
            field: The field φ, [..., n_sites].
        """
        energy, forces = self.electronic(field)
        if energy is not None:
            energy = energy + self.hamiltonian.classical_energy(field)
        return energy, forces + self.hamiltonian.classical_forces(field)


def without_disorder(
    force_field: ExactForceField | LearnedForceField | DisorderedForceField,
) -> ExactForceField | LearnedForceField:
    """The force field of the clean model, which may be the force field itself."""
    return force_field.clean if isinstance(force_field, DisorderedForceField) else force_field
