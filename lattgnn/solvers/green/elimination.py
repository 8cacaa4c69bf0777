"""In which order the states of a block are eliminated, and the elimination written as a program."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from itertools import combinations

from lattgnn.solvers.green.stencil import State
from lattgnn.solvers.green.straight_line import ZERO, Builder, Complex, negative

# Greedy orders that are tried; the cheapest one is taken. Ties are broken at random, but always by
# the same random numbers.
_N_ORDERS = 100

Edges = Mapping[State, Mapping[State, bool]]
"""Neighbors of each state inside the block, and whether the bond is a constant ±1."""


def elimination_order(
    edges: Edges, keep: Collection[State], given: Collection[State] = ()
) -> list[State]:
    """The cheapest of many minimum-fill orders in which all states but a few are eliminated.

    Args:
        edges: The graph of the block.
        keep: States that stay.
        given: States whose inverse is known from the start. They come first.

    Returns:
        All states that are neither kept nor given, in their order.
    """
    number = {state: k for k, state in enumerate(sorted(edges))}
    # Of each state, the neighbors as the bits of one number: all of them, and the plain ones.
    neighbors, plain_neighbors = [], []
    for state in number:
        neighbors.append(sum(1 << number[other] for other in edges[state]))
        plain = [other for other, is_plain in edges[state].items() if is_plain]
        plain_neighbors.append(sum(1 << number[other] for other in plain))
    start = _Graph(neighbors, plain_neighbors)
    for state in sorted(given):
        start.eliminate(number[state], known=True)
    kept = sum(1 << number[state] for state in keep)
    best: tuple[float, list[int]] | None = None
    for seed in range(_N_ORDERS):
        graph = start.copy()
        order = graph.greedy(kept, random.Random(seed), (0.0, 1.0, 2.0)[seed % 3])
        if best is None or graph.cost < best[0]:
            best = graph.cost, order
    assert best is not None
    states = list(number)
    return [states[k] for k in best[1]]


class _Graph:
    """The graph of the states that are left; sets of states are the bits of integers."""

    def __init__(self, neighbors: list[int], plain: list[int]) -> None:
        self.neighbors = neighbors
        self.plain = plain  # neighbors by a constant ±1, which costs no multiplication
        self.left = (1 << len(neighbors)) - 1
        self.cost = 0.0

    def copy(self) -> _Graph:
        copied = _Graph(list(self.neighbors), list(self.plain))
        copied.left, copied.cost = self.left, self.cost
        return copied

    def eliminate(self, state: int, known: bool = False) -> None:
        """Join all neighbors of a state, and count real operations."""
        around = self.neighbors[state]
        n, n_plain = around.bit_count(), (around & self.plain[state]).bit_count()
        n_products = (n - n_plain) * (n - n_plain + 1) // 2
        # A complex product is four operations, a sum two, an inverse eight.
        self.cost += 4 * (n - n_plain) + 4 * n_products + 2 * (n * (n + 1) // 2 - n_products)
        self.cost += 0 if known else 8
        self.left &= ~(1 << state)
        for other in _bits(around):
            self.neighbors[other] = (self.neighbors[other] | around) & ~(1 << other | 1 << state)
            self.plain[other] &= ~(around | 1 << state)

    def greedy(self, kept: int, noise: random.Random, fill_weight: float) -> list[int]:
        """Eliminate the state that now looks cheapest, until only the kept ones are left."""
        order = []
        value: dict[int, float] = {}
        while self.left & ~kept:
            for state in _bits(self.left & ~kept):
                if state not in value:
                    value[state] = self._price(state, fill_weight) + 1.5 * noise.random()
            state = min(value, key=value.__getitem__)
            around = self.neighbors[state]
            self.eliminate(state)
            order.append(state)
            # New bonds change the price of the neighbors, and of states with two of them around.
            touched = around | 1 << state
            for other in _bits(around):
                touched |= self.neighbors[other]
            for other in _bits(touched):
                value.pop(other, None)
        return order

    def _price(self, state: int, fill_weight: float) -> float:
        around = self.neighbors[state]
        n = around.bit_count()
        joined = sum((self.neighbors[other] & around).bit_count() for other in _bits(around))
        missing = (n * (n - 1) - joined) // 2
        return n * (n + 1) / 2 + fill_weight * missing


def _bits(number: int) -> list[int]:
    found = []
    while number:
        low = number & -number
        found.append(low.bit_length() - 1)
        number ^= low
    return found


class SymbolicMatrix:
    """A complex matrix whose entries are known to a program, during its elimination.

    Args:
        builder: Writes the program.
        entry: Gives an entry of the matrix when it is first used.
        edges: Which entries off the diagonal differ from 0.
        symmetric: Whether the matrix equals its transpose, as it does for a real Hamiltonian.
    """

    def __init__(
        self,
        builder: Builder,
        entry: Callable[[State, State], Complex],
        edges: Mapping[State, Collection[State]],
        symmetric: bool,
    ) -> None:
        self.builder, self.symmetric = builder, symmetric
        self.neighbors = {state: set(around) for state, around in edges.items()}
        self._entry = entry
        self._values: dict[tuple[State, State], Complex] = {}
        # For each pivot p: 1 / A_pp, and A_pn / A_pp for its neighbors n at that time.
        self._inverses: dict[State, Complex] = {}
        self._rows: dict[State, dict[State, Complex]] = {}
        self._solved: dict[tuple[State, State], Complex] = {}

    def _place(self, a: State, b: State) -> tuple[State, State]:
        return (min(a, b), max(a, b)) if self.symmetric else (a, b)

    def __getitem__(self, pair: tuple[State, State]) -> Complex:
        place = self._place(*pair)
        if place not in self._values:
            a, b = place
            # An entry that the elimination has filled is always among the values.
            self._values[place] = self._entry(a, b)
        return self._values[place]

    def __setitem__(self, pair: tuple[State, State], value: Complex) -> None:
        self._values[self._place(*pair)] = value

    def eliminate(self, pivot: State, inverse: Complex | None = None) -> None:
        """Subtract A_ap A_pb / A_pp from all entries around a pivot.

        Args:
            pivot: The state.
            inverse: 1 / A_pp, if it is known already.
        """
        builder = self.builder
        inverse = builder.complex_inverse(self[pivot, pivot]) if inverse is None else inverse
        # Constants first: of the two factors of a product, the constant one is left unmultiplied.
        around = sorted(self.neighbors.pop(pivot), key=lambda n: (not self._plain(pivot, n), n))
        row = {n: builder.complex_multiply(self[pivot, n], inverse) for n in around}
        self._inverses[pivot], self._rows[pivot] = inverse, row
        for other in around:
            self.neighbors[other].discard(pivot)
        for k, a in enumerate(around):
            for b in around[k if self.symmetric else 0 :]:
                self._subtract(a, b, self[a, pivot], row[b])

    def _plain(self, pivot: State, other: State) -> bool:
        return isinstance(self[pivot, other][0], float)

    def _subtract(self, a: State, b: State, x: Complex, y: Complex) -> None:
        before = self[a, b] if a == b or b in self.neighbors[a] else ZERO
        self[a, b] = self.builder.complex_multiply_add(before, x, y, -1)
        if a != b:
            self.neighbors[a].add(b)
            self.neighbors[b].add(a)

    def inverse(self, states: list[State]) -> None:
        """Replace the entries between the states that are left by those of the inverse matrix.

        The sweep operator on one state after the other gives minus the inverse.
        """
        builder = self.builder
        for a, b in combinations(states, 2):
            if b not in self.neighbors[a]:
                self[a, b] = self[b, a] = ZERO
        for p in states:
            others = [state for state in states if state != p]
            inverse = builder.complex_inverse(self[p, p])
            row = {n: builder.complex_multiply(self[p, n], inverse) for n in others}
            for k, a in enumerate(others):
                for b in others[k if self.symmetric else 0 :]:
                    value = builder.complex_multiply_add(self[a, b], self[a, p], row[b], -1)
                    self[a, b] = value
            for n in others:
                column = row[n] if self.symmetric else builder.complex_multiply(self[n, p], inverse)
                self[p, n] = row[n]
                self[n, p] = column
            self[p, p] = negative(inverse)
        for k, a in enumerate(states):
            for b in states[k if self.symmetric else 0 :]:
                self[a, b] = negative(self[a, b])

    def solved(self, a: State, b: State) -> Complex:
        """The entry (a, b) of the inverse of the whole matrix, after `inverse`.

        One of the two states must be left. The other one may have been eliminated:
        G_pb = −Σ_n (A_pn / A_pp) G_nb and G_bp = −Σ_n G_bn (A_np / A_pp).
        """
        pair = self._place(a, b)
        if pair in self._solved:
            return self._solved[pair]
        value = ZERO
        if a in self._rows:
            for n, factor in self._rows[a].items():
                value = self.builder.complex_multiply_add(value, factor, self.solved(n, b), -1)
        elif b in self._rows:
            for n in self._rows[b]:
                factor = self._column(n, b)
                value = self.builder.complex_multiply_add(value, self.solved(a, n), factor, -1)
        else:
            value = self[a, b]
        self._solved[pair] = value
        return value

    def _column(self, n: State, pivot: State) -> Complex:
        """A_np / A_pp."""
        if self.symmetric:
            return self._rows[pivot][n]
        return self.builder.complex_multiply(self[n, pivot], self._inverses[pivot])
