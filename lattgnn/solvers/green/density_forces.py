"""Total forces of a model whose field couples to the density, by programs."""

from __future__ import annotations

import torch
from torch import Tensor

from lattgnn.lattice import Lattice
from lattgnn.solvers.green.kernels import CompiledSums, Request
from lattgnn.solvers.green.pipelines import Pipelines
from lattgnn.solvers.green.schedule import Pole
from lattgnn.solvers.green.stages import density_results
from lattgnn.solvers.green.stencil import Stencil
from lattgnn.solvers.green.stencil_greens import Kinds
from lattgnn.solvers.green.tensor_sums import TensorSums


class DensityForces:
    """Forces F_i = g (n_i − ½) − k0 φ_i − k1 Σ_{j nn i} φ_j.

    Args:
        stencil: The Hamiltonian, with a `coupling`.
        lattice: The lattice.
        stiffness: k0 and k1.
        kinds: Block and rounds of all poles.
        dtype: float32 or float64.
        compiled: Whether to use compiled code, for the CPU; otherwise tensor operations do the same
            on any device.

    Raises:
        RuntimeError: If compiled code is wanted and there is none.
    """

    def __init__(
        self,
        stencil: Stencil,
        lattice: Lattice,
        stiffness: tuple[float, float],
        kinds: Kinds,
        dtype: torch.dtype,
        compiled: bool = True,
    ) -> None:
        zero = (0,) * len(stencil.extent)
        diagonal = [(state, state, zero) for state in range(stencil.n_states)]
        results = tuple(density_results(stencil, diagonal))
        self.pipelines = Pipelines(stencil, kinds, results, lattice)
        self._stencil, self._stiffness = stencil, stiffness
        self._compiled = CompiledSums(self.pipelines, dtype) if compiled else None
        self._tensors = None if compiled else TensorSums(self.pipelines, stencil.extent)
        self._requests: dict[tuple, Request] = {}

    def __call__(self, field: Tensor, out: Tensor, mu: float, schedule: tuple[Pole, ...]) -> bool:
        """Compute the forces.

        Args:
            field: Contiguous fields, [batch, n_sites], for compiled code on the CPU and in the
                dtype of the programs.
            out: Receives the forces, likewise.
            mu: Chemical potential.
            schedule: The poles.

        Returns:
            Whether all fields are finite.
        """
        if self._compiled is None:
            assert self._tensors is not None
            sums = self._tensors(field, *self._inputs_and_runs(mu, schedule))
            out.copy_(sums.permute(1, 2, 0).reshape(out.shape))
            return bool(torch.isfinite(field).all())
        request = self._requests.get((mu, schedule))
        if request is None:
            if len(self._requests) > 8:
                self._requests.clear()
            extent, n_states = self._stencil.extent, self._stencil.n_states
            inputs, runs = self._inputs_and_runs(mu, schedule)
            request = self._compiled.request(extent, inputs, runs, n_states, True)
            self._requests[mu, schedule] = request
        return self._compiled(field, out, request)

    def _inputs_and_runs(self, mu: float, schedule: tuple[Pole, ...]) -> tuple[list, list]:
        """What the programs are given: the planes of the input and the poles."""
        pipelines, stencil = self.pipelines, self._stencil
        assert stencil.coupling is not None
        inputs = [*pipelines.field_inputs(mu), *pipelines.raw_inputs()]
        return inputs, pipelines.runs(schedule, mu, (stencil.coupling, 0.0), self._stiffness)
