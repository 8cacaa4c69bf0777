"""Stages of the work at a pole: programs that read the input and what earlier stages computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lattgnn.solvers.green.stencil import Key, State, Stencil, add, canonical, on_diagonal
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
