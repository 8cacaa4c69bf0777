import math

import pytest
import torch

from lattgnn.dynamics import VerletLangevin, initial_state, noise, thermal_momentum_std


def test_noise_is_standard_normal_and_streams_are_independent() -> None:
    sample = noise(7, 3, (2, 50_000))
    others = [noise(8, 3, (2, 50_000)), noise(7, 4, (2, 50_000)), noise(7, 3, (2, 50_000), purpose=1)]
    assert sample.dtype == torch.float64
    assert abs(sample.mean()) < 0.015 and abs(sample.var() - 1) < 0.02
    assert abs((sample**4).mean() - 3) < 0.1
    assert abs((sample[0] * sample[1]).mean()) < 0.02
    for other in others:
        assert abs((sample * other).mean()) < 0.015


def test_noise_has_no_state_but_its_arguments() -> None:
    torch.manual_seed(1)
    first = noise(1, 2, (3, 10))
    torch.manual_seed(2)
    assert torch.equal(noise(1, 2, (3, 10)), first)
    assert torch.equal(noise(1, 2, (1, 10), first_replica=2), first[2:])
    assert torch.equal(noise(1, 2, (3, 5, 2)).flatten(1), first)


def test_noise_regression() -> None:
    # a regression value: trajectories made with one version must be reproducible with the next
    expected = [[0.15929546600623282, -1.7741885208017214]]
    assert torch.allclose(noise(0, 0, (1, 2)), torch.tensor(expected, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(("seed", "step"), [(-1, 0), (2**64, 0), (0, -1)])
def test_noise_refuses_what_is_no_64_bit_counter(seed: int, step: int) -> None:
    with pytest.raises(ValueError, match="must be an integer in"):
        noise(seed, step, (1, 1))


def test_initial_state_has_the_variances_of_the_quench(harmonic) -> None:
    mass = 5.0
    force_field = harmonic(100_000)
    state = initial_state(force_field, 3, 2, math.sqrt(5 / 0.18), math.sqrt(5 * mass))
    assert state.field.var().item() == pytest.approx(5 / 0.18, rel=0.02)
    assert (state.momentum / mass).var().item() == pytest.approx(5 / mass, rel=0.02)
    assert abs((state.field * state.momentum).mean()) < 0.1
    assert torch.equal(state.forces, force_field(state.field)[1])
    assert thermal_momentum_std(mass, 0.1) == pytest.approx(math.sqrt(0.5))


def test_start_is_the_same_in_float32_and_in_any_batch(harmonic) -> None:
    force_field = harmonic()
    wide = initial_state(force_field, 3, 4, 1.0, 2.0)
    narrow = initial_state(force_field, 3, 1, 1.0, 2.0, dtype=torch.float32)
    assert narrow.field.dtype == narrow.momentum.dtype == narrow.forces.dtype == torch.float32
    assert torch.equal(narrow.field, wide.field[:1].float())
    assert torch.equal(narrow.momentum, wide.momentum[:1].float())


def test_a_replica_lives_its_life_alone(harmonic) -> None:
    force_field = harmonic()
    integrator = VerletLangevin(dt=0.1, kT=0.5, gamma=0.3, mass=2.0)
    batch = initial_state(force_field, 3, 4, 1.0, 1.0)
    alone = batch.replica(2)
    for _ in range(20):
        batch, alone = integrator.step(force_field, batch), integrator.step(force_field, alone)
    assert torch.equal(alone.field, batch.field[2:3])
    assert torch.equal(alone.momentum, batch.momentum[2:3])
    assert alone.energy is not None and batch.energy is not None
    assert torch.equal(alone.energy, batch.energy[2:3])


def test_initial_state_refuses_nonsense(harmonic) -> None:
    with pytest.raises(ValueError, match="n_replicas must be at least 1, got 0"):
        initial_state(harmonic(), 0, 0)

    class Wrong:
        lattice, field_shape = harmonic().lattice, (8,)

        def __call__(self, field):
            return None, field[..., :4]

    with pytest.raises(ValueError, match=r"forces must have the field's shape \(1, 8\), got \(1, 4\)"):
        initial_state(Wrong(), 0)
