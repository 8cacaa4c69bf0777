"""Forces of any model from densities by programs in the dtype of the field, without an energy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lattgnn import native
from lattgnn.solvers.green.one_field import CHEAP_ENTRIES, OneField, spectrum_bounds
from lattgnn.solvers.green.rounding import ROUNDING, check_rounding, model_of_part, part_of
from lattgnn.solvers.green.schedule import parse_entry
from lattgnn.solvers.green.stencil import Stencil, find_stencil
from lattgnn.solvers.green.stencil_greens import Kinds, StencilGreens, usable_stencil
from lattgnn.solvers.solver import Solver

# In float32 the search for μ ends within this many electrons per state, which is about the
# size of the rounding errors of a density.
_ELECTRONS, _ELECTRONS_PER_STATE = 1e-8, 1e-7


class ElementForces:
    """Total forces F = −Re Tr[ρ ∂H/∂φ] − ∂(E_background + E_classical)/∂φ.

    Programs give ρ, and autograd differentiates the matrix elements. Everything is done in the
    dtype of the field. The first call in float32 compares a part of the field with float64.

    Args:
        hamiltonian: The model, periodic along all axes.
        solver: Temperature and ensemble.
        entries: The entries of the schedule.
        tolerance: The fits err by at most a tenth of it.
    """

    def __init__(
        self, hamiltonian: Any, solver: Solver, entries: tuple[str, ...], tolerance: float
    ) -> None:
        self._model, self._solver = hamiltonian, solver
        self._entries, self._tolerance = entries, tolerance
        all_entries = entries if solver.filling is None else (*CHEAP_ENTRIES, *entries)
        self._kinds: Kinds = tuple(dict.fromkeys(map(parse_entry, all_entries)))
        self._compiled = native.is_available()
        self._known: dict[tuple[torch.dtype, bool], StencilGreens] = {}
        self._is_compared = False

    @staticmethod
    def is_possible(hamiltonian: Any, entries: tuple[str, ...]) -> bool:
        """Whether programs can do this."""
        kinds = tuple(dict.fromkeys(map(parse_entry, (*CHEAP_ENTRIES, *entries))))
        stencil = usable_stencil(hamiltonian, kinds)
        return stencil is not None and bool(stencil.index)

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code is used."""
        return self._compiled

    def programs(self, dtype: torch.dtype, on_cpu: bool) -> StencilGreens:
        """The programs for fields of a dtype, compiled at their first use on the CPU."""
        if (dtype, on_cpu) not in self._known:
            stencil = find_stencil(self._model)
            assert stencil is not None  # see `is_possible`
            self._known[dtype, on_cpu] = self._programs(self._model, stencil, dtype, on_cpu)
        return self._known[dtype, on_cpu]

    def _programs(
        self, model: Any, stencil: Stencil, dtype: torch.dtype, on_cpu: bool
    ) -> StencilGreens:
        try:
            return StencilGreens(model, stencil, self._kinds, dtype, self._compiled and on_cpu)
        except RuntimeError:  # it did not compile, which a line in the log has told
            self._compiled = False
            return StencilGreens(model, stencil, self._kinds, dtype, False)

    def __call__(self, field: Tensor, out: Tensor, guess: Tensor | None = None) -> Tensor:
        """Write the forces to `out`.

        Args:
            field: Contiguous fields, float32 or float64, [batch, *field_shape].
            out: Tensor like the field.
            guess: μ of each field, where the search begins at fixed filling, [batch].

        Returns:
            μ of each field, float64 [batch].

        Raises:
            InputError: If the field is not finite, or float32 is not accurate enough for it.
        """
        model = self._model
        model.check_field(field)
        self._compare(field)
        greens = self.programs(field.dtype, field.device.type == "cpu")
        # Inference mode has no autograd.
        with torch.inference_mode(False), torch.enable_grad():
            leaf = field.detach().clone().requires_grad_()
            elements = model.elements(leaf)
            found = self._densities(greens, elements.detach(), guess)
            density = torch.stack([one for _, one in found])
            energy = (density * elements).real.sum() + model.background_energy(leaf).sum()
            (gradient,) = torch.autograd.grad(energy, leaf)
            forces = model.classical_forces(leaf.detach()) - gradient
        out.copy_(forces)
        return torch.tensor([mu for mu, _ in found], dtype=torch.float64)

    @torch.no_grad()
    def _densities(
        self, greens: StencilGreens, elements: Tensor, guess: Tensor | None
    ) -> list[tuple[float, Tensor]]:
        """μ and density elements of each field."""
        guesses = [None] * len(elements) if guess is None else guess.tolist()
        single = elements.real.dtype == torch.float32
        electrons = _ELECTRONS_PER_STATE * self._model.n_states if single else _ELECTRONS
        found = []
        all_bounds = spectrum_bounds(self._model, elements)
        # Field by field, so that no result depends on the rest of the batch.
        for one, bounds, start in zip(elements, all_bounds, guesses, strict=True):
            solver, entries, tolerance = self._solver, self._entries, self._tolerance
            field = OneField(solver, greens, one, bounds, entries, tolerance, False, electrons)
            found.append(field.density(start))
        return found

    @torch.no_grad()
    def _compare(self, field: Tensor) -> None:
        """Compare float32 with float64 in a part of the first field, once."""
        if self._is_compared or field.dtype != torch.float32:
            return
        self._is_compared = True
        model = model_of_part(self._model)
        stencil = None if model is None else find_stencil(model)
        if model is None or stencil is None:
            return
        part, on_cpu = part_of(field[0], self._model.lattice), field.device.type == "cpu"
        bounds = spectrum_bounds(model, model.elements(part.double()))[0]
        mu = sum(bounds) / 2 if self._solver.mu is None else self._solver.mu
        found = []
        for numbers, compiled in ((part, on_cpu), (part.double(), False)):
            greens = self._programs(model, stencil, numbers.dtype, compiled)
            solver, entries, tolerance = self._solver, self._entries, self._tolerance
            elements = model.elements(numbers)[0]
            one = OneField(solver, greens, elements, bounds, entries, tolerance, False)
            found.append(one.density_at(mu))
        check_rounding(float((found[0] - found[1]).abs().max()), ROUNDING)
