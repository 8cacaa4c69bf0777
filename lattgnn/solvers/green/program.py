"""The work at one pole as programs: messages, shared inverses, and the block around each site."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from lattgnn.solvers.green.block_elimination import BlockElimination
from lattgnn.solvers.green.elimination import SymbolicMatrix
from lattgnn.solvers.green.stages import (
    ACCUMULATOR,
    TRACE,
    Result,
    Stage,
    Writer,
    result_of,
)
from lattgnn.solvers.green.stencil import Site, State, Stencil, add
from lattgnn.solvers.green.straight_line import ZERO, Builder, Complex

Blocks = Sequence[Collection[Site]]
"""For each sublattice the sites of the block around its site in cell 0."""


class PoleProgram:
    """The stages of one pole.

    Args:
        stencil: The Hamiltonian.
        blocks: Sites of the block around the site of each sublattice, which lies in cell 0.
        rounds: Rounds of messages.
        results: What is wanted.
    """

    def __init__(
        self, stencil: Stencil, blocks: Blocks, rounds: int, results: Sequence[Result]
    ) -> None:
        self.stencil, self.rounds = stencil, rounds
        self.blocks = [frozenset(block) for block in blocks]
        self.results = tuple(results)
        self.stages: list[Stage] = []
        for number in range(rounds + 1):
            self.stages.append(self._messages(number))
        self._last_messages = len(self.stages)
        if self._shared:
            self.stages.append(self._inverses())
        self.stages.append(self._block())

    def here(self, sublattice: int) -> Site:
        """The site of a sublattice in cell 0."""
        return sublattice, (0,) * len(self.stencil.extent)

    def message(self, writer: Writer, source: Site, target: Site, name: str = "message") -> dict:
        """The message from a site to its neighbor: A_ts g A_st, a matrix of the target's states.

        It is stored in the cell of its source.
        """
        bond = self.stencil.bonds[source[0]].index((target[0], add(target[1], source[1], -1)))
        owner = target if name == "message" else source
        number, found = self._last_messages_of(writer), {}
        for i, a in enumerate(self.stencil.states(owner)):
            for j, b in enumerate(self.stencil.states(owner)):
                low, high = (min(i, j), max(i, j)) if self.stencil.is_real else (i, j)
                key = (name, source[0], bond, low, high)
                found[a, b] = writer.read(self.stages, number, key, source[1])
        return found

    def _last_messages_of(self, writer: Writer) -> int:
        """Number of the stage with the messages that a stage now being written reads."""
        return min(len(self.stages), self.rounds + 1)

    def _messages(self, number: int) -> Stage:
        """Round `number` of the messages of all directed bonds."""
        stencil, writer = self.stencil, Writer(self.stencil)
        builder = writer.builder
        for sublattice, bonds in enumerate(self.stencil.bonds):
            here = self.here(sublattice)
            states = stencil.states(here)
            onsite = {(a, b): writer.element(a, b) for a in states for b in states}
            if number == 0:
                matrices = [onsite] * len(bonds)
            else:
                incoming = [self.message(writer, bond, here) for bond in bonds]
                matrices = _without_one(builder, onsite, incoming)
            for bond, (target, matrix) in enumerate(zip(bonds, matrices, strict=True)):
                inverse = self._inverse(writer, states, matrix)
                self._send(writer, (sublattice, bond), here, target, inverse)
        return writer.stage(f"round {number} of the messages")

    def _inverse(self, writer: Writer, states: list[State], matrix: dict) -> SymbolicMatrix:
        """The inverse of the matrix of one site."""
        edges = {a: [b for b in states if b != a] for a in states}

        symbolic = SymbolicMatrix(writer.builder, _Entries(matrix), edges, self.stencil.is_real)
        symbolic.inverse(states)
        return symbolic

    def _send(
        self, writer: Writer, name: tuple, here: Site, target: Site, inverse: SymbolicMatrix
    ) -> None:
        """The results A_ts g A_st and g for the bond from a site s to a neighbor t."""
        builder, stencil = writer.builder, self.stencil
        states = stencil.states(here)
        real = stencil.is_real
        for i, a in enumerate(states):
            for j, b in enumerate(states):
                if not real or i <= j:
                    writer.result(("cavity", *name, i, j), inverse[a, b])
        others = stencil.states(target)
        for i, a in enumerate(others):
            # Row a of A_ts g.
            row = {}
            for c in states:
                value = ZERO
                for b in states:
                    factor = writer.element(a, b)
                    value = builder.complex_multiply_add(value, factor, inverse[b, c])
                row[c] = value
            for j, b in enumerate(others):
                if real and i > j:
                    continue
                value = ZERO
                for c in states:
                    factor = writer.element(c, b)
                    value = builder.complex_multiply_add(value, factor, row[c])
                writer.result(("message", *name, i, j), value)

    @cached_property
    def _shared(self) -> dict[tuple[int, frozenset[int]], int]:
        """Inverses that blocks share: sublattice, bonds that leave the block, and how many use it.

        A site at the rim of a block that is eliminated before its neighbors has an inverse that
        depends on these only.
        """
        counts: dict[tuple[int, frozenset[int]], int] = {}
        for sublattice, block in enumerate(self.blocks):
            for site in self.rim(sublattice, block):
                kind = self.kind(site, block)
                counts[kind] = counts.get(kind, 0) + 1
        return counts

    def kind(self, site: Site, block: Collection[Site]) -> tuple[int, frozenset[int]]:
        """Sublattice of a site, and which of its bonds leave the block."""
        neighbors = self.stencil.neighbors(site)
        return site[0], frozenset(k for k, other in enumerate(neighbors) if other not in block)

    def rim(self, sublattice: int, block: Collection[Site]) -> list[Site]:
        """Sites of a block with at most half of their bonds inside, of which none are neighbors."""
        if self.stencil.n_orbitals > 1:
            return []
        found: list[Site] = []
        for site in sorted(block):
            neighbors = self.stencil.neighbors(site)
            inside = [other for other in neighbors if other in block]
            if site == self.here(sublattice) or 2 * len(inside) > len(neighbors):
                continue
            if not any(other in found for other in inside):
                found.append(site)
        return found

    def _inverses(self) -> Stage:
        """The shared inverses."""
        writer = Writer(self.stencil)
        for sublattice, outside in sorted(
            self._shared, key=lambda kind: (kind[0], sorted(kind[1]))
        ):
            here = self.here(sublattice)
            (state,) = self.stencil.states(here)
            value = writer.element(state, state)
            for bond in sorted(outside):
                message = self.message(writer, self.stencil.bonds[sublattice][bond], here)
                value = writer.builder.complex_add(value, message[state, state], -1)
            inverse = writer.builder.complex_inverse(value)
            writer.result(("inverse", sublattice, outside), inverse)
        return writer.stage("shared inverses")

    def _block(self) -> Stage:
        """Elimination of each block down to its center, and the sums over poles."""
        writer = Writer(self.stencil)
        builder, zero = writer.builder, (0,) * len(self.stencil.extent)
        blocks: dict[int, BlockElimination] = {}
        registers, places = [], {}
        for plane, (key, part) in enumerate(self.results):
            sublattice = key[0] // self.stencil.n_orbitals
            if sublattice not in blocks:
                blocks[sublattice] = BlockElimination(self, writer, sublattice)
            green = blocks[sublattice].green
            term = result_of(builder, self.stencil, (key, part), green)
            weight = builder.parameter(writer.parameters.weight(of_trace=part == TRACE))
            before = builder.load(ACCUMULATOR, plane, zero)
            total = builder.register(builder.multiply_add(before, weight, term))
            places[key, part] = (plane, total.sign)
            registers.append(total.register)
        return Stage("blocks", builder.program(registers), places)


class _Entries:
    """A dictionary of matrix entries as a function."""

    def __init__(self, values: Mapping[tuple[State, State], Complex]) -> None:
        self._values = values

    def __call__(self, a: State, b: State) -> Complex:
        return self._values[a, b]


def _without_one(builder: Builder, base: dict, terms: list[dict]) -> list[dict]:
    """For each of the terms: the base minus the sum of all others.

    Halves are added up once and used for all terms of the other half, so nothing is subtracted that
    was added before.
    """
    if len(terms) == 1:
        return [base]
    middle = len(terms) // 2
    left, right = terms[:middle], terms[middle:]
    without_right = _subtract_sum(builder, base, right)
    without_left = _subtract_sum(builder, base, left)
    return [
        *_without_one(builder, without_right, left),
        *_without_one(builder, without_left, right),
    ]


def _subtract_sum(builder: Builder, base: dict, terms: list[dict]) -> dict:
    result = {}
    for pair, value in base.items():
        result[pair] = builder.complex_add(value, _sum(builder, [t[pair] for t in terms]), -1)
    return result


def _sum(builder: Builder, values: list[Complex]) -> Complex:
    """The sum by halves, which are those of `_without_one`."""
    if len(values) == 1:
        return values[0]
    middle = len(values) // 2
    left, right = _sum(builder, values[:middle]), _sum(builder, values[middle:])
    return builder.complex_add(left, right)
