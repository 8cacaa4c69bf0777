"""The base class of all models: sparse matrix of a field, and classical energy."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, wraps
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lattgnn.errors import InputError, InputTypeError, check_number
from lattgnn.lattice import Lattice
from lattgnn.symmetry import FieldType

# Up to this many sites a new Hamiltonian computes its pattern at once, which shows whether its
# bonds fit on the lattice (0.05 s at 256×256). On larger lattices the pattern takes seconds and
# memory that a learned force field never needs, and the extents are hardly ever too small.
_CHECKED_SITES = 2**16


@dataclass(frozen=True)
class Hamiltonian(ABC):
    r"""Non-interacting electrons in a classical field φ on a lattice.

        H[φ] = Σ_ab H_ab(φ) c†_a c_b + E_background(φ) + E_classical(φ)

    The positions of the matrix elements are fixed by the lattice (`pattern`), and their values are
    differentiable functions of the field (`elements`). Solvers and forces need nothing else: with
    the density matrix ρ held fixed (Hellmann–Feynman),

        F = −Re Σ_k ρ[cols[k], rows[k]] ∂elements[k]/∂φ − ∂(E_background + E_classical)/∂φ.

    **Your own model** is a frozen dataclass that inherits from this class. Its parameters are
    fields with default values, and it defines:

    - `pattern`, int64 `[2, nnz]`: the row and the column of each matrix element. Make it a
      `cached_property`.
    - `elements(field)`, `[*batch, nnz]`: the matrix elements in the order of the pattern, real or
      complex.
    - `classical_energy(field)`, `[*batch]`: the energy of the field without electrons.
    - `n_orbitals`, a class attribute, if a site has more than one state.
    - `classical_parameters`, a class attribute, with the names of the parameters that only the
      classical energy contains: a trained network holds for all their values.
    - `field_type`, if the field is not one scalar per site: its components and how symmetry acts on
      them.
    - `classical_forces(field)`, if there is a closed form; otherwise autograd differentiates the
      energy.
    - `background_energy(field)`, if the coupling contains a term without electrons, such as +½ g
      Σ_i Q_i.

    Conventions:

    - The field has the shape `[*batch, n_sites]` or `[*batch, n_sites, n_components]`.
    - States are ordered by site: state = site · n_orbitals + orbital.
    - The matrix must be Hermitian. The pattern holds both directions of every bond, [a, b] and [b,
      a], and no (row, column) twice.
    - The pattern holds the diagonal, even if its elements are zero: solvers read the occupations
      there.
    - The energies and the matrix elements consist of PyTorch operations, because they are
      differentiated.
    - Parameters that differ between sites or bonds lower the symmetry. Say so by labels of the
      lattice (`site_labels`, `bond_labels`), because networks take the symmetry from there.

    `lattgnn check` finds what breaks these rules.

    All parameters must be finite, and the bonds must fit on the lattice; both are checked when a
    model is made. A `__post_init__` of your own is called before these checks and need not call
    this class's.

    Args:
        lattice: The sites. It is not part of the description of a Hamiltonian: one model serves all
            lattices.

    Raises:
        InputError: If a parameter is not finite, or the lattice is too small for the bonds of the
            model.

    Example:
        Electrons on the square lattice with hopping to nearest and next-nearest neighbors, and an
        on-site coupling to one oscillator per site:

        >>> import numpy as np
        >>> from lattgnn.lattice import square
        >>> @dataclass(frozen=True)
        ... class DiagonalHopping(Hamiltonian):
        ...     t: float = 1.0
        ...     t2: float = 0.3
        ...     g: float = 2.0
        ...
        ...     @cached_property
        ...     def bonds(self):
        ...         return self.lattice.bonds(1.5)  # lengths 1 and √2, both directions
        ...
        ...     @cached_property
        ...     def pattern(self):
        ...         ends = np.stack([self.bonds.destination, self.bonds.source])
        ...         hopping = torch.from_numpy(ends)
        ...         sites = torch.arange(self.lattice.n_sites)
        ...         return torch.cat([hopping, torch.stack([sites, sites])], dim=1)
        ...
        ...     def elements(self, field):
        ...         length = torch.tensor(self.bonds.displacement).norm(dim=1)
        ...         hopping = torch.where(length < 1.2, -self.t, -self.t2).to(field)
        ...         return torch.cat(
        ...             [hopping.expand(*field.shape[:-1], -1), -self.g * field], dim=-1
        ...         )
        ...
        ...     def classical_energy(self, field):
        ...         return 0.5 * field.square().sum(-1)
        >>> model = DiagonalHopping(square(4))
        >>> model.matrix(torch.zeros(16, dtype=torch.float64))[0, [0, 1, 5, 2]]
        tensor([-0.0000, -1.0000, -0.3000,  0.0000], dtype=torch.float64)
    """

    lattice: Lattice = field(metadata={"describe": False})

    n_orbitals: ClassVar[int] = 1
    """States per site."""

    classical_parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters that only the classical energy contains. A network, which learns the electrons,
    holds for all their values."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Add the checks of this class to a `__post_init__` that a model defines."""
        super().__init_subclass__(**options)
        own = cls.__dict__.get("__post_init__")
        if own is not None:

            @wraps(own)
            def checked(self: Hamiltonian) -> None:
                own(self)
                Hamiltonian.__post_init__(self)

            cls.__post_init__ = checked

    def __post_init__(self) -> None:
        for parameter in fields(self):
            value = getattr(self, parameter.name)
            # With `from __future__ import annotations`, a type is a text.
            kind = getattr(parameter.type, "__name__", None) or str(parameter.type)
            is_float = "float" in kind and not (value is None and "None" in kind)
            numbers = value.values() if isinstance(value, Mapping) else [value]
            if is_float and isinstance(value, list | tuple):
                numbers = value
            for number in numbers:
                if isinstance(number, float) and not math.isfinite(number):
                    raise InputError(
                        f"{parameter.name} must be finite, got {value!r}. Use a number."
                    )
                if is_float:
                    check_number(parameter.name, number)
        if self.lattice.n_sites <= _CHECKED_SITES:
            _ = self.rows

    @property
    def field_type(self) -> FieldType:
        """What kind of field it is: one scalar per site, unless a model defines another one."""
        return FieldType()

    @property
    def n_states(self) -> int:
        """Number of states, the order of the matrix."""
        return self.n_orbitals * self.lattice.n_sites

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one field, without batch dimensions."""
        return self._field_shape

    @cached_property  # every step of a run asks for the shape several times
    def _field_shape(self) -> tuple[int, ...]:
        n_components = self.field_type.n_components
        return (self.lattice.n_sites, n_components) if n_components else (self.lattice.n_sites,)

    @property
    def stiffness(self) -> tuple[float, float] | None:
        """(k0, k1) of a harmonic classical energy ½ k0 Σ φ_i² + k1 Σ_⟨ij⟩ φ_i·φ_j, else None.

        ⟨ij⟩ are nearest neighbors. A model that gives these two numbers runs faster: compiled code
        then computes the elastic force in the same pass as the network's.
        """
        return None

    @cached_property
    def pattern(self) -> Int[Tensor, "2 nnz"]:
        """Row and column of each matrix element, in the order of `elements`."""
        raise NotImplementedError(f"{type(self).__name__} must define `pattern`.")

    @property
    def rows(self) -> Int[Tensor, " nnz"]:
        """Row of each matrix element."""
        return self.pattern[0]

    @property
    def cols(self) -> Int[Tensor, " nnz"]:
        """Column of each matrix element."""
        return self.pattern[1]

    @abstractmethod
    def elements(self, field: Float[Tensor, "..."]) -> Shaped[Tensor, "*batch nnz"]:
        """Matrix elements H[rows, cols], differentiable functions of the field."""

    @abstractmethod
    def classical_energy(self, field: Float[Tensor, "..."]) -> Float[Tensor, "*batch"]:
        """Energy of the field without electrons: always computed exactly, never learned."""

    def background_energy(self, field: Float[Tensor, "..."]) -> Float[Tensor, "*batch"]:
        """The part of the coupling that contains no electrons; 0 unless a model overrides it.

        It counts as electronic energy, which is what a network learns.
        """
        return field.new_zeros(field.shape[: field.ndim - len(self.field_shape)])

    def classical_forces(self, field: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """−∂E_classical/∂field, here by autograd; a model with a closed form overrides it."""
        # Inference mode has no autograd, and a tensor made in it never requires a gradient.
        with torch.inference_mode(False), torch.enable_grad():
            leaf = (field.clone() if field.is_inference() else field.detach()).requires_grad_()
            (gradient,) = torch.autograd.grad(self.classical_energy(leaf).sum(), leaf)
        return -gradient

    def matrix(self, field: Float[Tensor, "..."]) -> Shaped[Tensor, "*batch n_states n_states"]:
        """The dense matrix H(field)."""
        elements = self.elements(field)
        matrix = elements.new_zeros(*elements.shape[:-1], self.n_states, self.n_states)
        matrix[..., self.rows.to(field.device), self.cols.to(field.device)] = elements
        return matrix

    def has_same_electrons(self, other: "Hamiltonian") -> bool:
        """Whether two models differ at most in `classical_parameters`."""
        if type(self) is not type(other):
            return False
        classical = {name: getattr(other, name) for name in self.classical_parameters}
        return replace(self, **classical) == other

    def check_shape(self, field: Tensor) -> None:
        """Refuse a tensor that cannot be a field of this model.

        Raises:
            InputTypeError: If the field does not have a floating-point dtype.
            InputError: If its shape is not [..., *field_shape].
        """
        if not field.is_floating_point():
            raise InputTypeError(
                f"field must be floating point, got {field.dtype}. Use field.double()."
            )
        expected = self.field_shape
        if tuple(field.shape[-len(expected) :]) != expected:
            raise InputError(
                f"field must have shape [..., {', '.join(map(str, expected))}] for"
                f" {type(self).__name__} on {self.lattice.name}, got {list(field.shape)}."
                " Use a field on the sites of this lattice."
            )

    def check_field(self, field: Tensor) -> None:
        """Refuse a tensor that is not a finite field of this model.

        Raises:
            InputTypeError: If the field does not have a floating-point dtype.
            InputError: If its shape is not [..., *field_shape], there is no field, or an entry is
                NaN or infinite.
        """
        self.check_shape(field)
        if field.numel() == 0:
            raise InputError(
                f"there must be at least one field, got the shape {list(field.shape)}."
            )
        # Minimum and maximum are NaN if any entry is. Unlike torch.isfinite, this needs no mask of
        # the field's size, and the two numbers cost one transfer from a GPU.
        extremes = torch.stack(torch.aminmax(field.detach()))
        if not all(map(math.isfinite, extremes.tolist())):
            bad = torch.nonzero(~torch.isfinite(field))[0].tolist()
            raise InputError(
                f"field must be finite, got {field[tuple(bad)].item()!r} at index {bad}. "
                "Use a finite field; in a run, a smaller time step."
            )
