"""The solver for models without electrons."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.solvers.solver import ElectronicState, Solver, TightBinding


@dataclass(frozen=True)
class NoElectrons(Solver):
    """No electrons: ρ = 0 and no energy. It leaves the classical part of a model.

    Use it for `ClassicalMagnet`. With any other model it switches the electrons off.
    """

    # There is no ensemble to choose.
    kT: ClassVar[float] = 0.0
    mu: ClassVar[float | None] = 0.0
    filling: ClassVar[float | None] = None

    @property
    def is_exact(self) -> bool:
        """True."""
        return True

    def solve(self, hamiltonian: TightBinding, field: Float[Tensor, "..."]) -> ElectronicState:
        """The empty lattice, for fields [..., *field_shape].

        Args:
            hamiltonian: Any model.
            field: Field [..., n_sites] or [..., n_sites, n_components].

        Raises:
            InputError: If the field is not finite or has the wrong shape.
        """
        hamiltonian.check_field(field)
        batch_shape = field.shape[: field.ndim - len(hamiltonian.field_shape)]
        zero = torch.zeros(batch_shape, dtype=torch.float64, device=field.device)
        return ElectronicState(
            zero, zero, zero[..., None].expand(*batch_shape, len(hamiltonian.rows))
        )
