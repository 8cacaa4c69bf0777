"""What a solver asks of a Hamiltonian, what it answers, and what every solver is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice


@runtime_checkable
class TightBinding(Protocol):
    """What a solver asks of a Hamiltonian."""

    @property
    def lattice(self) -> Lattice: ...  # noqa: D102
    @property
    def field_shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def n_states(self) -> int: ...  # noqa: D102
    @property
    def rows(self) -> Tensor: ...  # noqa: D102
    @property
    def cols(self) -> Tensor: ...  # noqa: D102
    def elements(self, field: Tensor) -> Tensor: ...  # noqa: D102
    def matrix(self, field: Tensor) -> Tensor: ...  # noqa: D102
    def check_field(self, field: Tensor) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class ElectronicState:
    """The electrons in a given field.

    Args:
        energy: grand potential Ω where μ is fixed, free energy Ω + μN where the filling is.
        mu: chemical potential.
        density_elements: ρ[cols, rows] at the pattern of H: Tr ρH = Σ_k density_elements[k] · elements[k].
            Occupations are the entries with `rows == cols`.
    """

    energy: Float[Tensor, "*batch"]
    mu: Float[Tensor, "*batch"]
    density_elements: Shaped[Tensor, "*batch nnz"]


class Solver(ABC):
    """Finds the electrons of a Hamiltonian in a given field, in an ensemble: a frozen dataclass.

    Attributes:
        kT: temperature of the electrons; 0 is the exact limit.
        mu: chemical potential, in units of t; None where the filling is fixed.
    """

    kT: float
    mu: float | None

    @abstractmethod
    def solve(self, hamiltonian: TightBinding, field: Float[Tensor, "..."]) -> ElectronicState:
        """The electrons in fields [..., *field_shape]."""

    def _check_ensemble(self) -> None:
        if not 0 <= self.kT < np.inf:
            raise InputError(
                f"kT must be finite and at least 0, got {self.kT!r}. Use 0.1, or 0 for the ground state."
            )
        if self.mu is not None and not np.isfinite(self.mu):
            raise InputError(
                f"mu must be finite, got {self.mu!r}. Use 0.0 for half filling of a bipartite lattice."
            )
