import math
from dataclasses import replace

import pytest
import torch

from lattgnn.errors import InputError
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization, GreenFunction, find_mu
from lattgnn.solvers.error_estimate import compare_solvers
from lattgnn.solvers.filling import refine_mu


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


def test_the_secant_method_needs_few_counts_from_a_close_guess():
    calls, n = [], level(0.3)

    def count(mu):
        calls.append(mu)
        return n(mu)

    for guess in (0.161371, 0.15, 0.2):
        calls.clear()
        mu = refine_mu(count, 0.2, guess)
        assert abs(n(mu) - 0.2) <= 1e-8 and mu in calls and len(calls) <= 6


@pytest.mark.parametrize("guess", [0.0, 30.0, -2.0])
def test_in_a_gap_the_secant_method_gives_way_to_a_bracket(guess):
    valence, conduction = level(-1.0, 1e-3), level(1.0, 1e-3)
    mu = refine_mu(lambda mu: valence(mu) + conduction(mu), 1.0 + 1e-4, guess)
    assert valence(mu) + conduction(mu) == pytest.approx(1.0 + 1e-4, abs=1e-8)


def test_a_guess_changes_only_the_last_bits_of_a_green_function(rng):
    model, solver = Holstein(square(6)), GreenFunction(0.1, filling=0.4, block=0)
    fields = 2 * torch.randn(2, 36, dtype=torch.float64, generator=rng)
    cold = solver.solve(model, fields)
    warm = solver.solve_from(model, fields + 0.01, cold.mu)
    expected = solver.solve(model, fields + 0.01)
    torch.testing.assert_close(warm.mu, expected.mu, rtol=0, atol=1e-7)
    torch.testing.assert_close(warm.density_elements, expected.density_elements, rtol=0, atol=1e-7)
    count = warm.density_elements[:, model.rows == model.cols].sum(-1)
    torch.testing.assert_close(count, torch.full_like(count, 14.4), rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("filling", [0.4, 0.5])
def test_green_functions_at_fixed_filling_on_a_large_lattice(filling, rng):
    """The force error at fixed filling is that of the solver at fixed μ."""
    model = Holstein(square(40))
    field = 5.27 * torch.randn(1600, dtype=torch.float64, generator=rng)
    solver = GreenFunction(0.1, filling=filling, block=1)
    exact = ExactDiagonalization(0.1, filling=filling)
    state, expected = solver.solve(model, field), exact.solve(model, field)
    count = float(state.density_elements[model.rows == model.cols].sum())
    assert count == pytest.approx(filling * 1600, abs=1e-6)
    mu = float(expected.mu)
    assert float(state.mu) == pytest.approx(mu, abs=1e-2)
    at_mu = compare_solvers(
        replace(solver, mu=mu, filling=None), ExactDiagonalization(0.1, mu), model, field
    )
    at_filling = compare_solvers(solver, exact, model, field)
    assert at_filling.forces.rms < 1.2 * at_mu.forces.rms < 1e-2
