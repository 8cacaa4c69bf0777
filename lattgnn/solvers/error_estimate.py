"""How wrong a solver is on given fields, by comparison with a more accurate one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.solvers.solver import Solver, TightBinding

# Errors of neighboring sites are correlated. Standard errors therefore come from the means of this
# many groups of consecutive sites in each field.
_N_GROUPS = 16


@dataclass(frozen=True)
class Deviation:
    """The size of a set of errors.

    Attributes:
        rms: Root mean square.
        standard_error: Standard error of `rms`. Errors are heavy-tailed: if this is not small
            against `rms`, take more fields.
        maximum: Largest absolute error.
    """

    rms: float
    standard_error: float
    maximum: float

    @property
    def mse(self) -> float:
        """Mean square error."""
        return self.rms**2


@dataclass(frozen=True)
class ErrorEstimate:
    """Differences between the results of two solvers.

    Attributes:
        density: Differences of the on-site density elements.
        elements: Differences of all density elements in the pattern of H.
        forces: Differences of the components of the electronic force.
        n_fields: Number of fields that were compared.
    """

    density: Deviation
    elements: Deviation
    forces: Deviation
    n_fields: int


def estimate_error(
    solver: Solver,
    hamiltonian: TightBinding,
    fields: Float[Tensor, ...],
    n_samples: int | None = None,
    seed: int = 0,
) -> ErrorEstimate:
    """Estimate the errors of a solver by comparison with `solver.refined()`.

    The estimate is good where a refinement reduces the error several times, so that what is left
    does not matter. Two solutions of each field are needed, so the cost is linear in the number of
    sites if that of the solver is.

    Args:
        solver: The solver.
        hamiltonian: H(field).
        fields: Fields [..., *field_shape].
        n_samples: Number of fields to compare, drawn at random; None takes all.
        seed: Seed of the draw.

    Returns:
        Differences between the solver and its refinement.

    Raises:
        InputError: If the solver has no refinement, or there are too few fields.

    Examples:
        >>> from lattgnn.hamiltonians import Holstein
        >>> from lattgnn.lattice import square
        >>> from lattgnn.solvers import DomainDiagonalization
        >>> solver = DomainDiagonalization(kT=0.1, mu=0.0, core=4, buffer=3)
        >>> fields = 5 * torch.randn(2, 256, generator=torch.Generator().manual_seed(0))
        >>> 1e-7 < estimate_error(solver, Holstein(square(16)), fields).density.rms < 1e-3
        True
    """
    flat = fields.reshape(-1, *hamiltonian.field_shape)
    if len(flat) == 0:
        raise InputError(f"there must be at least one field, got the shape {list(fields.shape)}.")
    n_samples = len(flat) if n_samples is None else n_samples
    if not 1 <= n_samples <= len(flat):
        raise InputError(
            f"n_samples must be from 1 to {len(flat)}, the number of fields, got {n_samples!r}."
        )
    if n_samples < len(flat):
        order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
        flat = flat[order[:n_samples].to(flat.device)]
    solver = solver.resolved(hamiltonian)
    return compare_solvers(solver, solver.refined(), hamiltonian, flat)


def compare_solvers(
    solver: Solver, reference: Solver, hamiltonian: TightBinding, fields: Float[Tensor, ...]
) -> ErrorEstimate:
    """Differences between the results of two solvers, field by field.

    Args:
        solver: One solver.
        reference: The other one.
        hamiltonian: H(field).
        fields: Fields [..., *field_shape].
    """
    n_orbitals = hamiltonian.n_states // hamiltonian.lattice.n_sites
    row_sites = hamiltonian.rows // n_orbitals
    on_site = hamiltonian.rows == hamiltonian.cols
    sites = torch.arange(hamiltonian.lattice.n_sites)
    density, elements, forces = _Errors(len(sites)), _Errors(len(sites)), _Errors(len(sites))
    flat = fields.reshape(-1, *hamiltonian.field_shape)
    for field in flat:
        states = [each.solve(hamiltonian, field) for each in (solver, reference)]
        difference = states[0].density_elements - states[1].density_elements
        forces.add(_forces(hamiltonian, field, difference).cpu(), sites)
        difference = difference.cpu()
        density.add(difference[on_site], row_sites[on_site])
        elements.add(difference, row_sites)
    return ErrorEstimate(
        density.deviation(), elements.deviation(), forces.deviation(), n_fields=len(flat)
    )


class _Errors:
    """Collects squares of errors in groups of consecutive sites."""

    def __init__(self, n_sites: int) -> None:
        self._n_sites = n_sites
        self._sums: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._largest = 0.0

    def add(self, errors: Tensor, sites: Int[Tensor, " n"]) -> None:
        """Add the errors of one field, [n] or [n, n_components], which belong to these sites."""
        squares = errors.abs().square()
        per_row = squares.reshape(len(squares), -1)
        n_groups = min(_N_GROUPS, self._n_sites)
        group = sites * n_groups // self._n_sites
        zeros = torch.zeros(n_groups, dtype=torch.float64)
        self._sums.append(zeros.index_add(0, group, per_row.sum(1)))
        self._counts.append(torch.bincount(group, minlength=n_groups) * per_row.shape[1])
        self._largest = max(self._largest, math.sqrt(float(squares.max())))

    def deviation(self) -> Deviation:
        """The size of all errors."""
        sums, counts = torch.cat(self._sums), torch.cat(self._counts)
        rms = math.sqrt(float(sums.sum() / counts.sum()))
        means = sums / counts
        of_mean_square = float(means.std()) / math.sqrt(len(means)) if len(means) > 1 else math.nan
        # The error of a square root: d√x = dx / (2 √x).
        return Deviation(rms, of_mean_square / (2 * rms) if rms else 0.0, self._largest)


def _forces(hamiltonian: TightBinding, field: Tensor, density: Tensor) -> Tensor:
    """Electronic forces −Re Σ ρ ∂H/∂φ."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = field.detach().to(torch.float64, copy=True).requires_grad_()
        trace = (density * hamiltonian.elements(leaf)).real.sum()
        (gradient,) = torch.autograd.grad(trace, leaf)
    return -gradient
