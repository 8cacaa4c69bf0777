"""Exact electrons in a field that is repeated periodically, by Bloch's theorem."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Complex, Float, Int, Shaped
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.solvers.ed import (
    NEGLIGIBLE_OCCUPATION,
    ExactDiagonalization,
    eigh,
    elementwise_products,
)
from lattgnn.solvers.model_cache import model_cache
from lattgnn.solvers.single_thread import single_thread
from lattgnn.solvers.solver import ElectronicState, TightBinding

Array = np.ndarray


@dataclass(frozen=True)
class RepeatedDiagonalization(ExactDiagonalization):
    r"""Exact diagonalization for a field that is repeated periodically.

    The electrons live on a lattice that consists of n_a copies of the lattice of the field along
    axis a. By Bloch's theorem its levels are those of

        H_θ[i, j] = Σ_R H[i, j + R] exp(iθ·R),   θ_a = 2π m / n_a,   m = 0 … n_a − 1,

    where R counts copies. Energy and forces are those of one copy, so that the results are those of
    `ExactDiagonalization` on the large lattice, at the cost of one small matrix per copy instead
    of one large one.

    Use it for cold metals: on a small lattice they have few momenta near the Fermi surface, and
    orders are then found to have wrong energies. It is also known as averaging over twisted
    boundary conditions. It works on the CPU.

    Args:
        kT: Temperature of the electrons; 0 is the exact limit.
        mu: Chemical potential, in units of t.
        filling: Electrons per state, strictly between 0 and 1.
        repeats: Number of copies n_a along each axis; one number holds for all axes. It has no
            effect along open axes.

    Raises:
        InputError: If repeats are not positive integers; see also `ExactDiagonalization`.

    Reference:
        C. Lin, F. H. Zong and D. M. Ceperley, Phys. Rev. E 64, 016702 (2001).
    """

    repeats: int | tuple[int, ...] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.repeats, list):  # of a YAML file
            object.__setattr__(self, "repeats", tuple(self.repeats))
        for number in self.repeats if isinstance(self.repeats, tuple) else (self.repeats,):
            if not isinstance(number, int) or number < 1:
                raise InputError(f"repeats must be positive integers, got {self.repeats!r}. Use 3.")

    @torch.no_grad()
    def solve(self, hamiltonian: TightBinding, field: Float[Tensor, "..."]) -> ElectronicState:
        """The electrons of one copy.

        Args:
            hamiltonian: H(field), on the lattice of the field.
            field: Field [..., n_sites] or [..., n_sites, n_components].

        Returns:
            Energy of one copy and μ [...], density elements [..., nnz], float64 (or complex128).

        Raises:
            InputError: If the field is not finite or has the wrong shape, or the lattice is so
                small that several bonds join the same two sites.
        """
        hamiltonian.check_field(field)
        shape = hamiltonian.field_shape
        batch_shape = field.shape[: field.ndim - len(shape)]
        fields = field.to("cpu", torch.float64).reshape(-1, *shape)
        phases = _phases(hamiltonian, self.repeats)
        with single_thread(hamiltonian.n_states):
            parts = [self._solve_one(hamiltonian, one, phases) for one in fields.split(1)]
        energy, mu, elements = (
            torch.cat(part).to(field.device) for part in zip(*parts, strict=True)
        )
        return ElectronicState(
            energy.reshape(batch_shape), mu.reshape(batch_shape), elements.reshape(*batch_shape, -1)
        )

    def _solve_one(
        self,
        hamiltonian: TightBinding,
        field: Float[Tensor, "1 ..."],
        phases: Complex[Array, "n_twists nnz"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Energy [1], μ [1] and density elements [1, nnz] of one field."""
        elements = hamiltonian.elements(field)[0].numpy()
        rows, cols, n = hamiltonian.rows.numpy(), hamiltonian.cols.numpy(), hamiltonian.n_states
        solutions = [_solution(elements * phase, rows, cols, n) for phase in phases]
        levels = np.concatenate([energies for energies, _ in solutions])
        # The levels of all θ share one μ, so they are filled together, in ascending order.
        order = np.argsort(levels, kind="stable")
        energy, mu, filled = self._occupy(torch.from_numpy(levels[order])[None])
        weights = np.empty_like(levels)
        weights[order] = filled[0].numpy()
        density = np.zeros(len(rows), dtype=np.complex128)
        for (_, states), phase, some in zip(
            solutions, phases, weights.reshape(len(phases), n), strict=True
        ):
            n_occupied = int((some > NEGLIGIBLE_OCCUPATION).sum())
            vectors = np.multiply(states[:, :n_occupied], np.sqrt(some[:n_occupied]), order="C")
            # ∂H_θ/∂H[i, j] is the phase, which therefore multiplies the density of the copy.
            density += phase * elementwise_products(vectors, rows, cols)
        density /= len(phases)
        # The densities at θ and −θ are complex conjugates if H is real.
        result = density if np.iscomplexobj(elements) else density.real
        return energy / len(phases), mu, torch.from_numpy(np.ascontiguousarray(result))[None]


def _solution(
    elements: Shaped[Array, " nnz"], rows: Int[Array, " nnz"], cols: Int[Array, " nnz"], n: int
) -> tuple[Array, Array]:
    """Levels and eigenvectors of one H_θ."""
    matrix = np.zeros((n, n), dtype=np.complex128)
    matrix[rows, cols] = elements
    return eigh(matrix)


def _phases(
    hamiltonian: TightBinding, repeats: int | tuple[int, ...]
) -> Complex[Array, "n_twists nnz"]:
    """exp(iθ·R) of each matrix element, for every θ."""
    lattice = hamiltonian.lattice
    copies = (repeats,) * lattice.dim if isinstance(repeats, int) else repeats
    if len(copies) != lattice.dim:
        raise InputError(
            f"repeats must be one number, or one for each of the {lattice.dim} axes of"
            f" {lattice.name}, got {repeats!r}."
        )
    copies = np.where(lattice.periodic, copies, 1)
    twists = 2 * np.pi * np.array(list(product(*map(range, copies)))) / copies
    return np.exp(1j * twists @ windings(hamiltonian).T)


@model_cache(maxsize=8)
def windings(hamiltonian: TightBinding) -> Int[Array, "nnz dim"]:
    """How many periods of the lattice lie between the two ends of each matrix element.

    Args:
        hamiltonian: The model, a dataclass.

    Returns:
        For an element of row i and column j, the copy R of the lattice in which the neighbor j of
        site i in copy 0 lies.

    Raises:
        InputError: If several bonds join the same two sites.
    """
    lattice = hamiltonian.lattice
    copies = np.where(lattice.periodic, 3, 1)
    larger = lattice.with_extent(*(copies * lattice.extent).tolist())
    model = cast(TightBinding, replace(cast(Any, hamiltonian), lattice=larger))
    n_orbitals = hamiltonian.n_states // lattice.n_sites

    rows, cols = model.rows.numpy(), model.cols.numpy()
    in_first_copy = (larger.cells[rows // n_orbitals] < lattice.extent).all(axis=1)
    rows, cols = rows[in_first_copy], cols[in_first_copy]
    copy = larger.cells[cols // n_orbitals] // lattice.extent
    # With three copies along an axis, copy 2 is the one on the left of copy 0.
    copy = np.where(copy == 2, -1, copy)

    def home(states: Array) -> Array:
        """The states of the lattice of which these are copies."""
        sites, orbitals = np.divmod(states, n_orbitals)
        cells = larger.cells[sites] % lattice.extent
        return lattice.ravel(cells, larger.sublattices[sites]) * n_orbitals + orbitals

    n = hamiltonian.n_states
    wanted = hamiltonian.rows.numpy() * n + hamiltonian.cols.numpy()
    found = home(rows) * n + home(cols)
    order = np.argsort(found, kind="stable")
    if not np.array_equal(found[order], np.sort(wanted)) or len(np.unique(found)) < len(found):
        raise InputError(
            "a repeated lattice must have at most one bond between any two of its sites, got the"
            f" extent {lattice.extent}, which is too small for the bonds of"
            f" {type(hamiltonian).__name__}. Use a larger extent."
        )
    return copy[order][np.searchsorted(found[order], wanted)]
