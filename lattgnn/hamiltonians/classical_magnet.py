"""A classical magnet: spins without electrons."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.hamiltonians.hamiltonian import Hamiltonian
from lattgnn.hamiltonians.spin_terms import SpinEnergy, SpinTerms
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class ClassicalMagnet(Hamiltonian):
    r"""Classical spins with the energy of `SpinTerms`, and no electrons.

    Use it with the solver `NoElectrons`. For spins coupled to electrons see `DoubleExchange`, which
    takes the same terms.

    Args:
        lattice: Any lattice.
        terms: The energy; the default is the ferromagnetic Heisenberg model, J = 1.

    Raises:
        InputError: If the lattice does not have the bonds of the terms.
    """

    terms: SpinTerms = SpinTerms(exchange=1.0)

    classical_parameters = ("terms",)

    def __post_init__(self) -> None:
        _ = self._classical

    @property
    def field_type(self) -> FieldType:
        """A classical spin, on which no electrons act."""
        return FieldType("3 trivial", n_components=3, is_spin=True, force_bound=0.0)

    @cached_property
    def _classical(self) -> SpinEnergy:
        return self.terms.on(self.lattice)

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """The diagonal, which is zero."""
        return torch.arange(self.n_states).expand(2, -1)

    def elements(self, field: Float[Tensor, "*batch n_sites 3"]) -> Float[Tensor, "*batch nnz"]:
        """Zeros."""
        return 0.0 * field[..., 0]

    def classical_forces(
        self, field: Float[Tensor, "*batch n_sites 3"]
    ) -> Float[Tensor, "*batch n_sites 3"]:
        """The effective field of the terms."""
        return self._classical.forces(field)

    def classical_energy(self, field: Float[Tensor, "*batch n_sites 3"]) -> Float[Tensor, "*batch"]:
        """The energy of the terms."""
        return self._classical.energy(field)
