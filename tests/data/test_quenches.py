import numpy as np
import pytest
import torch

from lattgnn.data import LatticeDataset, Quench, RandomSpins, SpinQuench, generate
from lattgnn.data.quenches import source_identity
from lattgnn.dynamics import (
    BAOAB,
    HeunLLG,
    OverdampedLangevin,
    Regular,
    VerletLangevin,
    initial_spins,
    initial_state,
    simulate,
)
from lattgnn.dynamics.runaway import RunawayFieldError
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


def test_random_spins_with_uniform_angles_favor_the_poles(exact):
    source = RandomSpins("train", n_samples=100, block_size=100, uniform_angles=True)
    spins = source.draw(np.arange(100), exact, seed=3)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=-1), 1, atol=1e-14)
    # The mean squares are those of uniform angles; 1600 spins give a standard error of 0.009.
    np.testing.assert_allclose(np.square(spins).mean((0, 1)), [0.25, 0.25, 0.5], atol=0.03)
    thirds, _ = np.histogram(np.arccos(spins[..., 2]), 3, (0, np.pi))
    np.testing.assert_allclose(thirds / spins[..., 2].size, 1 / 3, atol=0.04)


def test_the_default_of_random_spins_is_not_part_of_the_name_of_a_dataset():
    assert "uniform_angles" not in source_identity(RandomSpins("train"))["init_args"]
    assert source_identity(RandomSpins("train", uniform_angles=True))["init_args"]["uniform_angles"]


def test_a_quench_follows_the_dynamics_and_labels_its_frames(exact):
    source = SpinQuench(
        "train", n_trajectories=1, n_steps=12, n_frames=6, integrator=HeunLLG(0.1, 0.02, 0.3)
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


def test_a_quench_needs_an_integrator_of_its_kind_of_field():
    with pytest.raises(
        ValueError, match="must move the field of SpinQuench, got BAOAB. Use HeunLLG"
    ):
        SpinQuench("train", integrator=BAOAB(0.05, 0.1, 0.2, 5.0))


@pytest.mark.parametrize(
    "integrator",
    [BAOAB(0.05, 0.1, 0.2, 5.0), OverdampedLangevin(0.05, 0.1, 2.0), VerletLangevin(0.1, 0, 0, 1)],
)
def test_labels_can_be_made_with_any_integrator(integrator):
    model = Holstein(square(4))
    exact = ExactForceField(model, ExactDiagonalization(kT=0.1, mu=0.0))
    source = Quench("train", 1, n_steps=10, n_frames=5, integrator=integrator)
    frames = source.label(exact, 0, seed=3)
    mass = getattr(integrator, "mass", 0.0)
    state = initial_state(exact, 3, 1, field_std=(5 / 0.18) ** 0.5, momentum_std=mass)
    run = simulate(exact, integrator, state, 10, Regular(1))
    np.testing.assert_array_equal(frames.field, np.asarray(run.fields)[frames.step, 0])


def test_the_identity_of_a_source_is_that_of_older_datasets():
    flat = source_identity(Quench("train", integrator=VerletLangevin(0.1, 0.2, 0.3, 4.0)))
    assert flat == {
        "class_path": "lattgnn.data.Quench",
        "init_args": {
            **{"split": "train", "n_trajectories": 8, "n_steps": 2000, "n_frames": 135},
            **{"dt": 0.1, "kT": 0.2, "gamma": 0.3, "mass": 4.0},
            **{"field_variance": 5 / 0.18, "velocity_variance": 1.0},
        },
    }
    nested = source_identity(Quench("train", integrator=BAOAB(0.1, 0.2, 0.3, 4.0)))
    assert nested["init_args"]["integrator"]["class_path"] == "lattgnn.dynamics.BAOAB"
    spins = source_identity(SpinQuench("train"))["init_args"]
    assert (spins["dt"], spins["kT"], spins["alpha"]) == (0.1, 0.01, 0.1)


@pytest.mark.parametrize(
    ("model", "source", "n_workers"),
    [
        # A step far beyond the stability limit of the oscillator, 2 / sqrt(k0 / mass).
        (Holstein, Quench("val", 1, 300, 6, VerletLangevin(5.0, 0.1, 0.1, 1.0)), 0),
        # Infinite noise gives spins of no direction.
        (DoubleExchange, SpinQuench("val", 1, 3, 2, HeunLLG(0.1, 1e308, 1e10)), 0),
        pytest.param(
            Holstein,
            Quench("val", 1, 300, 6, VerletLangevin(5.0, 0.1, 0.1, 1.0)),
            2,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_trajectory_that_runs_away_is_no_label(model, source, n_workers, tmp_path):
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    sources = [source, source]  # two tasks, so that two processes start
    with pytest.raises(RunawayFieldError, match="field of val trajectory 0 must stay"):
        generate(
            square(4), model, solver, sources, root=tmp_path, n_workers=n_workers, progress=False
        )
    assert not list(tmp_path.rglob("record.json"))
