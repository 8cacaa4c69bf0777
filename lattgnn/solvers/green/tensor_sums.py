"""Sums over poles as tensor operations: on a GPU, and on machines without a compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import torch
from torch import Tensor

from lattgnn.device_copies import DeviceCopies
from lattgnn.solvers.green.pipelines import Input, Pipelines
from lattgnn.solvers.green.stages import ACCUMULATOR, Stage
from lattgnn.solvers.green.straight_line import REGISTER_ARGS, Op

# Numbers in a tensor of several poles. On a CPU larger ones leave the cache; a GPU needs many
# numbers to be busy.
_MOST_NUMBERS, _MOST_NUMBERS_ON_GPU = 2**16, 2**22


class TensorSums:
    """The same results as `CompiledSums` to rounding, by one tensor operation for each operation.

    Poles with the same programs are computed together, as far as memory allows.

    Args:
        pipelines: The programs.
        extent: Cells along each axis.
    """

    def __init__(self, pipelines: Pipelines, extent: tuple[int, ...]) -> None:
        self._stages, self._extent = pipelines.stages, extent
        self._n_out = len(pipelines.results)
        # Positions of the cells by the identity of their array, which lives as long as the stencil.
        self._positions: dict[int, DeviceCopies] = {}

    def __call__(
        self, source: Tensor, inputs: Sequence[Input], runs: Sequence[tuple[int, list[float]]]
    ) -> Tensor:
        """Add up all poles.

        Args:
            source: Fields or elements, real, [batch, n].
            inputs: The planes of the input.
            runs: As `Pipelines.runs` gives them.

        Returns:
            The sums, [n_out, batch, n_cells].
        """
        shape = (len(source), *self._extent)
        planes = [self._read(source, one).view(1, *shape) for one in inputs]
        on_cpu = source.device.type == "cpu"
        most = (_MOST_NUMBERS if on_cpu else _MOST_NUMBERS_ON_GPU) // planes[0].numel()
        sums = source.new_zeros(self._n_out, *shape)
        for number, group in groupby(runs, key=itemgetter(0)):
            numbers = [numbers for _, numbers in group]
            parameters = torch.tensor(numbers, dtype=source.dtype, device=source.device)
            # The pole comes before the axes of a plane.
            parameters = parameters.view(*parameters.shape, *(1 for _ in shape)).transpose(0, 1)
            for some in parameters.split(max(most, 1), dim=1):
                for total, values in zip(sums, self._outputs(number, some, planes), strict=True):
                    # One after the other: the sum does not depend on which poles are together.
                    for value in values.expand(some.shape[1], *shape):
                        total += value
        return sums.flatten(2)

    def _read(self, source: Tensor, one: Input) -> Tensor:
        if one.index is None:
            numbers = source[:, one.first :: one.step]
        else:
            if id(one.index) not in self._positions:
                self._positions[id(one.index)] = DeviceCopies(torch.from_numpy(one.index))
            position = self._positions[id(one.index)].on(source.device)
            numbers = source[:, one.first + one.step * position]
        return one.scale * numbers + one.shift

    def _outputs(self, number: int, parameters: Tensor, planes: list[Tensor]) -> list[Tensor]:
        """The results of a pipeline for some poles, whose sum has not begun."""
        arrays, zero = {0: planes}, torch.zeros_like(planes[0])
        arrays[ACCUMULATOR] = [zero] * self._n_out
        for k, stage in enumerate(self._stages[number], 1):
            arrays[k] = _run(stage, arrays, parameters)
        return arrays[len(self._stages[number])]


def _run(stage: Stage, arrays: Mapping[int, Sequence[Tensor]], parameters: Tensor) -> list[Tensor]:
    """The outputs of a program."""
    ops, outputs = stage.program.ops, stage.program.outputs
    last = dict.fromkeys(outputs, len(ops))
    for k in range(len(ops) - 1, -1, -1):
        for register in ops[k].args if ops[k].name in REGISTER_ARGS else ():
            last.setdefault(register, k)
    values: dict[int, Tensor] = {}
    for k, op in enumerate(ops):
        values[k] = _value(op, values, arrays, parameters)
        # Free what is no longer needed: programs have thousands of registers.
        for register in op.args if op.name in REGISTER_ARGS else ():
            if last[register] == k:
                values.pop(register, None)
    return [values[register] for register in outputs]


def _value(
    op: Op,
    values: Mapping[int, Tensor],
    arrays: Mapping[int, Sequence[Tensor]],
    parameters: Tensor,
) -> Tensor:
    """The result of one operation."""
    if op.name == "load":
        array, plane, offset = op.args
        plane = arrays[array][plane]
        if not any(offset) or plane.ndim < len(offset):  # the latter is a constant
            return plane
        axes = tuple(range(-len(offset), 0))
        return torch.roll(plane, tuple(-n for n in offset), axes)
    if op.name == "parameter":
        return parameters[op.args[0]]
    if op.name == "constant":
        return parameters.new_full((), op.args[0])
    args = [values[register] for register in op.args]
    if op.name == "fma":
        return torch.addcmul(*args)
    if op.name == "fnma":
        return torch.addcmul(*args, value=-1)
    functions = {"add": torch.add, "sub": torch.sub, "mul": torch.mul}
    return args[0].reciprocal() if op.name == "reciprocal" else functions[op.name](*args)
