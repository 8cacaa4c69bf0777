"""The work at one pole as programs: messages, shared inverses, and the block around each site."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lattgnn.solvers.green.elimination import SymbolicMatrix, elimination_order
from lattgnn.solvers.green.stencil import (
    Key,
    Site,
    State,
    Stencil,
    add,
    canonical,
    on_diagonal,
)
from lattgnn.solvers.green.straight_line import (
    ZERO,
    Builder,
    Complex,
    Program,
    Term,
    conjugate,
)

Result = tuple[Key, int]
"""A plane of the accumulator. For the element (a, b, offset) of H, parts 0 and 1 are the real and
the imaginary part of G_ba, Hermitian, from the block around the site of a. Part `TRACE` of a
diagonal element is the imaginary part of G_aa, with a weight of its own.
"""
TRACE = 2

ACCUMULATOR = -1
"""Number of the array that the last stage of each pole adds to. Array 0 is the input."""


@dataclass(frozen=True)
class Parameters:
    """Numbers of the parameters of programs.

    Parameters 0 ... n_states - 1 are constant diagonal elements (μ − H_aa) / unit of the states of
    a cell. They are followed by four for each pole that a program works on.
    """

    n_states: int

    def frequency(self, pole: int = 0) -> int:
        """W / unit."""
        return self.n_states + 4 * pole

    def inverse_frequency(self, pole: int = 0) -> int:
        """Unit / w."""
        return self.n_states + 4 * pole + 1

    def weight(self, pole: int = 0, of_trace: bool = False) -> int:
        """Factor of G · unit, or of the imaginary part of its diagonal."""
        return self.n_states + 4 * pole + (3 if of_trace else 2)

    def stiffness(self, n_poles: int) -> tuple[int, int]:
        """k0 and k1 of a program with this number of poles."""
        first = self.n_states + 4 * max(n_poles, 1)
        return first, first + 1

    def count(self, n_poles: int) -> int:
        """How many there are, k0 and k1 included."""
        return self.n_states + 4 * max(n_poles, 1) + 2


Blocks = Sequence[Collection[Site]]
"""For each sublattice the sites of the block around its site in cell 0."""


@dataclass(frozen=True)
class Stage:
    """One program for all cells. Its outputs are the planes of the array with its number.

    Attributes:
        name: What it computes.
        program: Reads the input, arrays of earlier stages, and the accumulator.
        places: Plane and sign of each result, by what it is.
    """

    name: str
    program: Program
    places: Mapping[tuple, tuple[int, int]]


class Writer:
    """Writes one stage: entries of A = (i w + μ − H) / unit, and results of earlier stages."""

    def __init__(self, stencil: Stencil) -> None:
        self.stencil, self.builder = stencil, Builder()
        self.parameters = Parameters(stencil.n_states)
        self._results: dict[tuple, Complex] = {}
        self._planes = {(plane.key, plane.part): k for k, plane in enumerate(stencil.planes)}

    def element(self, a: State, b: State, pole: int = 0) -> Complex:
        """A_ab without messages.

        Args:
            a: State of the row.
            b: State of the column.
            pole: Number of the pole, for a program with several of them.
        """
        stencil, builder = self.stencil, self.builder
        key = a[0], b[0], add(b[1], a[1], -1)
        kept = canonical(key)
        if kept not in stencil.constants:
            return ZERO
        parts: list[Term] = []
        for part, constant in enumerate(stencil.constants[kept]):
            if constant is None:
                place = a[1] if kept == key else b[1]
                # Planes hold (μ − H) / unit, with μ on the diagonal only.
                parts.append(builder.load(0, self._planes[kept, part], place))
            else:
                parts.append(-constant / stencil.unit if constant else 0.0)
        if a == b:
            if stencil.constants[kept][0] is not None:
                parts[0] = builder.parameter(a[0])
            parts[1] = builder.parameter(self.parameters.frequency(pole))
        value = parts[0], parts[1]
        return value if kept == key else conjugate(value)

    def read(self, stages: Sequence[Stage], number: int, key: tuple, cell: tuple) -> Complex:
        """A complex result of stage `number` (counted from 1) at a cell."""
        parts = []
        for part in (0, 1):
            plane, sign = stages[number - 1].places[*key, part]
            parts.append(self.builder.load(number, plane, cell, sign))
        return parts[0], parts[1]

    def result(self, key: tuple, value: Complex) -> None:
        """Note a result of the stage."""
        self._results[key] = value

    def stage(self, name: str) -> Stage:
        """The stage that gives the results so far. Results that agree up to sign share a plane."""
        places, outputs = {}, []
        for key, value in self._results.items():
            for part, term in enumerate(value):
                register, sign = self.builder.register(term)
                if register not in outputs:
                    outputs.append(register)
                places[*key, part] = (outputs.index(register), sign)
        return Stage(name, self.builder.program(outputs), places)


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

    @cached_property
    def _bonds(self) -> list[list[Site]]:
        return self.stencil.bonds

    def _here(self, sublattice: int) -> Site:
        return sublattice, (0,) * len(self.stencil.extent)

    def _message(self, writer: Writer, source: Site, target: Site, name: str = "message") -> dict:
        """The message from a site to its neighbor: A_ts g A_st, a matrix of the target's states.

        It is stored in the cell of its source.
        """
        bond = self._bonds[source[0]].index((target[0], add(target[1], source[1], -1)))
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
        for sublattice, bonds in enumerate(self._bonds):
            here = self._here(sublattice)
            states = stencil.states(here)
            onsite = {(a, b): writer.element(a, b) for a in states for b in states}
            if number == 0:
                matrices = [onsite] * len(bonds)
            else:
                incoming = [self._message(writer, bond, here) for bond in bonds]
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
            for site in self._rim(sublattice, block):
                kind = self._kind(site, block)
                counts[kind] = counts.get(kind, 0) + 1
        return counts

    def _kind(self, site: Site, block: Collection[Site]) -> tuple[int, frozenset[int]]:
        neighbors = self.stencil.neighbors(site)
        return site[0], frozenset(k for k, other in enumerate(neighbors) if other not in block)

    def _rim(self, sublattice: int, block: Collection[Site]) -> list[Site]:
        """Sites of a block with at most half of their bonds inside, of which none are neighbors."""
        if self.stencil.n_orbitals > 1:
            return []
        found: list[Site] = []
        for site in sorted(block):
            neighbors = self.stencil.neighbors(site)
            inside = [other for other in neighbors if other in block]
            if site == self._here(sublattice) or 2 * len(inside) > len(neighbors):
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
            here = self._here(sublattice)
            (state,) = self.stencil.states(here)
            value = writer.element(state, state)
            for bond in sorted(outside):
                message = self._message(writer, self._bonds[sublattice][bond], here)
                value = writer.builder.complex_add(value, message[state, state], -1)
            inverse = writer.builder.complex_inverse(value)
            writer.result(("inverse", sublattice, outside), inverse)
        return writer.stage("shared inverses")

    def _block(self) -> Stage:
        """Elimination of each block down to its center, and the sums over poles."""
        writer = Writer(self.stencil)
        builder, zero = writer.builder, (0,) * len(self.stencil.extent)
        blocks: dict[int, _Block] = {}
        registers, places = [], {}
        for plane, (key, part) in enumerate(self.results):
            sublattice = key[0] // self.stencil.n_orbitals
            if sublattice not in blocks:
                blocks[sublattice] = _Block(self, writer, sublattice)
            green = blocks[sublattice].green
            term = result_of(builder, self.stencil, (key, part), green)
            weight = builder.parameter(writer.parameters.weight(of_trace=part == TRACE))
            before = builder.load(ACCUMULATOR, plane, zero)
            total = builder.register(builder.multiply_add(before, weight, term))
            places[key, part] = (plane, total.sign)
            registers.append(total.register)
        return Stage("blocks", builder.program(registers), places)


def density_results(stencil: Stencil, elements: Sequence[Key]) -> list[Result]:
    """The results that make up these elements of the density matrix.

    Its diagonal is real, and so is all of it for a real Hamiltonian.
    """
    found = []
    for key in elements:
        found.append((key, 0))
        if not stencil.is_real and not on_diagonal(key):
            found.append((key, 1))
    return found


def result_of(
    builder: Builder,
    stencil: Stencil,
    result: Result,
    green: Callable[[State, State], Complex],
) -> Term:
    """A result from the Green's function around a site in cell 0."""
    key, part = result
    a, b = (key[0], (0,) * len(key[2])), (key[1], key[2])
    forward = green(b, a)
    if part == TRACE:
        return forward[1]
    if stencil.is_real or a == b:
        return forward[part]
    both = builder.add(forward[part], conjugate(green(a, b))[part])
    return builder.multiply(0.5, both)


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


class _Block:
    """The elimination of the block around the site of one sublattice."""

    def __init__(self, pole: PoleProgram, writer: Writer, sublattice: int) -> None:
        self.pole, self.writer, self.stencil = pole, writer, pole.stencil
        self.center = pole._here(sublattice)
        self.sites = pole.blocks[sublattice]
        shared = pole._rim(sublattice, self.sites)
        edges = self._edges()
        self.matrix = SymbolicMatrix(writer.builder, self._entry, edges, self.stencil.is_real)
        given = {state: site for site in shared for state in self.stencil.states(site)}
        center = self.stencil.states(self.center)
        for state in elimination_order(edges, center, given):
            # A given inverse is used as late as possible: it then lives for a short time only.
            for other in sorted(self.matrix.neighbors[state]):
                self._use(given, other)
            self.matrix.eliminate(state)
        for state in sorted(given):
            self._use(given, state)
        self.matrix.inverse(center)

    def _use(self, given: dict[State, Site], state: State) -> None:
        site = given.pop(state, None)
        if site is None:
            return
        pole = self.pole
        key = ("inverse", *pole._kind(site, self.sites))
        inverse = self.writer.read(pole.stages, len(pole.stages), key, site[1])
        self.matrix.eliminate(state, inverse)

    def _edges(self) -> dict[State, dict[State, bool]]:
        """Neighbors of each state in the block, and whether A is ±1 there."""
        edges: dict[State, dict[State, bool]] = {}
        for site in sorted(self.sites):
            near = [site, *(n for n in self.stencil.neighbors(site) if n in self.sites)]
            for a in self.stencil.states(site):
                edges[a] = {}
                for b in (b for n in near for b in self.stencil.states(n)):
                    if a == b:
                        continue
                    value = self.writer.element(a, b)
                    # A message may fill the matrix of a site even where H has no element.
                    if value != ZERO or (a[1] == b[1] and site == self.stencil.site(b)):
                        edges[a][b] = value in ((1.0, 0.0), (-1.0, 0.0))
        return edges

    def _entry(self, a: State, b: State) -> Complex:
        """A_ab minus the messages from outside."""
        value = self.writer.element(a, b)
        site = self.stencil.site(a)
        if site != self.stencil.site(b):
            return value
        for neighbor in self.stencil.neighbors(site):
            if neighbor not in self.sites:
                message = self.pole._message(self.writer, neighbor, site)
                value = self.writer.builder.complex_add(value, message[a, b], -1)
        return value

    def green(self, a: State, b: State) -> Complex:
        """G_ab, where one of the states belongs to the center and the other is near it."""
        outside = [s for s in (a, b) if self.stencil.site(s) not in self.sites]
        if not outside:
            return self.matrix.solved(a, b)
        # The neighbor j lies outside: G_cj = −Σ G_cc' A_c'j' g_j'j, and in the other order.
        builder, value = self.writer.builder, ZERO
        site = self.stencil.site(outside[0])
        cavity = self.pole._message(self.writer, site, self.center, "cavity")
        for c in self.stencil.states(self.center):
            for d in self.stencil.states(site):
                if outside[0] == b:
                    factor = builder.complex_multiply(self.writer.element(c, d), cavity[d, b])
                    value = builder.complex_multiply_add(
                        value, self.matrix.solved(a, c), factor, -1
                    )
                else:
                    factor = builder.complex_multiply(cavity[a, d], self.writer.element(d, c))
                    value = builder.complex_multiply_add(
                        value, factor, self.matrix.solved(c, b), -1
                    )
        return value
