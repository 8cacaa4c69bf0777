import math

import pytest

from lattgnn.errors import InputError
from lattgnn.solvers import ExactDiagonalization, find_mu


def level(energy: float, kT: float = 0.1):
    """Electrons in one level; μ = e + kT ln(n / (1 − n))."""
    return lambda mu: 1 / (1 + math.exp(min((energy - mu) / kT, 700)))


@pytest.mark.parametrize("energy", [0.3, -7.0, 400.0])
@pytest.mark.parametrize("guess", [0.0, 0.35, -20.0])
def test_the_root_does_not_need_a_good_guess(energy, guess):
    mu = find_mu(level(energy), 0.2, guess)
    assert mu == pytest.approx(energy + 0.1 * math.log(0.25), abs=1e-10)


def test_a_close_guess_costs_few_counts_and_none_is_repeated():
    calls, n = [], level(0.3)

    def count(mu):
        calls.append(mu)
        return n(mu)

    mu = find_mu(count, 0.2, guess=0.16, width=0.01, tolerance=1e-6)
    assert mu in calls and len(set(calls)) == len(calls) <= 5
    assert abs(n(mu) - 0.2) <= 1e-6


def test_a_number_that_no_mu_gives_is_refused():
    with pytest.raises(InputError, match="between -1 and 1024 gives 1.5 electrons"):
        find_mu(level(0.3), 1.5)


def test_an_exact_solver_says_that_it_has_no_refinement():
    solver = ExactDiagonalization(0.1, filling=0.4)
    assert solver.is_exact
    with pytest.raises(InputError, match="ExactDiagonalization has no refinement, because it is"):
        solver.refined()
