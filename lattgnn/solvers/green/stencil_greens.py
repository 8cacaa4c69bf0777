"""Density elements, energy and forces of translation-invariant Hamiltonians by programs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lattgnn import native
from lattgnn.lattice import Lattice
from lattgnn.solvers.green.kernels import CompiledSums, Request
from lattgnn.solvers.green.pipelines import Pipelines
from lattgnn.solvers.green.schedule import Block, Pole, parse_entry
from lattgnn.solvers.green.stages import TRACE, density_results
from lattgnn.solvers.green.stencil import Stencil, find_stencil, on_diagonal
from lattgnn.solvers.green.stencil_blocks import stencil_blocks
from lattgnn.solvers.green.tensor_sums import TensorSums
from lattgnn.solvers.model_cache import model_cache
from lattgnn.solvers.solver import TightBinding
from lattgnn.solvers.subsystems import transposed_elements

Kinds = tuple[tuple[Block, int], ...]
"""Block and rounds of messages of all poles that may come."""

# With fewer states, dense blocks take less time than a compiler for a good number of fields.
_WORTH_COMPILING = 1024
# Programs of more rounds are long; where so many are needed, they should end by themselves.
_MOST_ROUNDS = 8


class StencilGreens:
    """The density matrix and the energy of a Hamiltonian, in float64.

    Args:
        hamiltonian: The model.
        stencil: Its stencil.
        kinds: Block and rounds of all poles.
        dtype: Of the computation; float32 is for tests.
        compiled: Whether to use compiled code; otherwise tensor operations do the same.
    """

    def __init__(
        self,
        hamiltonian: TightBinding,
        stencil: Stencil,
        kinds: Kinds,
        dtype: torch.dtype = torch.float64,
        compiled: bool = True,
    ) -> None:
        self._dtype, self._stencil = dtype, stencil
        diagonal = [key for key in stencil.keys if on_diagonal(key)]
        results = [*density_results(stencil, stencil.keys), *((key, TRACE) for key in diagonal)]
        self.pipelines = Pipelines(stencil, kinds, tuple(results))
        self.n_states = hamiltonian.n_states
        self._diagonal = torch.nonzero(hamiltonian.rows == hamiltonian.cols)[:, 0]
        self._transposed = transposed_elements(hamiltonian)
        self._compiled = CompiledSums(self.pipelines, dtype) if compiled else None
        self._tensors = None if compiled else TensorSums(self.pipelines, stencil.extent)

    def density(self, elements: Tensor, mu: float, schedule: Sequence[Pole]) -> Tensor:
        """The elements ρ[cols, rows] at the pattern of H.

        Args:
            elements: Elements of H in one field or several, [..., nnz].
            mu: Chemical potential.
            schedule: The poles.
        """
        flat = elements.reshape(-1, elements.shape[-1])
        sums = self._sums(flat, mu, schedule, (1.0, 0.0))
        return self._elements(sums, flat).view_as(elements)

    def energy(self, elements: Tensor, mu: float, schedule: Sequence[Pole]) -> Tensor:
        """Im Σ_p weight_p Tr G(i frequency_p + μ), [...]; arguments as for `density`."""
        flat = elements.reshape(-1, elements.shape[-1])
        sums = self._sums(flat, mu, schedule, (0.0, 1.0))
        planes = [k for k, (_, part) in enumerate(self.pipelines.results) if part == TRACE]
        return sums[planes].double().sum((0, 2)).view(elements.shape[:-1])

    def electrons(self, elements: Tensor) -> Tensor:
        """The trace of a matrix, such as ρ, from its elements."""
        return elements[self._diagonal].real.sum()

    def _sums(
        self, elements: Tensor, mu: float, schedule: Sequence[Pole], weights: tuple[float, float]
    ) -> Tensor:
        """The accumulators, [plane, batch, cell]."""
        inputs = self.pipelines.element_inputs(mu, elements.is_complex())
        runs, n_out = self.pipelines.runs(schedule, mu, weights), len(self.pipelines.results)
        real = torch.view_as_real(elements).flatten(1) if elements.is_complex() else elements
        source = real.to(self._dtype).contiguous()
        if self._compiled is None:
            assert self._tensors is not None
            return self._tensors(source, inputs, runs)
        out = source.new_empty(len(source), n_out, self._stencil.n_cells)
        request = self._compiled.request(self._stencil.extent, inputs, runs, n_out, False)
        self._compiled(source, out, request)
        return out.transpose(0, 1)

    def _elements(self, sums: Tensor, elements: Tensor) -> Tensor:
        """The planes of the sums as a list of elements."""
        density = torch.zeros_like(elements)
        parts = torch.view_as_real(density) if elements.is_complex() else density[..., None]
        for plane, (key, part) in zip(sums, self.pipelines.results, strict=True):
            if part == TRACE:
                continue
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
        stencil: The Hamiltonian, with a `coupling`.
        lattice: The lattice.
        stiffness: k0 and k1.
        kinds: Block and rounds of all poles.
        dtype: float32 or float64.
    """

    def __init__(
        self,
        stencil: Stencil,
        lattice: Lattice,
        stiffness: tuple[float, float],
        kinds: Kinds,
        dtype: torch.dtype,
    ) -> None:
        zero = (0,) * len(stencil.extent)
        diagonal = [(state, state, zero) for state in range(stencil.n_states)]
        results = tuple(density_results(stencil, diagonal))
        self.pipelines = Pipelines(stencil, kinds, results, lattice)
        self._stencil, self._stiffness = stencil, stiffness
        self._compiled = CompiledSums(self.pipelines, dtype)
        self._requests: dict[tuple, Request] = {}

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
        request = self._requests.get((mu, schedule))
        if request is None:
            if len(self._requests) > 8:
                self._requests.clear()
            request = self._requests[mu, schedule] = self._request(mu, schedule)
        return self._compiled(field, out, request)

    def _request(self, mu: float, schedule: tuple[Pole, ...]) -> Request:
        pipelines, stencil = self.pipelines, self._stencil
        assert stencil.coupling is not None
        inputs = [*pipelines.field_inputs(mu), *pipelines.raw_inputs()]
        runs = pipelines.runs(schedule, mu, (stencil.coupling, 0.0), self._stiffness)
        return self._compiled.request(stencil.extent, inputs, runs, stencil.n_states, True)


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


def compiled_greens(
    hamiltonian: TightBinding, device: torch.device, entries: tuple[str, ...]
) -> StencilGreens | None:
    """Compiled programs for a schedule, None where there are none or they do not pay.

    Args:
        hamiltonian: The model, hashable.
        device: Where the elements lie.
        entries: Block and rounds of all poles that may come.
    """
    if device.type != "cpu" or hamiltonian.n_states < _WORTH_COMPILING:
        return None
    return stencil_greens(hamiltonian, tuple(dict.fromkeys(map(parse_entry, entries))))


# Depends on the model and the kinds of poles alone, so every step of a trajectory uses the same.
@model_cache(4)
def stencil_greens(hamiltonian: TightBinding, kinds: Kinds) -> StencilGreens | None:
    """Compiled programs for a Hamiltonian, None where there are none."""
    stencil = usable_stencil(hamiltonian, kinds)
    if stencil is None or not stencil.index:
        return None
    try:
        return StencilGreens(hamiltonian, stencil, kinds)
    except RuntimeError:  # it did not compile, which `native` has told
        return None
