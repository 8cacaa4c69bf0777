import numpy as np
import pytest
import torch

from lattgnn.data import LatticeDataset, Quench, RandomSpins, SpinQuench, generate
from lattgnn.dynamics import HeunLLG, Regular, initial_spins, simulate
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization


@pytest.fixture
def exact() -> ExactForceField:
    return ExactForceField(DoubleExchange(square(4)), ExactDiagonalization(kT=0.05, filling=0.4))


def test_random_spins_are_unit_vectors_without_direction(exact):
    frames = RandomSpins("train", n_samples=30, block_size=30).label(exact, 0, seed=1)
    np.testing.assert_allclose(np.linalg.norm(frames.field, axis=-1), 1, atol=1e-14)
    assert np.abs(frames.field.mean((0, 1))).max() < 0.1  # 480 spins: a standard error of 0.026
    energy, forces = exact.electronic(torch.from_numpy(frames.field))
    np.testing.assert_allclose(frames.forces, forces.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(frames.energy, energy.numpy(), rtol=1e-13)


def test_a_quench_follows_the_dynamics_and_labels_its_frames(exact):
    source = SpinQuench(
        "train", n_trajectories=1, n_steps=12, n_frames=6, dt=0.1, kT=0.02, alpha=0.3
    )
    frames = source.label(exact, 0, seed=11)
    run = simulate(exact, HeunLLG(0.1, 0.02, 0.3), initial_spins(exact, 11), 12, Regular(1))
    np.testing.assert_array_equal(frames.field, np.asarray(run.fields)[frames.step, 0])
    _, forces = exact.electronic(torch.from_numpy(frames.field))
    np.testing.assert_allclose(frames.forces, forces.numpy(), rtol=0, atol=1e-12)
    assert source.n_solves(0) == 25


def test_generate_makes_a_dataset_of_spins(exact, tmp_path):
    sources = [
        SpinQuench("train", n_trajectories=1, n_steps=3, n_frames=3),
        RandomSpins("test", n_samples=2),
    ]
    path = generate(
        exact.lattice,
        DoubleExchange,
        exact.solver,
        sources,
        root=tmp_path,
        n_workers=0,
        progress=False,
    )
    frames = LatticeDataset.open(path).frames("train")
    assert frames.field.shape == frames.forces.shape == (3, 16, 3)


@pytest.mark.parametrize(
    ("model", "source", "use"),
    [
        (Holstein, RandomSpins("train"), "RandomFields, Quench"),
        (Holstein, SpinQuench("train"), "RandomFields, Quench"),
        (DoubleExchange, Quench("train"), "RandomSpins, SpinQuench"),
    ],
)
def test_sources_and_models_must_be_of_one_kind(model, source, use, tmp_path):
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    with pytest.raises(
        ValueError, match=rf"^sources must make fields of {model.__name__}, got .* Use {use}"
    ):
        generate(square(4), model, solver, [source], root=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_wrong_dynamics_are_refused_before_anything_runs():
    with pytest.raises(ValueError, match="alpha must be finite and not negative, got -0.1"):
        SpinQuench("train", alpha=-0.1)
    with pytest.raises(ValueError, match="dt must be positive"):
        SpinQuench("train", dt=0.0)
