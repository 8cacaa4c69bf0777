"""Orders of operations that keep a processor busy, and cuts into chunks that fit its caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lattgnn.solvers.green.straight_line import REGISTER_ARGS, Op


class Instruction(NamedTuple):
    """An operation on one of the vectors that are computed together."""

    register: int
    vector: int
    op: Op

    @property
    def sources(self) -> list[tuple[int, int]]:
        """Registers and vectors that it reads."""
        args = self.op.args if self.op.name in REGISTER_ARGS else ()
        return [(register, self.vector) for register in args]


_LOADS = ("load", "slot")
_LATENCY = {"reciprocal": 15}
# Cycles that an operation keeps a unit busy: two units for all, but a reciprocal takes four.
_BUSY = {"reciprocal": 1.5}


def scheduled(instructions: Sequence[Instruction], window: int) -> list[Instruction]:
    """Reorder: of those that are ready, first the one with the longest way to the end.

    Args:
        instructions: In an order in which they can be done. Their sources may lie before them all.
        window: Number of next instructions that are looked at. A small one keeps few results
            waiting for their use.

    Returns:
        The same without loads, parameters and constants that nobody uses; loads stand right before
        their first use.
    """
    work = [one for one in instructions if one.op.name in REGISTER_ARGS]
    ready, length = _dependencies(work)
    left, order, time, issued = list(range(len(work))), [], 0.0, 0.0
    done: list[float | None] = [None] * len(work)
    while left:
        best = None
        for k in left[:window]:
            if best is not None and length[k] <= length[best]:
                continue
            if all(_is_before(done[source], time) for source in ready[k]):
                best = k
        if best is None:
            time, issued = time + 1, 0.0
            continue
        name = work[best].op.name
        done[best] = time + _LATENCY.get(name, 4)
        left.remove(best)
        order.append(work[best])
        issued += _BUSY.get(name, 0.5)
        if issued >= 1:
            time, issued = time + 1, issued - 1
    return _with_loads(instructions, order)


def _is_before(finished: float | None, time: float) -> bool:
    return finished is not None and finished <= time


def _dependencies(work: Sequence[Instruction]) -> tuple[list[list[int]], list[float]]:
    """Which instructions each one waits for, and the time from its start to the end."""
    number = {(one.register, one.vector): k for k, one in enumerate(work)}
    sources = [[number[s] for s in one.sources if s in number] for one in work]
    length = [0.0] * len(work)
    for k in range(len(work) - 1, -1, -1):
        length[k] += _LATENCY.get(work[k].op.name, 4)
        for source in sources[k]:
            length[source] = max(length[source], length[k])
    return sources, length


def _with_loads(instructions: Sequence[Instruction], order: list[Instruction]) -> list[Instruction]:
    loads = {(one.register, one.vector): one for one in instructions if one.op.name in _LOADS}
    found = []
    for one in order:
        for source in one.sources:
            load = loads.pop(source, None)
            if load is not None:
                found.append(load)
        found.append(one)
    return found


def cut_positions(ops: Sequence[Op], outputs: Sequence[int], most: int) -> list[int]:
    """Ends of chunks of at most `most` operations, with few results that later chunks need.

    Args:
        ops: The operations of a program.
        outputs: Registers of its results.
        most: Largest number of operations of a chunk, counted as in `Program.cost`.

    Returns:
        Positions in `ops`, the last of which is its length.
    """
    live = _live(ops, outputs)
    total = [0]
    for op in ops:
        cost = 3 if op.name == "reciprocal" else 1
        total.append(total[-1] + (cost if op.name in REGISTER_ARGS else 0))
    # Looking at every tenth position is enough.
    places = [*range(0, len(ops), 10), len(ops)]
    best: dict[int, tuple[float, int]] = {0: (0.0, 0)}
    for k, end in enumerate(places[1:], 1):
        options = [
            # A chunk costs about as much as to store and load 60 results.
            (best[begin][0] + live[end] + 60, begin)
            for begin in places[:k]
            if total[end] - total[begin] <= most
        ]
        best[end] = min(options)
    cuts, end = [], len(ops)
    while end:
        cuts.append(end)
        end = best[end][1]
    return cuts[::-1]


def _live(ops: Sequence[Op], outputs: Sequence[int]) -> list[int]:
    """Number of results that are there before each position and are needed after it."""
    last = dict.fromkeys(outputs, len(ops))
    for k, op in enumerate(ops):
        for register in op.args if op.name in REGISTER_ARGS else ():
            last[register] = max(last.get(register, 0), k)
    change = [0] * (len(ops) + 2)
    for k, op in enumerate(ops):
        # What was loaded is loaded again.
        if op.name in REGISTER_ARGS and k in last:
            change[k + 1] += 1
            change[last[k] + 1] -= 1
    live, found = 0, []
    for step in change[: len(ops) + 1]:
        live += step
        found.append(live)
    return found
