"""The chemical potential that gives a number of electrons, for solvers that can only count them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from scipy.optimize import brentq

from lattgnn.errors import InputError

# The search for a bracket ends this far from the guess, in units of t.
_FARTHEST = 1e3
# The secant method gives up after this many trials, or at a step that is longer than this, in units
# of t.
_MOST_SECANTS, _FARTHEST_SECANT = 10, 1.0


def find_mu(
    count: Callable[[float], float],
    n_electrons: float,
    guess: float = 0.0,
    width: float = 1.0,
    tolerance: float = 0.0,
    precision: float = 1e-12,
) -> float:
    """μ with count(μ) = n_electrons: the root of an increasing function, inside a bracket.

    The bracket guess ± width is widened, by doubling the distances from the guess, until it
    contains the root; Brent's method then needs few more calls. Where the levels are known,
    `chemical_potential` is better, because it stays accurate inside a gap.

    The last bits of the result depend on the guess. With a guess from an earlier solution they
    therefore depend on more than the field.

    Args:
        count: Number of electrons at a chemical potential. It must not decrease with it.
        n_electrons: Number of electrons wanted.
        guess: Center of the first bracket, in units of t.
        width: Half the width of the first bracket.
        tolerance: The search ends at the first μ whose number of electrons differs from
            `n_electrons` by at most this.
        precision: The search also ends when μ is known to this precision.

    Returns:
        The chemical potential, at which `count` has been called.

    Raises:
        InputError: If no μ within 1000 of the guess gives this number of electrons.
    """
    excess = _Excess(count, n_electrons, tolerance)
    below = above = width
    while excess(guess - below) > 0 and below < _FARTHEST:
        below *= 2
    while excess(guess + above) < 0 and above < _FARTHEST:
        above *= 2
    low, high = guess - below, guess + above
    if not excess(low) <= 0 <= excess(high):
        raise InputError(
            f"no chemical potential between {low:g} and {high:g} gives {n_electrons:g} electrons; "
            f"there are {count(low):g} to {count(high):g}. Use another filling."
        )
    return cast(float, brentq(excess, low, high, xtol=precision))


def refine_mu(
    count: Callable[[float], float],
    n_electrons: float,
    guess: float,
    step: float = 0.01,
    tolerance: float = 1e-8,
) -> float:
    """μ with count(μ) = n_electrons by the secant method, from a close guess.

    It needs about five calls, `find_mu` seven. Where the secant method does not converge, as in a
    gap, `find_mu` takes over.

    Args:
        count: Number of electrons at a chemical potential. It must not decrease with it.
        n_electrons: Number of electrons wanted.
        guess: The guess, in units of t.
        step: Distance of the second trial from the guess, about the error of the guess.
        tolerance: Largest difference from `n_electrons`.

    Returns:
        The chemical potential, at which `count` has been called.
    """
    excess = _Excess(count, n_electrons, tolerance)
    if excess(guess) == 0:
        return guess
    before, now = guess, guess - math.copysign(step, excess(guess))
    for _ in range(_MOST_SECANTS):
        if excess(now) == 0:
            return now
        slope = (excess(now) - excess(before)) / (now - before)
        move = -excess(now) / slope if slope > 0 else math.inf
        if abs(move) > _FARTHEST_SECANT:
            break
        before, now = now, now + move
    return find_mu(count, n_electrons, guess, step, tolerance)


@dataclass(frozen=True)
class _Excess:
    """Electrons beyond the target; 0 within the tolerance, where Brent's method ends."""

    count: Callable[[float], float]
    n_electrons: float
    tolerance: float
    # Brent's method begins with the ends of the bracket, which are known by then.
    known: dict[float, float] = field(default_factory=dict)

    def __call__(self, mu: float) -> float:
        if mu not in self.known:
            difference = self.count(mu) - self.n_electrons
            self.known[mu] = 0.0 if abs(difference) <= self.tolerance else difference
        return self.known[mu]
