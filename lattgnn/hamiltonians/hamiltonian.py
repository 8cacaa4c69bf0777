"""What every Hamiltonian says: a sparse matrix of the field, and the energies that need no electrons."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lattgnn.errors import InputError, InputTypeError
from lattgnn.lattice import Lattice
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class Hamiltonian(ABC):
    r"""Non-interacting electrons in a classical field φ on a lattice.

        H[φ] = Σ_ab H_ab(φ) c†_a c_b + E_background(φ) + E_classical(φ)

    The matrix has a sparsity pattern that is fixed by the lattice, `(rows, cols)`, and
    `elements(field)[k] = H[rows[k], cols[k]]` is a differentiable function of the field. That is all a
    solver and a force need: with the density matrix ρ held fixed (Hellmann–Feynman),

        F = −Re Σ_k ρ[cols[k], rows[k]] ∂elements[k]/∂φ − ∂(E_background + E_classical)/∂φ.

    A new model is a frozen dataclass with `lattice` first: it gives `rows`, `cols`, `elements` and
    `classical_energy`. States of one site are neighbours in the matrix: a = site · n_orbitals + orbital.
    Elements may be complex; the matrix they make must be Hermitian, and no (row, column) may come twice.

    Args:
        lattice: the sites. Not part of the description of a Hamiltonian: one model serves all lattices.
    """

    lattice: Lattice = field(metadata={"describe": False})

    n_orbitals: ClassVar[int] = 1
    """States of one site."""

    def _check_finite(self, *names: str) -> None:
        for name in names:
            if not math.isfinite(getattr(self, name)):
                raise InputError(
                    f"{name} must be finite, got {getattr(self, name)!r}. Use a number."
                )

    @property
    def field_type(self) -> FieldType:
        """What kind of field it is; one scalar per site unless a model says otherwise."""
        return FieldType()

    @property
    def n_states(self) -> int:
        """Order of the matrix."""
        return self.n_orbitals * self.lattice.n_sites

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one field, without batch dimensions."""
        n_components = self.field_type.n_components
        return (self.lattice.n_sites, n_components) if n_components else (self.lattice.n_sites,)

    @property
    def stiffness(self) -> tuple[float, float] | None:
        """(k0, k1) where the classical energy is ½ k0 Σ φ_i² + k1 Σ_⟨ij⟩ φ_i·φ_j over nearest neighbours."""
        return None

    @property
    @abstractmethod
    def rows(self) -> Int[Tensor, " nnz"]:
        """Row of each element of the pattern."""

    @property
    @abstractmethod
    def cols(self) -> Int[Tensor, " nnz"]:
        """Column of each element of the pattern."""

    @abstractmethod
    def elements(self, field: Float[Tensor, "..."]) -> Shaped[Tensor, "*batch nnz"]:
        """Matrix elements H[rows, cols] as a differentiable function of the field."""

    @abstractmethod
    def classical_energy(self, field: Float[Tensor, "..."]) -> Float[Tensor, "*batch"]:
        """Energy of the field alone (elastic): always exact, never learned."""

    def background_energy(self, field: Float[Tensor, "..."]) -> Float[Tensor, "*batch"]:
        """The c-number that comes with the electrons, part of their energy; 0 unless a model says so."""
        return field.new_zeros(field.shape[: field.ndim - len(self.field_shape)])

    def classical_forces(self, field: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """−∂E_classical/∂field, here by autograd; a model with a closed form overrides it."""
        with torch.enable_grad():
            leaf = field.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.classical_energy(leaf).sum(), leaf)
        return -gradient

    def matrix(self, field: Float[Tensor, "..."]) -> Shaped[Tensor, "*batch n_states n_states"]:
        """The dense matrix H(field)."""
        elements = self.elements(field)
        matrix = elements.new_zeros(*elements.shape[:-1], self.n_states, self.n_states)
        matrix[..., self.rows.to(field.device), self.cols.to(field.device)] = elements
        return matrix

    def check_shape(self, field: Tensor) -> None:
        """Refuse what cannot be a field of this model.

        Raises:
            TypeError: the field is not of a floating-point dtype.
            ValueError: the shape is not [..., *field_shape].
        """
        if not field.is_floating_point():
            raise InputTypeError(
                f"field must be floating point, got {field.dtype}. Use field.double()."
            )
        expected = self.field_shape
        if tuple(field.shape[-len(expected) :]) != expected:
            raise InputError(
                f"field must have shape [..., {', '.join(map(str, expected))}] for {type(self).__name__} on "
                f"{self.lattice.name}, got {list(field.shape)}. Use a field of this lattice's sites."
            )

    def check_field(self, field: Tensor) -> None:
        """Refuse what is no field of this model.

        Raises:
            TypeError: the field is not of a floating-point dtype.
            ValueError: the shape is not [..., *field_shape], or an entry is NaN or infinite.
        """
        self.check_shape(field)
        extremes = torch.stack(
            torch.aminmax(field.detach())
        )  # NaN if any is; no mask of the field's size
        if not all(map(math.isfinite, extremes.tolist())):
            bad = torch.nonzero(~torch.isfinite(field))[0].tolist()
            raise InputError(
                f"field must be finite, got {field[tuple(bad)].item()!r} at index {bad}. "
                "Use a smaller time step or a finite start."
            )
