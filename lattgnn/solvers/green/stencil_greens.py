"""Density elements and energy of translation-invariant Hamiltonians by programs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lattgnn import native
from lattgnn.device_copies import DeviceCopies
from lattgnn.solvers.green.kernels import CompiledSums
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

# With fewer states, dense blocks take less time than compiling a program, even for many fields.
# They also take hardly more time than the thousands of tensor operations of a program. Dense blocks
# with several states per site are larger, so programs are worth compiling at fewer states in the
# same proportion.
_WORTH_A_PROGRAM = 1024
# The elimination of larger blocks takes minutes to write out.
_MOST_STATES = 300
# Programs of more rounds are long. Where more are needed, the rounds should end by themselves.
_MOST_ROUNDS = 8


class StencilGreens:
    """The density matrix and the energy of a Hamiltonian, in float64.

    Args:
        hamiltonian: The model.
        stencil: Its stencil.
        kinds: Block and rounds of all poles.
        dtype: Of the computation; float32 is for tests.
        compiled: Whether to use compiled code, for the CPU; otherwise tensor operations do the same
            on any device.
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
        on_diagonal_of_matrix = torch.nonzero(hamiltonian.rows == hamiltonian.cols)[:, 0]
        self._diagonal = DeviceCopies(on_diagonal_of_matrix)
        self._transposed = DeviceCopies(transposed_elements(hamiltonian))
        self._positions = {
            key: DeviceCopies(torch.from_numpy(index)) for key, index in stencil.index.items()
        }
        self._compiled = CompiledSums(self.pipelines, dtype) if compiled else None
        self._tensors = None if compiled else TensorSums(self.pipelines, stencil.extent)

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code is used."""
        return self._compiled is not None

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
        traces = sums[torch.tensor(planes, device=sums.device)]
        return traces.double().sum((0, 2)).view(elements.shape[:-1])

    def electrons(self, elements: Tensor) -> Tensor:
        """The trace of a matrix, such as ρ, from its elements."""
        return elements[self._diagonal.on(elements.device)].real.sum()

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
            positions = self._positions[key].on(elements.device)
            # ρ = ½ + the sum over poles.
            half = 0.5 if on_diagonal(key) else 0.0
            parts[:, positions, part] = (plane + half).to(parts.dtype)
        # Each element is known from the blocks of both of its ends.
        return (density + density[:, self._transposed.on(density.device)].conj()) / 2


def usable_stencil(hamiltonian: TightBinding, kinds: Kinds) -> Stencil | None:
    """The stencil of a Hamiltonian if programs can do these kinds of poles, else None."""
    if any(rounds > _MOST_ROUNDS for _, rounds in kinds):
        return None
    stencil = find_stencil(hamiltonian)
    if stencil is None:
        return None
    for block, _ in kinds:
        blocks = stencil_blocks(stencil, block)
        if blocks is None or max(map(len, blocks)) * stencil.n_orbitals > _MOST_STATES:
            return None
    return stencil


def program_greens(
    hamiltonian: TightBinding, device: torch.device, entries: tuple[str, ...]
) -> StencilGreens | None:
    """Programs for a schedule, None where there are none or they do not pay.

    They are compiled for the CPU. On a GPU, and without a compiler, they run as tensor operations.

    Args:
        hamiltonian: The model, hashable.
        device: Where the elements lie.
        entries: Block and rounds of all poles that may come.
    """
    compiled = device.type == "cpu" and native.is_available()
    states_per_site = hamiltonian.n_states // hamiltonian.lattice.n_sites if compiled else 1
    if hamiltonian.n_states * states_per_site < _WORTH_A_PROGRAM:
        return None
    kinds = tuple(dict.fromkeys(map(parse_entry, entries)))
    return stencil_greens(hamiltonian, kinds, compiled)


# Depends on the model and the kinds of poles alone, so every step of a trajectory uses the same.
@model_cache(4)
def stencil_greens(hamiltonian: TightBinding, kinds: Kinds, compiled: bool) -> StencilGreens | None:
    """Programs for a Hamiltonian, None where there are none."""
    stencil = usable_stencil(hamiltonian, kinds)
    if stencil is None or not stencil.index:
        return None
    try:
        return StencilGreens(hamiltonian, stencil, kinds, compiled=compiled)
    except RuntimeError:  # it did not compile, which `native` has told
        return StencilGreens(hamiltonian, stencil, kinds, compiled=False)
