from dataclasses import replace

import numpy as np
import pytest
import torch

from lattgnn.data import Quench, RandomFields
from lattgnn.dynamics import HeunLLG, Regular, VerletLangevin, initial_state, simulate
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization


class Counting(ExactForceField):
    """No electrons, but it counts how often it is asked."""

    calls = 0

    def electronic(self, field):
        self.calls += 1
        return torch.zeros(field.shape[:-1], dtype=torch.float64), torch.zeros_like(field)


@pytest.fixture
def exact() -> ExactForceField:
    return ExactForceField(Holstein(square(6)), ExactDiagonalization(kT=0.1, mu=0.0))


def test_random_fields_cover_the_samples_in_blocks(exact):
    source = RandomFields("train", n_samples=7, block_size=3)
    frames = [source.label(exact, task, seed=task) for task in range(source.n_tasks)]
    assert (
        [len(part) for part in frames]
        == [3, 3, 1]
        == [source.n_frames_of(task) for task in range(3)]
    )
    assert all((part.step == -1).all() for part in frames)


def test_random_fields_have_the_variances_in_turn(exact):
    source = RandomFields("train", n_samples=400, variances=(4.0, 0.25), block_size=400)
    field = source.label(Counting(exact.hamiltonian, exact.solver), 0, seed=1).field
    # 200 fields of 36 sites: the standard error of a variance is 1.7 %
    assert field[0::2].var() == pytest.approx(4.0, rel=0.07)
    assert field[1::2].var() == pytest.approx(0.25, rel=0.07)


def test_random_labels_are_the_exact_electronic_forces(exact):
    frames = RandomFields("test", n_samples=3).label(exact, 0, seed=3)
    energy, forces = exact.electronic(torch.from_numpy(frames.field))
    np.testing.assert_allclose(frames.forces, forces.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(frames.energy, energy.numpy(), rtol=1e-13)


def test_quench_follows_the_papers_dynamics_and_labels_its_frames(exact):
    source = Quench("train", n_trajectories=1, n_steps=20, n_frames=8)
    frames = source.label(exact, 0, seed=11)
    state = initial_state(exact, 11, 1, field_std=(5 / 0.18) ** 0.5, momentum_std=5.0)
    run = simulate(exact, VerletLangevin(0.05, 0.1, 0.2, 5.0), state, 20, Regular(1))
    reference = np.asarray(run.fields)[frames.step, 0]
    np.testing.assert_allclose(frames.field, reference, rtol=0, atol=1e-12)
    energy, forces = exact.electronic(torch.from_numpy(frames.field))
    np.testing.assert_allclose(frames.forces, forces.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(frames.energy, energy.numpy(), rtol=1e-13)


def test_quench_solves_once_a_step(exact):
    counting = Counting(exact.hamiltonian, exact.solver)
    source = Quench("train", n_trajectories=1, n_steps=15, n_frames=5)
    source.label(counting, 0, seed=0)
    assert counting.calls == source.n_solves(0) == 16


def test_same_seed_same_bits_other_seed_other_trajectory(exact):
    source = Quench("train", n_trajectories=1, n_steps=5, n_frames=4)
    first, again, other = (source.label(exact, 0, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.forces, again.forces)
    assert not np.allclose(first.field, other.field)


@pytest.mark.parametrize(
    ("n_steps", "n_frames"), [(2000, 135), (450, 72), (10, 11), (1, 2), (40, 25)]
)
def test_steps_are_distinct_and_as_many_as_asked(n_steps, n_frames):
    steps = Quench("train", n_steps=n_steps, n_frames=n_frames).steps
    assert steps[0] == 0 and steps[-1] == n_steps
    assert (np.diff(steps) > 0).all()
    assert n_frames - 1 <= len(steps) <= n_frames


def test_steps_are_denser_early():
    steps = Quench("train", n_steps=2000, n_frames=135).steps
    assert (np.diff(steps, 2) >= -1).all()  # rounding aside, gaps grow
    assert (steps <= 40).sum() > 35


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Quench("train", n_steps=10, n_frames=20),
            "n_frames must be between 2 and n_steps",
        ),
        (
            lambda: Quench("train", integrator=HeunLLG(0.1, 0.01, 0.1)),
            "integrator must move the field of Quench, got HeunLLG. Use VerletLangevin",
        ),
        (lambda: Quench("train", velocity_variance=-1.0), "velocity_variance must be >= 0"),
        (lambda: RandomFields("val", n_samples=0), "n_samples must be positive"),
        (lambda: RandomFields("val", variances=()), "variances must be one or more"),
        (lambda: replace(RandomFields("val"), variances=(-1.0,)), "variances must be"),
    ],
)
def test_wrong_sources_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
