"""Whether a model has the symmetry of its lattice, which every network assumes.

Networks take the space group from the labelled sites and bonds of a `Lattice`. A Hamiltonian with
fewer symmetries, such as a staggered potential, cannot be learned by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from lattgnn.checks.result import CheckResult
from lattgnn.checks.samples import exact_solver, random_field, symmetric_supercell
from lattgnn.forcefield import ExactForceField
from lattgnn.graph import apply_operation
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import (
    Operation,
    compatible_operations,
    site_permutations,
    translation_permutation,
)
from lattgnn.solvers import Solver
from lattgnn.solvers.solver import ElectronicState, TightBinding
from lattgnn.symmetry import field_representation

# Relative error of forces from different orders of the same sums, with a wide margin.
_BOUND = 1e-9

# Largest number of states of the supercell where the symmetry is checked, if the model allows one,
# and for which a violation is also given as that of the exact force.
_MAX_STATES = 1024

# Powers of H in the stand-in for the density matrix. Its energy contains closed walks of one hop
# more, 6: around a hexagon. Whatever breaks a symmetry shows in such walks.
_ORDER = 5

Move = Callable[[Tensor], Tensor]


def check_symmetry(hamiltonian: Hamiltonian, solver: Solver) -> CheckResult:
    """Check that the electrons have every symmetry of the lattice: F(gφ) = g F(φ).

    g runs over the operations of the space group, those that only translate by a fraction of a cell
    included, and the translations by one cell along each axis. Spins are also rotated and reversed
    all together, unless a term of the model forbids it. The field φ is random. The classical forces
    are not checked: they are exact and need no symmetry.

    The forces are those of Σ_k Tr Hᵏ/k! up to k = 6, which depends on the spectrum only, as the
    energy of the electrons does. So it has the same symmetries, at any kT and filling, without a
    diagonalization and without the error of an approximate solver. The check takes place on a
    periodic lattice with equally many cells along each axis where the model allows it, because such
    a lattice has all operations of the crystal.

    Args:
        hamiltonian: The model.
        solver: The electronic ensemble, in which a violation is stated.

    Returns:
        The result, with the violation relative to the largest force.
    """
    model = symmetric_supercell(hamiltonian, _MAX_STATES)
    field = random_field(model)
    moves = _moves(model)
    fields = torch.stack([field, *(move(field) for move in moves.values())])
    energies, forces = ExactForceField(model, _TraceOfPowers()).electronic(fields)
    size = forces[0].abs().max().clamp(min=1e-300)
    errors = {}
    for number, (name, move) in enumerate(moves.items(), start=1):
        of_energy = (energies[number] - energies[0]).abs() / energies[0].abs().clamp(min=1.0)
        of_forces = (forces[number] - move(forces[0])).abs().max() / size
        errors[name] = float(torch.maximum(of_energy, of_forces))
    # NaN counts as the largest. A crystal may have no symmetry at all.
    violation = max(errors.values(), key=lambda e: math.inf if math.isnan(e) else e, default=0.0)
    if violation <= _BOUND:
        message = f"The electronic force obeys {len(moves)} operations and translations."
        return CheckResult("symmetry", violation, _BOUND, message)
    broken = [name for name, error in errors.items() if not error <= _BOUND]
    # Of equally large violations the first one is named, whatever rounding makes of them.
    named = next(name for name in broken if not errors[name] <= 0.9 * violation)
    text = _violation(model, solver, field, moves[named])
    what = f"{model.lattice.name!r}, {named}"
    if len(broken) > 1:
        what = f"{model.lattice.name!r}, {len(broken)} in all, such as {named}"
    message = (
        f"{type(model).__name__} breaks the symmetry of {what}{text}. {_advice(model, broken)}"
    )
    return CheckResult("symmetry", violation, _BOUND, message)


@dataclass(frozen=True)
class _TraceOfPowers(Solver):
    """Electrons whose free energy is s Σ_k Tr (H/s)ᵏ/k!, with the scale s = √(Tr H²/n_states)."""

    kT: float = 0.0
    mu: float | None = None

    @torch.no_grad()
    def solve(self, hamiltonian: TightBinding, field: Tensor) -> ElectronicState:
        """The energy and its derivative with respect to H, for fields [n, *field_shape]."""
        # scipy does not take the views that torch gives.
        rows, cols = hamiltonian.rows.numpy().copy(), hamiltonian.cols.numpy().copy()
        shape = (hamiltonian.n_states,) * 2
        solved = []
        for elements in hamiltonian.elements(field):
            values = elements.numpy()
            scale = max(float(np.linalg.norm(values)) / math.sqrt(shape[0]), 1e-300)
            matrix = csr_array((values / scale, (rows, cols)), shape=shape)
            solved.append(_derivative(matrix, rows, cols, scale))
        energy = torch.tensor([energy for energy, _ in solved], dtype=torch.float64)
        density = torch.from_numpy(np.stack([density for _, density in solved]))
        return ElectronicState(energy, torch.zeros_like(energy), density)


def _derivative(
    matrix: csr_array, rows: np.ndarray, cols: np.ndarray, scale: float
) -> tuple[float, np.ndarray]:
    """The energy, and its derivative D = Σ_k (H/s)ᵏ/k! as the elements D[cols, rows]."""
    power, density, energy = matrix, np.zeros(len(rows), matrix.dtype), 0.0
    values = matrix[rows, cols]
    for k in range(1, _ORDER + 1):
        elements = power[cols, rows] / math.factorial(k)
        density = density + elements
        energy += scale * float((elements * values).sum().real) / (k + 1)
        power = power @ matrix
    return energy, density


def _moves(model: Hamiltonian) -> dict[str, Move]:
    """The symmetries that a network of this kind of field has, by name."""
    lattice, kind = model.lattice, model.field_type
    representation = field_representation(lattice.cell, kind.representation)
    identity, *others = compatible_operations(lattice)
    operations, permutations = [], []
    for axis in range(lattice.dim):
        if lattice.periodic[axis]:
            step = tuple(int(n == axis) for n in range(lattice.dim))
            operations.append(identity.translated(step))
            permutations.append(translation_permutation(lattice, step))
    operations += others
    permutations += list(site_permutations(lattice)[1:])
    moves: dict[str, Move] = {}
    for operation, permutation in zip(operations, permutations, strict=True):
        matrices = representation.site_matrices(operation) if kind.n_components else None
        move = partial(apply_operation, permutation=permutation, site_matrices=matrices)
        moves[_name(operation, identity)] = move
    if kind.is_spin and not kind.coupled_by:
        generator = torch.Generator().manual_seed(4)
        rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
        rotation = rotation * torch.linalg.det(rotation)  # proper
        moves["a common rotation of all spins"] = lambda spins: spins @ rotation
    if kind.is_spin and not kind.reversed_by:
        moves["the reversal of all spins"] = lambda spins: -spins
    return moves


def _name(operation: Operation, identity: Operation) -> str:
    """The operation as the tables of the lattice print it: the image of the point (x, y)."""
    kind = "translation" if operation.rotation == identity.rotation else "operation"
    return f"the {kind} ({identity.symbol}) → ({operation.symbol})"


def _violation(model: Hamiltonian, solver: Solver, field: Tensor, move: Move) -> str:
    """By how much the exact force violates a symmetry, in words, where it can be computed."""
    if model.n_states > _MAX_STATES:
        return ""
    forces = ExactForceField(model, exact_solver(solver)).electronic(
        torch.stack([field, move(field)])
    )[1]
    error = (forces[1] - move(forces[0])).abs().max()
    return f": a force of up to {forces[0].abs().max():.2g} is off by {error:.2g}"


def _advice(model: Hamiltonian, broken: list[str]) -> str:
    """The way out for this kind of violation."""
    if all("spins" in name for name in broken):
        return (
            "A network of spins cannot learn a preferred direction; move such terms into "
            "`classical_energy`, which is exact."
        )
    advice = "Give the lattice site_labels or bond_labels where sites or bonds differ"
    if model.field_type.n_components and not any("translation" in name for name in broken):
        advice += ", or correct `representation` if the components turn in another way"
    on_site = model.elements(torch.zeros(model.field_shape, dtype=torch.float64))
    on_site = on_site[model.rows == model.cols].real.reshape(model.lattice.n_cells, -1)
    differs = float((on_site - on_site[0]).detach().abs().max()) > _BOUND
    if model.field_type.density_coupling and differs:
        advice += (
            ", or train without on-site energies ε_i and add them with lattgnn.disorder, by the "
            "exact shift φ_i = Q_i − ε_i/g"
        )
    return f"{advice}; symmetry_check=false goes on without the symmetry."
