"""What every Hamiltonian says: a sparse matrix of the field, and the energies that need no electrons."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lattgnn.lattice import Lattice


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
    field_components: ClassVar[int] = 0
    """Components of the field on one site; 0: one scalar a site, without an axis of its own."""
    representation: ClassVar[str] = "trivial"
    """How the field of one site transforms, as `lattgnn.lattice.field_representation` reads it.

    "trivial": every operation leaves the components alone (they still move with their site); "vector":
    cartesian components; or a sum of irreps of the site group, such as "B1 + A1".
    """
    internal: ClassVar[str] = ""
    """What the components are in a space of their own, which operations of the lattice leave alone.

    "": none; "spin": a classical spin, a unit vector in spin space. Its rotations are a symmetry apart from
    the space group, and it moves on the sphere (`lattgnn.dynamics.HeunLLG`).
    """

    def _check_finite(self, *names: str) -> None:
        for name in names:
            if not math.isfinite(getattr(self, name)):
                raise ValueError(
                    f"{name} must be finite, got {getattr(self, name)!r}. Use a number."
                )

    @property
    def n_states(self) -> int:
        """Order of the matrix."""
        return self.n_orbitals * self.lattice.n_sites

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one field, without batch dimensions."""
        components = (self.field_components,) if self.field_components else ()
        return (self.lattice.n_sites, *components)

    @property
    def force_bound(self) -> float | None:
        """Largest |electronic force| that the model allows, if it has one."""
        return None

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

    def field_shift(self, mu: float) -> float:
        """The uniform shift of the field that acts like a shift `mu` of the chemical potential.

        Raises:
            ValueError: the model has none; its learned forces hold at one chemical potential.
        """
        raise ValueError(
            f"filling must be left out for {type(self).__name__}, where mu is no shift of the field. "
            "Use the chemical potential that the network was trained at."
        )

    def density(self, electronic_forces: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Electrons on each site, for a model whose electronic force on a site tells them."""
        raise ValueError(
            f"density must be known from the force, got {type(self).__name__}, where it is not."
        )

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
            raise TypeError(f"field must be floating point, got {field.dtype}. Use field.double().")
        expected = self.field_shape
        if tuple(field.shape[-len(expected) :]) != expected:
            raise ValueError(
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
            raise ValueError(
                f"field must be finite, got {field[tuple(bad)].item()!r} at index {bad}. "
                "Use a smaller time step or a finite start."
            )
