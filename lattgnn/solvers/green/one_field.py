"""The electrons in one field: μ, the density matrix and the energy from sums over poles."""

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Shaped
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.solvers.filling import find_mu, refine_mu
from lattgnn.solvers.green.density import DenseGreens
from lattgnn.solvers.green.poles import energy_poles, fermi_poles
from lattgnn.solvers.green.schedule import Block, Pole, make_schedule
from lattgnn.solvers.green.stencil_greens import StencilGreens
from lattgnn.solvers.model_cache import model_cache
from lattgnn.solvers.solver import Solver, TightBinding, bounds_of_all

# The fits of the Fermi function err by at most this fraction of the tolerance, so that nearly all
# of the error is that of the blocks.
SHARE_OF_POLES = 0.1
_SMALLEST_ENERGY_TOLERANCE = 1e-7
# The first, rough search for μ uses these.
CHEAP_ENTRIES = ("ring0:2",)
# What the energy uses besides the entries of the schedule.
ENERGY_ENTRIES = ("ring0:0",)


@dataclass(frozen=True, eq=False)
class OneField:
    """The electrons in one field.

    Attributes:
        solver: Temperature and ensemble.
        greens: What computes density and energy at poles.
        elements: The elements of H.
        bounds: Numbers below and above all levels.
        entries: The entries of the schedule.
        tolerance: The fits err by at most a tenth of it.
        conservative: Whether the derivatives of the energy stand for ρ.
        electrons: The search for μ ends at this number of electrons too many or too few.
    """

    solver: Solver
    greens: DenseGreens | StencilGreens
    elements: Shaped[Tensor, " nnz"]
    bounds: tuple[float, float]
    entries: tuple[str, ...]
    tolerance: float
    conservative: bool
    electrons: float = 1e-8

    def solve(self, guess: float | None) -> tuple[float, float, Shaped[Tensor, " nnz"]]:
        """Energy, μ and density elements; at fixed filling with a guess of μ."""
        n_states, filling = self.greens.n_states, self.solver.filling
        mu, n_electrons = self._mu(guess), 0.0 if filling is None else filling * n_states
        constant, poles = self._energy_poles(self.entries)
        trace = float(self.greens.electrons(self.elements)) - mu * n_states
        part = self.greens.energy(self.elements, mu, poles)
        omega = trace / 2 - n_states * constant - float(part)
        return omega + mu * n_electrons, mu, self._density(self.entries, mu)

    def density(self, guess: float | None) -> tuple[float, Shaped[Tensor, " nnz"]]:
        """The chemical potential and the density elements, without the energy."""
        mu = self._mu(guess)
        return mu, self.density_at(mu)

    def density_at(self, mu: float) -> Shaped[Tensor, " nnz"]:
        """The density elements at a chemical potential."""
        return self._density(self.entries, mu)

    def _density(self, entries: tuple[str, ...], mu: float) -> Shaped[Tensor, " nnz"]:
        """The density elements, or the derivatives of the energy that stand for them."""
        if not self.conservative:
            return self.greens.density(self.elements, mu, self._schedule(entries))
        assert isinstance(self.greens, DenseGreens)  # chosen by the solver
        return self.greens.energy_derivative(self.elements, mu, self._energy_poles(entries)[1])

    def _energy_poles(self, entries: tuple[str, ...]) -> tuple[float, tuple[Pole, ...]]:
        """The constant and the poles of the energy, with blocks as at nearby poles of ρ."""
        share = SHARE_OF_POLES * self.tolerance
        tolerance = max(share, _SMALLEST_ENERGY_TOLERANCE)
        constant, poles = energy_poles(self.solver.kT, self._half_width, tolerance)
        return constant, _blocks_from(self._schedule(entries), poles)

    def _schedule(self, entries: tuple[str, ...]) -> tuple[Pole, ...]:
        return poles_for(self.solver.kT, self._half_width, self.tolerance, entries)

    @property
    def _half_width(self) -> float:
        """Largest distance of a level from μ; for all μ that come into question."""
        low, high = self.bounds
        mu = self.solver.mu
        return high - low if mu is None else max(high - mu, mu - low)

    def _mu(self, guess: float | None) -> float:
        """The chemical potential. Its search begins with the cavity method if there is no guess."""
        if self.solver.mu is not None:
            return self.solver.mu
        assert self.solver.filling is not None  # checked by the solver
        n_electrons = self.solver.filling * self.greens.n_states
        if guess is None:
            low, high = self.bounds
            rough = partial(self._count, CHEAP_ENTRIES)
            center, width = (low + high) / 2, max((high - low) / 4, 1e-3)
            guess = find_mu(rough, n_electrons, center, width, self.electrons)
        count = partial(self._count, self.entries)
        return refine_mu(count, n_electrons, guess, tolerance=self.electrons)

    def _count(self, entries: tuple[str, ...], mu: float) -> float:
        return float(self.greens.electrons(self._density(entries, mu)))


def poles_for(
    kT: float, half_width: float, tolerance: float, entries: tuple[str, ...]
) -> tuple[Pole, ...]:
    """The poles for levels up to a distance from μ, with the entries of a schedule.

    Args:
        kT: Temperature.
        half_width: The distance.
        tolerance: The fit errs by at most a tenth of it.
        entries: The entries, lowest pole first.
    """
    return make_schedule(fermi_poles(kT, half_width, SHARE_OF_POLES * tolerance), entries)


def spectrum_bounds(
    hamiltonian: TightBinding, elements: Shaped[Tensor, "n_fields nnz"]
) -> list[tuple[float, float]]:
    """Numbers below and above all levels of each field, by Gershgorin's circles."""
    diagonal, others, states, rows = (
        part.on(elements.device) for part in _gershgorin_indices(hamiltonian)
    )
    zeros = elements.real.new_zeros(len(elements), hamiltonian.n_states)
    centers = zeros.index_add(1, states, elements.real.index_select(1, diagonal))
    radii = zeros.index_add(1, rows, elements.index_select(1, others).abs())
    low, high = (centers - radii).amin(1).tolist(), (centers + radii).amax(1).tolist()
    return list(zip(*bounds_of_all(hamiltonian, low, high), strict=True))


# A search for them takes longer than the bounds, which every field of a trajectory needs.
@model_cache(4)
def _gershgorin_indices(hamiltonian: TightBinding) -> tuple[DeviceCopies, ...]:
    """Places of the diagonal elements in the pattern, of all others, and the rows of both."""
    rows = hamiltonian.rows
    is_diagonal = rows == hamiltonian.cols
    diagonal, others = torch.nonzero(is_diagonal)[:, 0], torch.nonzero(~is_diagonal)[:, 0]
    return tuple(map(DeviceCopies, (diagonal, others, rows[diagonal], rows[others])))


def _blocks_from(
    schedule: tuple[Pole, ...], poles: tuple[tuple[float, float], ...]
) -> tuple[Pole, ...]:
    """Poles with the block and rounds of the nearest pole of a schedule, by their ratio.

    The energy is more sensitive to high frequencies than ρ, so "ring0:0" stands for "mean".
    """
    found = []
    for frequency, weight in poles:
        distance = [abs(math.log(frequency / pole.frequency)) for pole in schedule]
        nearest = schedule[distance.index(min(distance))]
        if nearest.block.kind == "mean":
            nearest = replace(nearest, block=Block("ring", 0), rounds=0)
        found.append(replace(nearest, frequency=frequency, weight=weight))
    return tuple(found)
