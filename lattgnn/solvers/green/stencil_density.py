"""Density elements and forces of translation-invariant Hamiltonians by programs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from lattgnn import native
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.solvers.green.kernels import CompiledSums
from lattgnn.solvers.green.pipelines import Pipelines
from lattgnn.solvers.green.schedule import Block, Pole
from lattgnn.solvers.green.stencil import Stencil, find_stencil, on_diagonal
from lattgnn.solvers.green.stencil_blocks import stencil_blocks
from lattgnn.solvers.green.tensor_sums import TensorSums
from lattgnn.solvers.solver import TightBinding
from lattgnn.solvers.subsystems import transposed_elements

Kinds = tuple[tuple[Block, int], ...]
"""Block and rounds of messages of all poles that may come."""

# Programs of more rounds are long; where so many are needed, they should end by themselves.
_MOST_ROUNDS = 8


class StencilDensity:
    """The density matrix at the pattern of a Hamiltonian.

    Args:
        hamiltonian: The model.
        stencil: Its stencil.
        kinds: Block and rounds of all poles.
        dtype: Of the computation, float32 or float64.
        compiled: Whether to use compiled code; otherwise tensor operations do the same.
    """

    def __init__(
        self,
        hamiltonian: TightBinding,
        stencil: Stencil,
        kinds: Kinds,
        dtype: torch.dtype,
        compiled: bool = True,
    ) -> None:
        self.dtype, self._stencil = dtype, stencil
        self.pipelines = Pipelines(stencil, kinds, stencil.keys)
        self._transposed = transposed_elements(hamiltonian)
        self._compiled = CompiledSums(self.pipelines, dtype) if compiled else None
        self._tensors = None if compiled else TensorSums(self.pipelines, stencil.extent)

    def __call__(self, elements: Tensor, mu: float, schedule: Sequence[Pole]) -> Tensor:
        """Density elements ρ[cols, rows].

        Args:
            elements: Elements of H in each field, [batch, nnz].
            mu: Chemical potential.
            schedule: The poles.

        Returns:
            Like the elements.
        """
        inputs = self.pipelines.element_inputs(mu, elements.is_complex())
        runs, n_out = self.pipelines.runs(schedule, mu), len(self.pipelines.planes)
        real = torch.view_as_real(elements).flatten(1) if elements.is_complex() else elements
        source = real.to(self.dtype).contiguous()
        if self._compiled is None:
            assert self._tensors is not None
            sums = self._tensors(source, inputs, runs)
        else:
            out = source.new_empty(len(source), n_out, self._stencil.n_cells)
            request = self._compiled.request(self._stencil.extent, inputs, runs, n_out, False)
            self._compiled(source, out, request)
            sums = out.transpose(0, 1)
        return self._elements(sums, elements)

    def _elements(self, sums: Tensor, elements: Tensor) -> Tensor:
        """The planes of the sums as a list of elements."""
        density = torch.zeros_like(elements)
        parts = torch.view_as_real(density) if elements.is_complex() else density[..., None]
        for plane, (key, part) in zip(sums, self.pipelines.planes, strict=True):
            positions = torch.from_numpy(self._stencil.index[key]).to(elements.device)
            # ρ = ½ + the sum over poles.
            half = 0.5 if on_diagonal(key) else 0.0
            parts[:, positions, part] = (plane + half).to(parts.dtype)
        # Each element is known from the blocks of both of its ends.
        return (density + density[:, self._transposed.to(density.device)].conj()) / 2


class DensityForces:
    """Total forces of a model whose field couples to the density, by compiled programs.

    F_i = g (n_i − ½) − k0 φ_i − k1 Σ_{j nn i} φ_j

    Args:
        hamiltonian: The model, with `field_type.density_coupling` and `stiffness`.
        stencil: Its stencil, with a `coupling`.
        kinds: Block and rounds of all poles.
        dtype: float32 or float64.
    """

    def __init__(
        self, hamiltonian: Hamiltonian, stencil: Stencil, kinds: Kinds, dtype: torch.dtype
    ) -> None:
        zero = (0,) * len(stencil.extent)
        elements = tuple((state, state, zero) for state in range(stencil.n_states))
        self._pipelines = Pipelines(stencil, kinds, elements, hamiltonian.lattice)
        self._stencil, self._stiffness = stencil, cast(tuple[float, float], hamiltonian.stiffness)
        self._compiled = CompiledSums(self._pipelines, dtype)
        self._request = lru_cache(maxsize=4)(self._make_request)

    def __call__(self, field: Tensor, out: Tensor, mu: float, schedule: tuple[Pole, ...]) -> bool:
        """Compute the forces.

        Args:
            field: Contiguous fields on the CPU, [batch, n_sites].
            out: Receives the forces, likewise.
            mu: Chemical potential.
            schedule: The poles.

        Returns:
            Whether all fields are finite.
        """
        return self._compiled(field, out, self._request(mu, schedule))

    def _make_request(self, mu: float, schedule: tuple[Pole, ...]):
        pipelines, stencil = self._pipelines, self._stencil
        assert stencil.coupling is not None
        inputs = [*pipelines.field_inputs(mu), *pipelines.raw_inputs()]
        runs = pipelines.runs(schedule, mu, stencil.coupling, self._stiffness)
        return self._compiled.request(stencil.extent, inputs, runs, stencil.n_states, True)


@lru_cache(maxsize=4)
def usable_stencil(hamiltonian: TightBinding, kinds: Kinds) -> Stencil | None:
    """The stencil of a Hamiltonian if programs can do these kinds of poles, and are compiled."""
    if native.compiler() is None or native.is_switched_off():
        return None
    if any(rounds > _MOST_ROUNDS for _, rounds in kinds):
        return None
    stencil = find_stencil(hamiltonian)
    if stencil is None or any(stencil_blocks(stencil, block) is None for block, _ in kinds):
        return None
    return stencil
