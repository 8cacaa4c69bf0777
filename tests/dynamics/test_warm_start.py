"""A search for μ that starts from the step before leaves no trace in a run that is continued."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import expit

from lattgnn.disorder import BoxDisorder, DisorderedForceField
from lattgnn.dynamics import Regular, VerletLangevin, initial_state, simulate
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import chain
from lattgnn.solvers import ExactDiagonalization, Solver, find_mu

LANGEVIN = VerletLangevin(0.05, 0.1, 0.2, 5.0)
EVERY_FOURTH = Regular(4)
GUESSES = []


@dataclass(frozen=True)
class Trial(Solver):
    """Finds μ by trial, not very precisely, so that the guess shows in the result."""

    kT: float
    mu: float | None = None
    filling: float | None = None

    def solve(self, hamiltonian, field):
        return self.solve_from(hamiltonian, field, None)

    def solve_from(self, hamiltonian, field, mu):
        assert self.filling is not None
        GUESSES.append(mu)
        n_electrons, states = self.filling * hamiltonian.n_states, []
        for number, one in enumerate(field):
            levels = np.linalg.eigvalsh(hamiltonian.matrix(one).numpy())
            guess, width = (0.0, 1.0) if mu is None else (float(mu[number]), 0.01)
            found = find_mu(partial(self._count, levels), n_electrons, guess, width, 1e-3)
            states.append(ExactDiagonalization(self.kT, found).solve(hamiltonian, one))
        parts = {
            name: torch.stack([getattr(state, name) for state in states])
            for name in ("energy", "mu", "density_elements")
        }
        return replace(states[0], **parts)

    def _count(self, levels, mu):
        return float(expit((mu - levels) / self.kT).sum())


def force_field():
    return ExactForceField(Holstein(chain(6)), Trial(0.1, filling=0.4))


def run(force_field, path=None, n_steps=12, save=EVERY_FOURTH):
    start = initial_state(force_field, 3, 2, field_std=2.0, momentum_std=5.0)
    return simulate(force_field, LANGEVIN, start, n_steps, save, path, config={"name": "trial"})


def test_the_guess_of_each_step_is_the_result_of_the_step_before():
    GUESSES.clear()
    run(force_field(), n_steps=6, save=Regular(3))
    assert [guess is None for guess in GUESSES] == [True, True, False, False, True, False, False]
    field = torch.randn(2, 6, generator=torch.Generator().manual_seed(0)).double()
    exact = force_field()
    with exact.warm_start():
        first, again = exact(field)[1], exact(field)[1]
        assert len(exact(field[0:1])[1]) == 1  # another number of replicas has no guess
    assert GUESSES[-1] is None and GUESSES[-2] is not None
    assert not torch.equal(first, again) and torch.equal(exact(field)[1], first)
    assert GUESSES[-1] is None


@pytest.mark.parametrize("frame", [1, 3])
def test_a_run_continued_from_any_frame_has_the_same_bits(frame):
    every_third = Regular(3, momenta=True, forces=True)
    whole = run(force_field(), save=every_third)
    n_steps = 12 - 3 * frame
    rest = simulate(force_field(), LANGEVIN, whole.state(frame), n_steps, every_third)
    for name in ("field", "momentum", "forces", "energy"):
        np.testing.assert_array_equal(rest.frames(name)[-1], whole.frames(name)[-1])


def test_a_run_that_was_killed_has_the_same_bits(tmp_path, monkeypatch):
    whole = run(force_field(), tmp_path / "whole")
    for n_calls in (2, 6):
        killed, calls = force_field(), iter(range(n_calls))
        solve = killed._solve

        def stop(field, solve=solve, calls=calls):
            next(calls)  # StopIteration stands for a kill
            return solve(field)

        monkeypatch.setattr(killed, "_solve", stop)
        path = tmp_path / f"killed{n_calls}"
        with pytest.raises((StopIteration, RuntimeError)):
            run(killed, path)
        found = run(force_field(), path)
        np.testing.assert_array_equal(found.fields[:], whole.fields[:])


def test_disorder_passes_the_warm_start_on():
    GUESSES.clear()
    run(DisorderedForceField(force_field(), BoxDisorder(1.0)), n_steps=2, save=Regular(2))
    assert [guess is None for guess in GUESSES] == [True, True, False]


def test_nothing_is_remembered_after_an_error():
    exact = force_field()
    with pytest.raises(ZeroDivisionError), exact.warm_start():
        exact(torch.zeros(1, 6))
        _ = 1 / 0
    GUESSES.clear()
    exact(torch.zeros(1, 6))
    assert GUESSES == [None]
