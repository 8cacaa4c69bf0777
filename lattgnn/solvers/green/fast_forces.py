"""Forces of a `GreenFunction` in one pass of programs, without density matrix and energy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from lattgnn.lattice import Lattice
from lattgnn.solvers.filling import find_mu, refine_mu
from lattgnn.solvers.green.density_forces import DensityForces
from lattgnn.solvers.green.rounding import ROUNDING, check_rounding, part_extent, part_of
from lattgnn.solvers.green.schedule import Pole
from lattgnn.solvers.green.stencil import Stencil, canonical, on_diagonal
from lattgnn.solvers.green.stencil_greens import Kinds
from lattgnn.solvers.solver import Solver, bounds_of_all

Schedules = Callable[[float], tuple[Pole, ...]]
"""Gives the poles for the largest distance of a level from μ."""

# The search for μ ends within this many electrons, in float32 per state, which is about the
# size of the rounding errors of a density.
_ELECTRONS, _ELECTRONS_PER_STATE = 1e-8, 1e-7


@dataclass(frozen=True, eq=False)
class DensityModel:
    """A model whose field couples to the density, and how its electrons are solved.

    Attributes:
        hamiltonian: The model.
        stencil: Its stencil.
        kinds: Block and rounds of all poles that may come.
        solver: Temperature and ensemble.
        poles: Gives the poles.
    """

    hamiltonian: Any
    stencil: Stencil
    kinds: Kinds
    solver: Solver
    poles: Schedules


class FastForces:
    """Total forces F_i = g (n_i − ½) − k0 φ_i − k1 Σ_{j nn i} φ_j, at fixed μ or fixed filling.

    They are computed in the dtype of the field. In float32 the rounding errors of a density are
    about 1e-7. The first call in float32 compares a part of the field with float64.

    Args:
        model: The model and its solver.
        compiled: Whether to use compiled code, which is for the CPU.
    """

    def __init__(self, model: DensityModel, compiled: bool) -> None:
        self._model, self._stencil, self._compiled = model, model.stencil, compiled
        self._known: dict[tuple[torch.dtype, bool], DensityForces] = {}
        self._schedules: dict[int, tuple[Pole, ...]] = {}
        self._radius = _largest_radius(model.stencil)
        self._is_compared = False

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code is used."""
        return self._compiled

    def programs(self, field: Tensor) -> DensityForces:
        """The programs for the dtype and device of a field, compiled at their first use."""
        on_cpu, dtype = field.device.type == "cpu", field.dtype
        if (dtype, on_cpu) not in self._known:
            try:
                found = self._programs(self._stencil, dtype, self._compiled and on_cpu)
            except RuntimeError:  # it did not compile, which a line in the log has told
                self._compiled = False
                found = self._programs(self._stencil, dtype, False)
            self._known[dtype, on_cpu] = found
        return self._known[dtype, on_cpu]

    def __call__(self, field: Tensor, out: Tensor, guess: Tensor | None = None) -> Tensor:
        """Write the forces to `out`.

        Args:
            field: Contiguous fields, float32 or float64, [batch, n_sites].
            out: Tensor like the field.
            guess: μ of each field, where the search begins at fixed filling, [batch].

        Returns:
            μ of each field, float64 [batch].

        Raises:
            InputError: If the field is not finite, or float32 is not accurate enough for it.
        """
        ends = (t.tolist() for t in torch.aminmax(field, dim=1))
        low, high = bounds_of_all(self._model.hamiltonian, *ends)
        octaves = [self._octave(a, b) for a, b in zip(low, high, strict=True)]
        mu = self._model.solver.mu
        self._compare(field, octaves[0])
        if mu is None:
            guesses = [None] * len(field) if guess is None else guess.tolist()
            ends = zip(octaves, low, high, guesses, strict=True)
            found = [
                self._search(field[k : k + 1], out[k : k + 1], *numbers)
                for k, numbers in enumerate(ends)
            ]
            return torch.tensor(found, dtype=torch.float64)
        # Poles depend on the range of a field, so fields of equal range are solved together; no
        # result depends on the rest of the batch.
        start = 0
        for k in range(1, len(octaves) + 1):
            if k == len(octaves) or octaves[k] != octaves[start]:
                self._solve(field[start:k], out[start:k], octaves[start], mu)
                start = k
        return torch.full((len(field),), mu, dtype=torch.float64)

    def _solve(self, field: Tensor, out: Tensor, octave: int, mu: float) -> None:
        if not self.programs(field)(field, out, mu, self._schedule(octave)):
            self._model.hamiltonian.check_field(field)

    def _search(
        self,
        field: Tensor,
        out: Tensor,
        octave: int,
        low: float,
        high: float,
        guess: float | None,
    ) -> float:
        """Forces in one field at fixed filling, and μ."""
        filling = self._model.solver.filling
        assert filling is not None  # one of μ and filling is given
        n_states = self._model.hamiltonian.n_states
        trial = _Trial(partial(self._solve, field, out, octave), field, out, self._count)
        wanted = filling * n_states
        tolerance = _ELECTRONS
        if field.dtype == torch.float32:
            tolerance = _ELECTRONS_PER_STATE * n_states
        if guess is None:
            bottom, top = self._levels(low, high)
            width = max((top - bottom) / 4, 1e-3)
            mu = find_mu(trial, wanted, (bottom + top) / 2, width, tolerance)
        else:
            mu = refine_mu(trial, wanted, guess, tolerance=tolerance)
        if trial.last != mu:
            trial(mu)
        return mu

    def _count(self, field: Tensor, forces: Tensor) -> float:
        """The electrons of one field, by F_i + k0 φ_i + k1 Σ_j φ_j = g (n_i − ½)."""
        stencil, model = self._stencil, self._model.hamiltonian
        assert stencil.coupling is not None
        k0, k1 = model.stiffness
        total = float(forces.sum(dtype=torch.float64))
        for sublattice, n_neighbors in enumerate(self._coordination):
            part = field[:, sublattice :: stencil.n_sublattices].sum(dtype=torch.float64)
            total += (k0 + n_neighbors * k1) * float(part)
        return total / stencil.coupling + model.n_states / 2

    @cached_property
    def _coordination(self) -> list[int]:
        """Number of nearest neighbors of a site, by sublattice."""
        lattice = _small(self._model.hamiltonian.lattice)
        bonds = lattice.bonds(lattice.neighbor_distance).cell_bonds
        return [sum(bond[1] == k for bond in bonds) for k in range(lattice.n_sublattices)]

    def _levels(self, low: float, high: float) -> tuple[float, float]:
        """Numbers below and above all levels in fields between these two numbers."""
        stencil = self._stencil
        assert stencil.coupling is not None
        ends = [offset - stencil.coupling * q for offset in stencil.offsets for q in (low, high)]
        return min(ends) - self._radius, max(ends) + self._radius

    def _octave(self, low: float, high: float) -> int:
        """The power of 2, in units of kT, that no level is farther from μ than."""
        bottom, top = self._levels(low, high)
        mu = self._model.solver.mu
        # At fixed filling μ lies anywhere between them.
        width = top - bottom if mu is None else max(abs(mu - bottom), abs(top - mu))
        # A field that is not finite is found by the programs, with any poles.
        in_kT = width / self._model.solver.kT
        return math.ceil(math.log2(max(in_kT, 1.0))) if math.isfinite(width) else 0

    def _schedule(self, octave: int) -> tuple[Pole, ...]:
        if octave not in self._schedules:
            self._schedules[octave] = self._model.poles(self._model.solver.kT * 2.0**octave)
        return self._schedules[octave]

    def _programs(self, stencil: Stencil, dtype: torch.dtype, compiled: bool) -> DensityForces:
        model = self._model.hamiltonian
        # Only the bonds of a cell matter, and listing all bonds of a large lattice takes seconds.
        lattice = _small(model.lattice)
        return DensityForces(stencil, lattice, model.stiffness, self._model.kinds, dtype, compiled)

    def _compare(self, field: Tensor, octave: int) -> None:
        """Compare float32 with float64 in a part of the first field, once."""
        if self._is_compared or field.dtype != torch.float32 or not torch.isfinite(field).all():
            return
        stencil, mu = self._stencil, self._model.solver.mu
        part = part_of(field[0], self._model.hamiltonian.lattice)
        small = replace(stencil, extent=part_extent(stencil.extent), index={})
        if mu is None:
            mu = sum(self._levels(float(part.min()), float(part.max()))) / 2
        schedule, single, double = self._schedule(octave), torch.empty_like(part), part.double()
        exact = torch.empty_like(double)
        self.programs(field)  # finds out whether there is compiled code
        compiled = self._compiled and field.device.type == "cpu"
        self._programs(small, part.dtype, compiled)(part, single, mu, schedule)
        self._programs(small, exact.dtype, False)(double, exact, mu, schedule)
        assert stencil.coupling is not None
        error = float((single - exact).abs().max() / abs(stencil.coupling))
        # Rounding of the classical force, which may be large, is not an error of the electrons.
        check_rounding(error, ROUNDING + 1e-6 * float(exact.abs().max() / abs(stencil.coupling)))
        self._is_compared = True


class _Trial:
    """Number of electrons at a chemical potential; leaves the forces there behind.

    Args:
        solve: Computes the forces.
        field: The field.
        forces: Where they are.
        count: Number of electrons from the field and the forces.
    """

    def __init__(
        self,
        solve: Callable[[float], None],
        field: Tensor,
        forces: Tensor,
        count: Callable[[Tensor, Tensor], float],
    ) -> None:
        self._solve, self._field, self._forces, self._count = solve, field, forces, count
        self.last: float | None = None

    def __call__(self, mu: float) -> float:
        self._solve(mu)
        self.last = mu
        return self._count(self._field, self._forces)


def _small(lattice: Lattice) -> Lattice:
    """The same lattice with at most 12 cells along each axis."""
    return lattice.with_extent(*(min(n, 12) for n in lattice.extent))


def _largest_radius(stencil: Stencil) -> float:
    """The largest sum of the sizes of hoppings in a row."""
    sums = [0.0] * stencil.n_states
    for key in stencil.keys:
        if not on_diagonal(key):
            # All hoppings are constants where the field couples to the density only.
            real, imaginary = stencil.constants[canonical(key)]
            sums[key[0]] += math.hypot(real or 0.0, imaginary or 0.0)
    return max(sums)
