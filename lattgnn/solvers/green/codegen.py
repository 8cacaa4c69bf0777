"""Programs as C++ source: a function for each chunk of operations, and tables of the stages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from lattgnn.solvers.green.list_schedule import Instruction, cut_positions, scheduled
from lattgnn.solvers.green.stages import ACCUMULATOR, Stage
from lattgnn.solvers.green.straight_line import REGISTER_ARGS, Op

_FRAME = Path(__file__).parents[2] / "csrc" / "green.h"

# A function of more operations than this does not fit the processor's cache of decoded operations.
_CHUNK = 1500
# Two vectors at once hide the latency of short programs. Long ones would run out of registers.
_TWO_VECTORS = 500

_SIGNATURE = "(const T* const* rows, const T* parameters, T* scratch, T* out, long begin, long end)"
_INFIX = {"add": " + ", "sub": " - ", "mul": " * "}


class _Chunk(NamedTuple):
    """Operations of one function, and the slots of results from before and for later ones."""

    numbers: range
    slots_before: dict[int, int]
    slots_after: dict[int, int]


Row = tuple[int, int, int]
"""Array, and steps along the first two axes."""


def library_source(
    pipelines: Sequence[Sequence[Stage]], n_parameters: int, n_axes: int, double: bool
) -> str:
    """The source of a library with the function `green_run`.

    Args:
        pipelines: Stages of each pipeline. The last one adds to the accumulator.
        n_parameters: Parameters of each pole.
        n_axes: Axes of the lattice.
        double: Whether to compute in float64, otherwise in float32.
    """
    texts, tables, n_slots, reach, most_rows = [], [], 0, 0, 1
    written: dict[tuple, str] = {}
    for p, pipeline in enumerate(pipelines):
        entries = []
        for k, stage in enumerate(pipeline):
            # Pipelines share stages, such as the first rounds of messages.
            kind = (stage.program, k == len(pipeline) - 1)
            if kind not in written:
                written[kind] = f"stage_{p}_{k}"
                source = _StageSource(written[kind], stage, kind[1])
                texts.append(source.text())
                n_slots = max(n_slots, source.n_slots)
            rows = _rows(stage)
            most_rows = max(most_rows, len(rows))
            for low, high in rows.values():
                reach = max(reach, -low, high)
            name = written[kind]
            entries.append(f"{{{name}, {len(stage.program.outputs)}, {len(rows)}, {name}_needs}}")
        tables.append(f"const Stage stages_{p}[] = {{{', '.join(entries)}}};")
    list_of_all = ", ".join(f"{{{len(line)}, stages_{p}}}" for p, line in enumerate(pipelines))
    # A margin of the last stage adds up over the stages. The last two vectors, of 16 numbers each,
    # may reach beyond it.
    n_stages = max(map(len, pipelines))
    pad = -(-(reach * n_stages + 32) // 16) * 16
    # Long rows, because the start of a function costs time too. Where there are three axes, a slab
    # has many rows, which should stay in the cache.
    tile = 64 if n_axes == 3 else 256
    head = [
        f"#define DOUBLE {int(double)}",
        f"typedef {'double' if double else 'float'} T;",
        f"constexpr long TILE = {tile}, PAD = {pad}, N_SCRATCH = {n_slots + 1};",
        f"constexpr int N_PARAMETERS = {n_parameters}, MOST_NEEDS = {most_rows};",
    ]
    end = f"const Pipeline pipelines[] = {{{list_of_all}}};\n}}  // namespace\n"
    frame, entry = _FRAME.read_text(encoding="utf-8").split("// ---- programs ----")
    return "\n".join([*head, frame, "namespace {", *texts, *tables, end, entry])


def _split(offset: Sequence[int]) -> tuple[int, int, int]:
    """An offset along three axes: those of a sweep, of the rows of a slab, and of a row."""
    first = offset[0] if len(offset) > 1 else 0
    return first, (offset[1] if len(offset) > 2 else 0), offset[-1]


def _rows(stage: Stage) -> dict[Row, tuple[int, int]]:
    """The rows that a stage reads, and the range of offsets along each."""
    found: dict[Row, tuple[int, int]] = {}
    for array, _, offset in sorted(stage.program.loads):
        d0, d1, d2 = _split(offset)
        low, high = found.get((array, d0, d1), (0, 0))
        found[array, d0, d1] = min(low, d2), max(high, d2)
    return found


class _StageSource:
    """The functions and the table of one stage.

    Args:
        name: Name of the function.
        stage: The stage.
        is_last: Whether it writes to the accumulator.
    """

    def __init__(self, name: str, stage: Stage, is_last: bool) -> None:
        self.name, self.program = name, stage.program
        self.width = "TILE" if is_last else "WIDTH"
        self.rows = _rows(stage)
        self._row_number = {row: k for k, row in enumerate(self.rows)}
        self.n_slots = 0

    def text(self) -> str:
        """All of it."""
        needs = [
            f"{{{array}, {d0}, {d1}, {low}, {high}}}"
            for (array, d0, d1), (low, high) in self.rows.items()
        ]
        table = f"const Need {self.name}_needs[] = {{{', '.join(needs) or '{}'}}};\n"
        cost = self.program.cost
        if cost > _CHUNK:
            return self._chunks() + table
        n_vectors = 2 if cost <= _TWO_VECTORS else 1
        window = 200 if n_vectors == 2 else 300 if cost < 1000 else 160
        everything = _Chunk(range(len(self.program.ops)), {}, {})
        return self._function(self.name, everything, n_vectors, window) + table

    def _chunks(self) -> str:
        """A function per chunk, and one that calls them. Results in between lie in slots."""
        cuts = cut_positions(self.program.ops, self.program.outputs, _CHUNK)
        chunks = self._with_slots([range(a, b) for a, b in pairwise([0, *cuts])])
        texts = [self._function(f"{self.name}_{k}", c, 1, 80) for k, c in enumerate(chunks)]
        calls = "".join(
            f"        {self.name}_{k}(rows, parameters, scratch, out, x, last);\n"
            for k in range(len(chunks))
        )
        loop = (
            "    for (long x = begin; x < end; x += TILE) {\n"
            f"        const long last = std::min(x + TILE, end);\n{calls}    }}\n"
        )
        return "".join(texts) + f"void {self.name}{_SIGNATURE} {{\n{loop}}}\n"

    def _with_slots(self, ranges: list[range]) -> list[_Chunk]:
        """Chunks, and the slots of the results that pass from one to another."""
        ops = self.program.ops
        last_use: dict[int, int] = {}
        for k, numbers in enumerate(ranges):
            for number in numbers:
                last_use.update(dict.fromkeys(_registers(ops[number]), k))
        slots: dict[int, int] = {}
        free: list[int] = []
        chunks = []
        for k, numbers in enumerate(ranges):
            kept = {}
            for register in numbers:
                if ops[register].name in REGISTER_ARGS and last_use.get(register, -1) > k:
                    if not free:
                        free.append(self.n_slots)
                        self.n_slots += 1
                    kept[register] = free.pop()
            chunks.append(_Chunk(numbers, dict(slots), kept))
            slots.update(kept)
            for register in [r for r in slots if last_use[r] <= k]:
                free.append(slots.pop(register))
        return chunks

    def _function(self, name: str, chunk: _Chunk, n_vectors: int, window: int) -> str:
        """One function, which computes a few vectors at a time."""
        lines = [f"const T* const row{k} = rows[{k}];" for k in range(len(self.rows))]
        for k, op in enumerate(self.program.ops):
            if op.name == "parameter":
                lines.append(f"const V r{k} = splat(parameters[{op.args[0]}]);")
            if op.name == "constant":
                lines.append(f"const V r{k} = splat(T({op.args[0]!r}));")
        head = "".join(f"    {line}\n" for line in lines)
        body = "".join(f"        {line}\n" for line in self._body(chunk, n_vectors, window))
        step = f"x += {n_vectors} * LANES, scratch += {self.n_slots} * LANES"
        return (
            f"__attribute__((noinline)) void {name}{_SIGNATURE} {{\n{head}"
            f"    for (long x = begin; x < end; {step}) {{\n{body}    }}\n}}\n"
        )

    def _body(self, chunk: _Chunk, n_vectors: int, window: int) -> list[str]:
        """The statements of a chunk for its vectors."""
        ops = self.program.ops
        used = {r for number in chunk.numbers for r in _registers(ops[number])}
        outputs: dict[int, list[int]] = {}
        for plane, register in enumerate(self.program.outputs):
            if register in chunk.numbers:
                outputs.setdefault(register, []).append(plane)
        instructions = []
        for register in sorted(used | set(chunk.numbers)):
            op = ops[register]
            if register in chunk.slots_before:
                op = Op("slot", (chunk.slots_before[register],))
            instructions += [Instruction(register, v, op) for v in range(n_vectors)]
        order = scheduled(instructions, window)
        present = {(one.register, one.vector) for one in order}
        order += [
            one
            for one in instructions
            if one.register in outputs and (one.register, one.vector) not in present
        ]
        lines = []
        for one in order:
            name = self._name(one.register, one.vector)
            if one.op.name not in ("parameter", "constant"):
                lines.append(f"const V {name} = {self._value(one)};")
            for plane in outputs.get(one.register, ()):
                place = f"out + {plane} * {self.width} + x + {one.vector} * LANES"
                lines.append(f"store({place}, {name});")
            if one.register in chunk.slots_after:
                place = f"scratch + {chunk.slots_after[one.register]} * LANES"
                lines.append(f"store({place}, {name});")
        return lines

    def _name(self, register: int, vector: int) -> str:
        """The variable of a register; parameters and constants are the same for all vectors."""
        fixed = self.program.ops[register].name in ("parameter", "constant")
        return f"r{register}" if fixed else f"r{register}_{vector}"

    def _value(self, one: Instruction) -> str:
        """The right-hand side of an instruction."""
        op = one.op
        if op.name == "slot":
            return f"load(scratch + {op.args[0]} * LANES)"
        if op.name == "load":
            array, plane, offset = op.args
            d0, d1, d2 = _split(offset)
            width = "TILE" if array == ACCUMULATOR else "WIDTH"
            row = self._row_number[array, d0, d1]
            return f"load(row{row} + {plane} * {width} + x + {one.vector} * LANES + ({d2}))"
        args = [self._name(register, one.vector) for register in op.args]
        if op.name in _INFIX:
            return _INFIX[op.name].join(args)
        return f"{op.name}({', '.join(args)})"


def _registers(op: Op) -> tuple[int, ...]:
    """The registers that an operation reads."""
    return op.args if op.name in REGISTER_ARGS else ()
