"""The interface of solvers: what they need from a Hamiltonian and what they return."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice


@runtime_checkable
class TightBinding(Protocol):
    """What a solver needs from a model: H(field), a Hermitian matrix with a fixed sparsity pattern.

    Every `lattgnn.hamiltonians.Hamiltonian` has it. Solvers of linear cost also need the model to
    be hashable and its states to be numbered site by site, equally many per site.
    """

    @property
    def lattice(self) -> Lattice:
        """The lattice of the model."""
        ...

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one field, (n_sites,) or (n_sites, n_components)."""
        ...

    @property
    def n_states(self) -> int:
        """Number of one-electron states, the dimension of H."""
        ...

    @property
    def rows(self) -> Int[Tensor, " nnz"]:
        """Row of each element that can differ from 0."""
        ...

    @property
    def cols(self) -> Int[Tensor, " nnz"]:
        """Column of each element that can differ from 0."""
        ...

    def elements(self, field: Tensor) -> Tensor:
        """The elements of H at `rows` and `cols`, [..., nnz]."""
        ...

    def matrix(self, field: Tensor) -> Tensor:
        """H as a dense matrix, [..., n_states, n_states]."""
        ...

    def check_field(self, field: Tensor) -> None:
        """Raise InputError if the field has the wrong shape or is not finite."""
        ...


@dataclass(frozen=True)
class ElectronicState:
    """The electrons in a given field.

    Attributes:
        energy: Grand potential Ω if μ is fixed, free energy Ω + μN if the filling is fixed.
        mu: Chemical potential.
        density_elements: ρ[cols, rows] at the pattern of H, so that
            Tr ρH = Σ_k density_elements[k] · elements[k]. Occupations are the entries with
            `rows == cols`.
    """

    energy: Float[Tensor, "*batch"]
    mu: Float[Tensor, "*batch"]
    density_elements: Shaped[Tensor, "*batch nnz"]


@runtime_checkable
class ForcesInPlace(Protocol):
    """Computes total forces and writes them to a tensor that it is given."""

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code is used, which is for fields on the CPU."""
        ...

    def __call__(self, field: Tensor, out: Tensor, guess: Tensor | None = None) -> Tensor:
        """Write the forces in fields [batch, *field_shape] to `out`; both are contiguous.

        Args:
            field: The fields.
            out: Tensor like the field.
            guess: μ of each field, where the search begins at fixed filling, [batch].

        Returns:
            μ of each field, [batch].

        Raises:
            InputError: If a field is not finite.
        """
        ...


def bounds_of_all(
    hamiltonian: TightBinding, low: list[float], high: list[float]
) -> tuple[list[float], list[float]]:
    """Bounds of each field, over all parts of a lattice if the model holds one part of it.

    Such a model has an attribute `combine_bounds`, which asks the processes that hold the others.

    Args:
        hamiltonian: The model.
        low: Lower bound of each field.
        high: Upper bound of each field.
    """
    combine = getattr(hamiltonian, "combine_bounds", None)
    return (low, high) if combine is None else combine(low, high)


class Solver(ABC):
    """Finds the electrons in a given field. Concrete solvers are frozen dataclasses.

    Exactly one of `mu` and `filling` is given. It defines the electronic ensemble.

    Attributes:
        kT: Temperature of the electrons; 0 is the exact limit.
        mu: Chemical potential, in units of t; None if the filling is fixed.
        filling: Electrons per state, strictly between 0 and 1; None if μ is fixed.
    """

    kT: float
    mu: float | None
    filling: float | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the result is exact to rounding, on every lattice and in every field."""
        return False

    @abstractmethod
    def solve(self, hamiltonian: TightBinding, field: Float[Tensor, "..."]) -> ElectronicState:
        """The electrons in fields [..., *field_shape]."""

    def fast_forces(self, hamiltonian: TightBinding) -> "ForcesInPlace | None":
        """Total forces in one pass, without an energy; None if there are none for this model.

        Args:
            hamiltonian: The model.
        """
        return None

    def solve_from(
        self,
        hamiltonian: TightBinding,
        field: Float[Tensor, "..."],
        mu: Float[Tensor, "*batch"] | None,
    ) -> ElectronicState:
        """The electrons in fields, with a guess of μ, such as that of the time step before.

        A solver that solves a field several times to find μ at fixed filling overrides this. The
        guess may change the last bits of its result. For any other solver it has no meaning.

        Args:
            hamiltonian: H(field).
            field: Fields [..., *field_shape].
            mu: The guess [...]; None for none.
        """
        return self.solve(hamiltonian, field)

    def resolved(
        self, hamiltonian: TightBinding, fields: Float[Tensor, "..."] | None = None
    ) -> "Solver":
        """This solver with everything written out that a tolerance leaves open for a model.

        A solver with a tolerance finds by calibration what reaches it, such as a buffer. The
        result depends on the model and on the reference fields alone, not on the fields of a run,
        and its description holds all that determines its numbers. `ExactForceField`, datasets and
        runs use it.

        Args:
            hamiltonian: The model.
            fields: Reference fields of the calibration [..., *field_shape]; None takes those that
                the class states.

        Returns:
            The solver, this one if nothing is open.
        """
        return self

    def refined(self) -> "Solver":
        """The next more accurate solver of the same kind, such as one with a larger buffer.

        The difference between the two estimates the error of this one.

        Raises:
            InputError: If there is none, because this solver is exact or knows no refinement.
        """
        reason = "it is exact" if self.is_exact else "it does not define one"
        raise InputError(
            f"{type(self).__name__} has no refinement, because {reason}. Use an approximate "
            "solver, such as DomainDiagonalization."
        )

    def _text(self, hidden: tuple[str, ...]) -> str:
        """A text like that of a dataclass, without some fields that have no effect."""
        shown = [one.name for one in fields(self) if one.name not in hidden]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in shown)})"

    def _check_ensemble(self) -> None:
        """Refuse a temperature or an ensemble that makes no sense."""
        if not 0 <= self.kT < np.inf:
            raise InputError(
                f"kT must be finite and at least 0, got {self.kT!r}. Use 0.1, or 0 for the ground "
                "state."
            )
        if self.mu is not None and not np.isfinite(self.mu):
            raise InputError(
                f"mu must be finite, got {self.mu!r}. Use 0.0 for half filling of a bipartite "
                "lattice."
            )
        if self.mu is None and self.filling is None:
            raise InputError("one of mu and filling must be given. Use mu=0.0 or filling=0.5.")
        if self.mu is not None and self.filling is not None:
            raise InputError(
                f"only one of mu and filling can be given, got mu={self.mu!r} and "
                f"filling={self.filling!r}. Set the other one to None (in YAML `mu: null` or "
                "`filling: null`)."
            )
        if self.filling is not None and not 0 < self.filling < 1:
            raise InputError(
                f"filling must be above 0 and below 1, got {self.filling!r}. It is the number of "
                "electrons per state."
            )
