"""The elimination of a block down to its center, as a program."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from lattgnn.solvers.green.elimination import SymbolicMatrix, elimination_order
from lattgnn.solvers.green.stages import Stage, Writer
from lattgnn.solvers.green.stencil import Site, State, Stencil
from lattgnn.solvers.green.straight_line import ZERO, Complex


@runtime_checkable
class Surroundings(Protocol):
    """What an elimination needs to know about the rest of the work at a pole."""

    stencil: Stencil
    stages: list[Stage]

    @property
    def blocks(self) -> Sequence[Collection[Site]]:
        """The sites of the block around the site of each sublattice."""
        ...

    def here(self, sublattice: int) -> Site:
        """The site of a sublattice in cell 0."""
        ...

    def message(self, writer: Writer, source: Site, target: Site, name: str = "message") -> dict:
        """The message between two neighbors."""
        ...

    def rim(self, sublattice: int, block: Collection[Site]) -> list[Site]:
        """Sites whose inverses are shared between blocks."""
        ...

    def kind(self, site: Site, block: Collection[Site]) -> tuple[int, frozenset[int]]:
        """Which of the shared inverses belongs to a site."""
        ...


class BlockElimination:
    """The elimination of the block around the site of one sublattice."""

    def __init__(self, pole: Surroundings, writer: Writer, sublattice: int) -> None:
        self.pole, self.writer, self.stencil = pole, writer, pole.stencil
        self.center = pole.here(sublattice)
        self.sites = pole.blocks[sublattice]
        shared = pole.rim(sublattice, self.sites)
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
        key = ("inverse", *pole.kind(site, self.sites))
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
                message = self.pole.message(self.writer, neighbor, site)
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
        cavity = self.pole.message(self.writer, site, self.center, "cavity")
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
