"""Reference fields, and the error of a solver on them: how a tolerance becomes a buffer."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from itertools import count
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lattgnn.errors import InputError
from lattgnn.solvers.ed import ExactDiagonalization
from lattgnn.solvers.error_estimate import compare_solvers
from lattgnn.solvers.model_cache import model_cache
from lattgnn.solvers.solver import Solver, TightBinding

# Errors are heavy-tailed: a few sites in rare fields make up most of them.
_N_FIELDS = 20

# Standard deviation of the reference fields: about that of the starts of quenches in the Holstein
# model.
REFERENCE_STD = 5.0

# Up to this many states the reference is exact: half a second for each field.
MOST_EXACT_STATES = 1600


def reference_model(hamiltonian: TightBinding, cells: int) -> TightBinding:
    """The same model on a periodic lattice with equally many cells along each axis.

    Args:
        hamiltonian: The model, a dataclass.
        cells: Number of cells along each axis.

    Raises:
        InputError: If the model cannot be made there, such as one with a parameter for each site.
    """
    lattice = replace(hamiltonian.lattice, extent=(cells,) * hamiltonian.lattice.dim, periodic=True)
    try:
        model: TightBinding = replace(cast(Any, hamiltonian), lattice=lattice)
        model.elements(torch.zeros(model.field_shape, dtype=torch.float64))
    except (RuntimeError, IndexError, ValueError) as error:
        raise InputError(
            f"the tolerance cannot be calibrated with random fields, because the model cannot be "
            f"made on a lattice of {cells} cells along each axis ({error}). Hand over fields of "
            "your own, solver.resolved(model, fields)."
        ) from error
    return model


def reference_fields(hamiltonian: TightBinding, std: float, n_fields: int = _N_FIELDS) -> Tensor:
    """Uncorrelated random fields from a fixed seed; spins are uniform on the sphere.

    Args:
        hamiltonian: The model.
        std: Standard deviation of each component; spins have length 1 instead.
        n_fields: Number of fields.

    Returns:
        Fields, float64 [n_fields, *field_shape].
    """
    generator = torch.Generator().manual_seed(0)
    shape = (n_fields, *hamiltonian.field_shape)
    fields = torch.randn(shape, generator=generator, dtype=torch.float64)
    is_spin = getattr(getattr(hamiltonian, "field_type", None), "is_spin", False)
    if is_spin:
        return normalize(fields, dim=-1)
    if std == REFERENCE_STD and len(hamiltonian.field_shape) > 1:
        _warn_about_strength(hamiltonian)
    return std * fields


def _warn_about_strength(hamiltonian: TightBinding) -> None:
    """Say that the default strength is that of another model."""
    warnings.warn(
        f"the tolerance is calibrated in random fields of standard deviation {REFERENCE_STD:g}, "
        "which suits the scalar fields of the Holstein model. Those of "
        f"{type(hamiltonian).__name__} are usually weaker, and errors are larger there. Set "
        "reference_std to the strength of your fields.",
        stacklevel=2,
    )


def density_error(solver: Solver, hamiltonian: TightBinding, fields: Tensor) -> float:
    """Rms error of the on-site density elements.

    The reference is exact up to 1600 states, and beyond that the refinement of the solver.

    Args:
        solver: The solver.
        hamiltonian: H(field).
        fields: Fields [..., *field_shape].
    """
    exact = ExactDiagonalization(solver.kT, solver.mu, solver.filling)
    small = hamiltonian.n_states <= MOST_EXACT_STATES
    reference = exact if small else solver.refined()
    return compare_solvers(solver, reference, hamiltonian, fields).density.rms


def smallest_buffer(
    solver: Solver,
    hamiltonian: TightBinding,
    tolerance: float,
    core: int,
    reference: float | Tensor,
) -> int:
    """The smallest buffer with which the rms error of on-site density elements is within a limit.

    Args:
        solver: A solver with an argument `buffer`, which is replaced.
        hamiltonian: The model, hashable.
        tolerance: The limit.
        core: Largest number of cells of a core along any axis.
        reference: Reference fields on the lattice of the model, or the standard deviation of
            random ones on lattices that are two cells longer than a core with both buffers.

    Raises:
        InputError: If no buffer reaches the tolerance on a lattice with an exact reference.
    """
    if isinstance(reference, Tensor):
        for buffer in count(1):  # ends when the buffer covers the lattice and nothing is cut
            if density_error(_with_buffer(solver, buffer), hamiltonian, reference) <= tolerance:
                return buffer
    return _smallest_buffer(solver, hamiltonian, tolerance, core, float(reference))


@model_cache(16)
def _smallest_buffer(
    solver: Solver, hamiltonian: TightBinding, tolerance: float, core: int, std: float
) -> int:
    """The same with random reference fields; a program may ask for one model many times."""
    error = math.inf
    for buffer in count(1):
        model = reference_model(hamiltonian, core + 2 * buffer + 2)
        if model.n_states > MOST_EXACT_STATES:
            break
        fields = reference_fields(model, std)
        error = density_error(_with_buffer(solver, buffer), model, fields)
        if error <= tolerance:
            return buffer
    raise InputError(
        f"tolerance {tolerance:g} is not reached by a buffer of {buffer - 1} around a core of "
        f"{core}, whose error is {error:.1g}; there is no exact reference for larger ones. Use "
        f"buffer={buffer} or a smaller core."
    )


def _with_buffer(solver: Solver, buffer: int) -> Solver:
    return replace(cast(Any, solver), buffer=buffer)
