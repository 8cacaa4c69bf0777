"""Sums over poles as tensor operations: on a GPU, and on machines without a compiler."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lattgnn.solvers.green.pipelines import Input, Pipelines
from lattgnn.solvers.green.stages import ACCUMULATOR, Stage
from lattgnn.solvers.green.straight_line import REGISTER_ARGS, Op


class TensorSums:
    """The same results as `CompiledSums` to rounding, by one tensor operation for each operation.

    Args:
        pipelines: The programs.
        extent: Cells along each axis.
    """

    def __init__(self, pipelines: Pipelines, extent: tuple[int, ...]) -> None:
        self._stages, self._extent = pipelines.stages, extent

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
        planes = [_read(source, one).view(shape) for one in inputs]
        sums: list[Tensor] = []
        for number, parameters in runs:
            arrays = {0: planes, ACCUMULATOR: sums}
            for k, stage in enumerate(self._stages[number], 1):
                arrays[k] = _run(stage, arrays, parameters, source.new_zeros(shape))
            sums = arrays[len(self._stages[number])]
        return torch.stack(sums).flatten(2)


def _read(source: Tensor, one: Input) -> Tensor:
    if one.index is None:
        numbers = source[:, one.first :: one.step]
    else:
        position = torch.from_numpy(one.index).to(source.device)
        numbers = source[:, one.first + one.step * position]
    return one.scale * numbers + one.shift


def _run(
    stage: Stage, arrays: dict[int, list[Tensor]], parameters: Sequence[float], zero: Tensor
) -> list[Tensor]:
    """The outputs of a program."""
    ops, outputs = stage.program.ops, stage.program.outputs
    last = {register: len(ops) for register in outputs}
    for k in range(len(ops) - 1, -1, -1):
        for register in ops[k].args if ops[k].name in REGISTER_ARGS else ():
            last.setdefault(register, k)
    values: dict[int, Tensor] = {}
    for k, op in enumerate(ops):
        values[k] = _value(op, values, arrays, parameters, zero)
        # Free what is no longer needed: programs have thousands of registers.
        for register in op.args if op.name in REGISTER_ARGS else ():
            if last[register] == k:
                values.pop(register, None)
    return [values[register] for register in outputs]


def _value(
    op: Op,
    values: dict[int, Tensor],
    arrays: dict[int, list[Tensor]],
    parameters: Sequence[float],
    zero: Tensor,
) -> Tensor:
    """The result of one operation."""
    if op.name == "load":
        array, plane, offset = op.args
        axes = tuple(range(1, zero.ndim))
        return torch.roll(arrays[array][plane], tuple(-n for n in offset), axes)
    if op.name == "parameter":
        return zero + parameters[op.args[0]]
    if op.name == "constant":
        return zero + op.args[0]
    args = [values[register] for register in op.args]
    if op.name == "fma":
        return torch.addcmul(*args)
    if op.name == "fnma":
        return torch.addcmul(*args, value=-1)
    functions = {"add": torch.add, "sub": torch.sub, "mul": torch.mul}
    return args[0].reciprocal() if op.name == "reciprocal" else functions[op.name](*args)
