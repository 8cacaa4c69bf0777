"""Forces of a `GreenFunction` in one pass of compiled code, without density matrix and energy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lattgnn.solvers.green.schedule import Pole
from lattgnn.solvers.green.stencil import Stencil, canonical, on_diagonal
from lattgnn.solvers.green.stencil_greens import DensityForces, Kinds
from lattgnn.solvers.solver import bounds_of_all

Schedules = Callable[[float], tuple[Pole, ...]]
"""Gives the poles for the largest distance of a level from μ."""


class FastForces:
    """Total forces F_i = g (n_i − ½) − k0 φ_i − k1 Σ_{j nn i} φ_j at fixed μ, on the CPU.

    They are computed in the dtype of the field. In float32 the rounding errors of a density are
    about 1e-7.

    Args:
        hamiltonian: The model, whose field couples to the density.
        stencil: Its stencil.
        kinds: Block and rounds of all poles.
        kT: Temperature of the electrons.
        mu: Chemical potential.
        schedule: Gives the poles.
    """

    def __init__(
        self,
        hamiltonian: Any,
        stencil: Stencil,
        kinds: Kinds,
        kT: float,
        mu: float,
        schedule: Schedules,
    ) -> None:
        self._model, self._stencil, self._kinds = hamiltonian, stencil, kinds
        self._kT, self._mu, self._poles = kT, mu, schedule
        self._by_dtype: dict[torch.dtype, DensityForces] = {}
        self._schedules: dict[int, tuple[Pole, ...]] = {}
        self._radius = _largest_radius(stencil)

    def programs(self, dtype: torch.dtype) -> DensityForces:
        """The programs of a dtype, which are compiled at their first use."""
        if dtype not in self._by_dtype:
            model, stencil = self._model, self._stencil
            programs = DensityForces(stencil, model.lattice, model.stiffness, self._kinds, dtype)
            self._by_dtype[dtype] = programs
        return self._by_dtype[dtype]

    def __call__(self, field: Tensor, out: Tensor) -> None:
        """Write the forces to `out`.

        Args:
            field: Contiguous fields, float32 or float64, [batch, n_sites].
            out: Tensor like the field.

        Raises:
            InputError: If the field is not finite.
        """
        programs = self.programs(field.dtype)
        low, high = bounds_of_all(self._model, *(t.tolist() for t in torch.aminmax(field, dim=1)))
        octaves = [self._octave(a, b) for a, b in zip(low, high, strict=True)]
        # Poles depend on the range of a field, so fields of equal range are solved together; no
        # result depends on the rest of the batch.
        start = 0
        for k in range(1, len(octaves) + 1):
            if k == len(octaves) or octaves[k] != octaves[start]:
                schedule = self._schedule(octaves[start])
                if not programs(field[start:k], out[start:k], self._mu, schedule):
                    self._model.check_field(field)
                start = k

    def _octave(self, low: float, high: float) -> int:
        """The power of 2, in units of kT, that no level is farther from μ than."""
        stencil = self._stencil
        assert stencil.coupling is not None
        ends = [offset - stencil.coupling * q for offset in stencil.offsets for q in (low, high)]
        width = max(abs(self._mu - end) for end in ends) + self._radius
        # A field that is not finite is found by the programs, with any poles.
        return math.ceil(math.log2(max(width / self._kT, 1.0))) if math.isfinite(width) else 0

    def _schedule(self, octave: int) -> tuple[Pole, ...]:
        if octave not in self._schedules:
            self._schedules[octave] = self._poles(self._kT * 2.0**octave)
        return self._schedules[octave]


def _largest_radius(stencil: Stencil) -> float:
    """The largest sum of the sizes of hoppings in a row."""
    sums = [0.0] * stencil.n_states
    for key in stencil.keys:
        if not on_diagonal(key):
            # All hoppings are constants where the field couples to the density only.
            real, imaginary = stencil.constants[canonical(key)]
            sums[key[0]] += math.hypot(real or 0.0, imaginary or 0.0)
    return max(sums)
