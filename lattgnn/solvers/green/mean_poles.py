"""The poles with constant messages, and what the sums over poles start from."""

from __future__ import annotations

from collections.abc import Sequence

from lattgnn.lattice import Lattice
from lattgnn.solvers.green.elimination import SymbolicMatrix
from lattgnn.solvers.green.stages import ACCUMULATOR, TRACE, Result, Stage, Writer, result_of
from lattgnn.solvers.green.stencil import Site, State, Stencil
from lattgnn.solvers.green.straight_line import ZERO, Complex, Term


class MeanPoles:
    """Some poles with the block "mean" as one stage.

    Args:
        stencil: The Hamiltonian.
        results: What is wanted, as for `PoleProgram`.
        n_poles: Number of poles.
        classical: If the accumulator holds forces, the lattice whose nearest neighbors give −k0 Q_i
            − k1 Σ_j Q_j at the start; the field itself then follows the planes of the stencil in
            the input.
    """

    def __init__(
        self, stencil: Stencil, results: Sequence[Result], n_poles: int, classical: Lattice | None
    ) -> None:
        self.stencil, self.results = stencil, results
        self.n_poles, self.classical = n_poles, classical

    def stage(self, is_start: bool) -> Stage:
        """The stage that sets the accumulator, or the one that adds to it."""
        writer = Writer(self.stencil)
        builder = writer.builder
        zero = (0,) * len(self.stencil.extent)
        sites = [_MeanSite(writer, pole) for pole in range(self.n_poles)]
        registers, places = [], {}
        for plane, (key, part) in enumerate(self.results):
            total: Term = 0.0
            if not is_start:
                total = builder.load(ACCUMULATOR, plane, zero)
            elif self.classical is not None:
                total = self._classical(writer, self.classical, key[0])
            for pole, site in enumerate(sites):
                weight = builder.parameter(writer.parameters.weight(pole, part == TRACE))
                term = result_of(builder, self.stencil, (key, part), site.green)
                total = builder.multiply_add(total, weight, term)
            # The accumulator must hold the number itself, not minus it.
            registers.append(builder.register(builder.positive(total)).register)
            places[key, part] = (plane, 1)
        return Stage("mean", builder.program(registers), places)

    def _classical(self, writer: Writer, lattice: Lattice, sublattice: int) -> Term:
        """−k0 Q_i − k1 Σ_{j nn i} Q_j."""
        builder, first = writer.builder, len(self.stencil.planes)
        numbers = writer.parameters.stiffness(self.n_poles)
        onsite, between = map(builder.parameter, numbers)
        here = builder.load(0, first + sublattice, (0,) * lattice.dim)
        neighbors: Term = 0.0
        for source, destination, offset in lattice.bonds(lattice.neighbor_distance).cell_bonds:
            if destination == sublattice:
                # A bond leads from its source to its destination, which is offset cells farther.
                cell = tuple(-n for n in offset)
                neighbors = builder.add(neighbors, builder.load(0, first + source, cell))
        force = builder.multiply(onsite, here, -1)
        return builder.multiply_add(force, between, neighbors, -1)


class _MeanSite:
    """Green's functions of sites with the self-energy Σ_k T_ik T_ki / (i w), at one pole."""

    def __init__(self, writer: Writer, pole: int) -> None:
        self.writer, self.pole, self.stencil = writer, pole, writer.stencil
        self._inverses: dict[Site, SymbolicMatrix] = {}

    def _inverse(self, site: Site) -> SymbolicMatrix:
        """The Green's function of a site."""
        if site not in self._inverses:
            states = self.stencil.states(site)
            edges = {a: [b for b in states if b != a] for a in states}
            builder, real = self.writer.builder, self.stencil.is_real
            self._inverses[site] = SymbolicMatrix(builder, self._entry, edges, real)
            self._inverses[site].inverse(states)
        return self._inverses[site]

    def _entry(self, a: State, b: State) -> Complex:
        """A_ab − Σ_k A_ak A_kb / (i w), where 1/i = −i."""
        builder, stencil = self.writer.builder, self.stencil
        total = ZERO
        for neighbor in stencil.neighbors(stencil.site(a)):
            for c in stencil.states(neighbor):
                left, right = self.writer.element(a, c), self.writer.element(c, b)
                total = builder.complex_multiply_add(total, left, right)
        inverse = builder.parameter(self.writer.parameters.inverse_frequency(self.pole))
        here = self.writer.element(a, b, self.pole)
        real = builder.multiply_add(here[0], inverse, total[1], -1)
        return real, builder.multiply_add(here[1], inverse, total[0])

    def green(self, a: State, b: State) -> Complex:
        """G_ab; between neighbors it is −G_ac A_cd G_db."""
        one, other = self.stencil.site(a), self.stencil.site(b)
        left, right = self._inverse(one), self._inverse(other)
        if one == other:
            return left[a, b]
        builder, value = self.writer.builder, ZERO
        for c in self.stencil.states(one):
            for d in self.stencil.states(other):
                factor = builder.complex_multiply(left[a, c], self.writer.element(c, d))
                value = builder.complex_multiply_add(value, factor, right[d, b], -1)
        return value
