"""A field, force or energy that runs away stops the run, and the message says where."""

import math
import pickle

import pytest
import torch

from lattgnn.dynamics import (
    Regular,
    RunawayFieldError,
    Trajectory,
    VerletLangevin,
    initial_state,
    simulate,
)
from tests.mortal_force_field import Mortal

INTEGRATOR = VerletLangevin(dt=0.1, kT=0.5, gamma=0.3, mass=2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_stops_the_run_loudly(harmonic, tmp_path, bad) -> None:
    def broken(field):
        forces = torch.zeros_like(field)
        forces[1, 3] = bad
        return None, forces

    force_field, integrator = harmonic(), INTEGRATOR
    state = initial_state(force_field, 1, 2, 1.0)
    with pytest.raises(RunawayFieldError, match="at step 8, replica 1, site 3") as caught:
        simulate(
            Mortal(force_field, 7, broken), integrator, state, 20, Regular(3), tmp_path / "run"
        )
    error = caught.value
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # a worker process can send it
    assert isinstance(error, ArithmeticError)
    assert (error.step, error.replica, error.site) == (8, 1, 3)
    assert error.value == bad or math.isnan(bad)
    assert Trajectory.open(tmp_path / "run").steps.tolist() == [0, 3, 6]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_energy_that_is_not_finite_stops_the_run(harmonic, tmp_path, bad) -> None:
    force_field, integrator = harmonic(), INTEGRATOR

    def broken(field):
        energy, forces = force_field(field)
        energy[1] = bad
        return energy, forces

    state = initial_state(force_field, 1, 2, 1.0)
    broken_late = Mortal(force_field, 4, broken)
    with pytest.raises(
        RunawayFieldError, match=r"energy must stay finite, got (nan|inf) at step 5, replica 1\. "
    ) as caught:
        simulate(broken_late, integrator, state, 20, Regular(2), tmp_path / "run")
    assert caught.value.site is None
    assert Trajectory.open(tmp_path / "run").steps.tolist() == [0, 2, 4]


def test_runaway_field_is_stopped_before_the_force_field_sees_it(harmonic) -> None:
    force_field = harmonic(8, -4.0)  # an inverted parabola
    integrator = VerletLangevin(dt=0.1, kT=0.0, gamma=0.0, mass=1.0)
    seen = []

    def spy(field):
        seen.append(field.abs().max().item())
        return force_field(field)

    state = initial_state(force_field, 1, 1, 1.0)
    with pytest.raises(
        RunawayFieldError, match=r"field must stay finite and within ±100, got"
    ) as caught:
        simulate(
            Mortal(force_field, 0, spy), integrator, state, 1000, Regular(10), field_limit=100.0
        )
    assert max(seen) <= 100 < abs(caught.value.value)
    assert caught.value.step == len(seen) + 1


def test_a_bad_start_is_refused(harmonic, tmp_path) -> None:
    state = initial_state(harmonic(), 1)
    state.momentum[0, 2] = math.nan
    with pytest.raises(RunawayFieldError, match="momentum .* at step 0, replica 0, site 2"):
        simulate(harmonic(), INTEGRATOR, state, 10, Regular(1))
