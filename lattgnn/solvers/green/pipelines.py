"""The programs of a schedule, and the numbers that they need when they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lattgnn.lattice import Lattice
from lattgnn.solvers.green.mean_poles import MeanPoles
from lattgnn.solvers.green.program import PoleProgram
from lattgnn.solvers.green.schedule import Block, Pole
from lattgnn.solvers.green.stages import Parameters, Result, Stage
from lattgnn.solvers.green.stencil import Stencil, on_diagonal
from lattgnn.solvers.green.stencil_blocks import stencil_blocks

# Poles with the block "mean" that one program works on. They are so cheap that reading and writing
# the sums takes as long as a pole.
_MEAN_TOGETHER = 2


@dataclass(frozen=True, eq=False)
class Input:
    """A plane of the input: scale · source[first + step · position] + shift for each cell.

    Attributes:
        index: Position of each cell, int64 [n_cells]; None if it is the number of the cell.
        first: Where the numbers begin in the source.
        step: Distance of two positions in the source.
        scale: Factor.
        shift: What is added.
    """

    index: np.ndarray | None
    first: int
    step: int
    scale: float
    shift: float


@dataclass(frozen=True, eq=False)
class Pipelines:
    """The programs for all poles of a schedule.

    Pipeline 0 sets the accumulator: classical forces, and the first poles with the block "mean".
    Pipeline 1 adds further poles of this kind. There is one more for each other kind of pole.

    Attributes:
        stencil: The Hamiltonian.
        kinds: Block and rounds of all poles that may come.
        results: What is wanted, as for `PoleProgram`: the planes of the accumulator.
        classical: As for `MeanPoles`.
    """

    stencil: Stencil
    kinds: tuple[tuple[Block, int], ...]
    results: tuple[Result, ...]
    classical: Lattice | None = None

    @cached_property
    def _numbers(self) -> dict[tuple[Block, int], int]:
        """The pipeline of each kind of pole but "mean"."""
        kinds = dict.fromkeys(kind for kind in self.kinds if kind[0].kind != "mean")
        return {kind: number for number, kind in enumerate(kinds, 2)}

    @cached_property
    def _n_mean(self) -> int:
        """Poles with the block "mean" that one program works on."""
        return _MEAN_TOGETHER if any(block.kind == "mean" for block, _ in self.kinds) else 0

    @cached_property
    def stages(self) -> list[list[Stage]]:
        """The stages of each pipeline.

        Raises:
            InputError: If the lattice is too small for a block.
        """
        mean = MeanPoles(self.stencil, self.results, self._n_mean, self.classical)
        found = [[mean.stage(is_start=True)], [mean.stage(is_start=False)]]
        for block, rounds in self._numbers:
            blocks = stencil_blocks(self.stencil, block)
            assert blocks is not None, "the lattice must be large enough for the block"
            found.append(PoleProgram(self.stencil, blocks, rounds, self.results).stages)
        return found

    @property
    def n_operations(self) -> int:
        """Arithmetic operations of all programs; those that pipelines share count once."""
        programs = {stage.program for stages in self.stages for stage in stages}
        return sum(program.cost for program in programs)

    @property
    def n_parameters(self) -> int:
        """Numbers that each program is given."""
        return Parameters(self.stencil.n_states).count(self._n_mean)

    def runs(
        self,
        schedule: Sequence[Pole],
        mu: float,
        weights: tuple[float, float] = (1.0, 0.0),
        stiffness: tuple[float, float] = (0.0, 0.0),
    ) -> list[tuple[int, list[float]]]:
        """What is to be done: number of the pipeline and its parameters.

        Args:
            schedule: The poles.
            mu: Chemical potential.
            weights: Factors of the weights of the poles, for G and for the trace.
            stiffness: k0 and k1, for `classical`.
        """
        diagonal = [(mu - energy) / self.stencil.unit for energy in self.stencil.diagonal]
        mean = [pole for pole in schedule if pole.block.kind == "mean"]
        first, rest = mean[: self._n_mean], mean[self._n_mean :]
        found = [(0, [*diagonal, *self._of_mean(first, weights), *stiffness])]
        while rest:
            some, rest = rest[: self._n_mean], rest[self._n_mean :]
            found.append((1, [*diagonal, *self._of_mean(some, weights), 0.0, 0.0]))
        for pole in schedule:
            if pole.block.kind != "mean":
                number = self._numbers[pole.block, pole.rounds]
                found.append((number, [*diagonal, *self._of_pole(pole, weights)]))
        return found

    def _of_mean(self, poles: Sequence[Pole], weights: tuple[float, float]) -> list[float]:
        # A place without a pole has the weight 0.
        values = [0.0] * 4 if self._n_mean == 0 else []
        for pole in poles:
            values += self._of_pole(pole, weights)
        return values + [1.0, 1.0, 0.0, 0.0] * (self._n_mean - len(poles))

    def _of_pole(self, pole: Pole, weights: tuple[float, float]) -> list[float]:
        unit = self.stencil.unit
        # Programs give the inverse of A, which is unit · G.
        factors = [weight * pole.weight / unit for weight in weights]
        return [pole.frequency / unit, unit / pole.frequency, *factors]

    def field_inputs(self, mu: float) -> list[Input]:
        """The planes (μ − H_ii) / unit from a field that couples to the density."""
        stencil = self.stencil
        assert stencil.coupling is not None
        n, scale = stencil.n_states, stencil.coupling / stencil.unit
        shifts = [(mu - offset) / stencil.unit for offset in stencil.offsets]
        return [Input(None, state, n, scale, shifts[state]) for state in range(n)]

    def raw_inputs(self) -> list[Input]:
        """The planes of the field itself."""
        n = self.stencil.n_states
        return [Input(None, state, n, 1.0, 0.0) for state in range(n)]

    def element_inputs(self, mu: float, is_complex: bool) -> list[Input]:
        """The planes (μ − H) / unit from the list of all elements, with μ on the diagonal only."""
        unit, step = self.stencil.unit, 2 if is_complex else 1
        found = []
        for key, part in self.stencil.planes:
            shift = mu / unit if on_diagonal(key) and part == 0 else 0.0
            found.append(Input(self.stencil.index[key], part, step, -1 / unit, shift))
        return found

    @property
    def key(self) -> str:
        """Everything that the programs depend on."""
        stencil = self.stencil
        constants = sorted(stencil.constants.items())
        size = (len(stencil.extent), stencil.n_sublattices, stencil.n_orbitals)
        kinds = [(str(block), rounds) for block, rounds in self._numbers]
        cell = None if self.classical is None else self.classical.cell
        return repr((size, stencil.keys, constants, self.results, kinds, self._n_mean, cell))
