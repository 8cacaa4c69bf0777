import math

import numpy as np
import pytest
import torch

from lattgnn.dynamics import (
    State,
    VerletLangevin,
    initial_state,
    state_from_field,
    thermal_momentum_std,
)
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import ClassicalMagnet, SpinTerms
from lattgnn.lattice import chain
from lattgnn.solvers import NoElectrons


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


def test_a_state_of_ones_own_field_has_its_forces(harmonic) -> None:
    force_field = harmonic()
    field = np.arange(16.0).reshape(2, 8)
    state = state_from_field(force_field, field, seed=5)
    assert state.seed == 5 and state.step == 0 and not state.momentum.any()
    assert torch.equal(state.forces, force_field(torch.from_numpy(field))[1])
    field[:] = 0  # the state has a copy
    assert state.field.sum() == 120
    assert state_from_field(force_field, torch.ones(8), 0).forces.dtype == torch.float32


@pytest.mark.parametrize(
    ("spins", "message"),
    [
        (np.ones((4, 3)), "length 1"),
        (np.ones((3, 4)), r"shape \[4, 3\], .* got \[3, 4\]"),
        (np.full((4, 3), np.nan), "finite"),
        (np.ones((4, 3), dtype=np.int64), "float32 or float64"),
        (np.ones((0, 4, 3)), "shape"),
    ],
)
def test_a_field_that_is_no_configuration_is_refused(spins, message) -> None:
    magnet = ExactForceField(ClassicalMagnet(chain(4), SpinTerms(exchange=1.0)), NoElectrons())
    with pytest.raises(InputError, match=message):
        state_from_field(magnet, spins, 0)


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

    with pytest.raises(
        ValueError, match=r"forces must have the field's shape \(1, 8\), got \(1, 4\)"
    ):
        initial_state(Wrong(), 0)


def test_rows_of_a_batch_are_numbered_as_in_numpy(harmonic) -> None:
    batch = initial_state(harmonic(), 3, 3, 1.0)
    last = batch.replica(-1)
    assert torch.equal(last.field, batch.field[2:]) and last.first_replica == 2
    for index in (3, -4):
        with pytest.raises(InputError, match=rf"index must be from 0 to 2, or .*got {index}\. Use"):
            batch.replica(index)


@pytest.mark.parametrize("name", ["momentum", "forces", "energy"])
@pytest.mark.parametrize(
    "other", [torch.zeros(1, 4), torch.zeros(3, 5), torch.zeros(3, 4, dtype=torch.float64)]
)
def test_the_parts_of_a_state_must_fit_together(name, other) -> None:
    """Compiled code would read beyond the end of a smaller tensor."""
    zeros = torch.zeros(3, 4)
    state = State(zeros, zeros, zeros)
    # Under pytest the shapes of the annotations are checked first, so the constructor is avoided.
    object.__setattr__(state, name, other)
    with pytest.raises(InputError, match=f"{name} must (be like the field|have one number)"):
        state.__post_init__()


def test_forces_that_do_not_fit_are_refused_at_every_step(harmonic) -> None:
    class Shrinking:
        lattice, field_shape, n_calls = harmonic().lattice, (8,), 0

        def __call__(self, field):
            self.n_calls += 1
            return None, -field if self.n_calls < 3 else -field[:, :4]

    force_field = Shrinking()
    state = initial_state(force_field, 0, 1, 1.0)
    integrator = VerletLangevin(dt=0.1, kT=0.5, gamma=0.3, mass=2.0)
    state = integrator.step(force_field, state)
    with pytest.raises(InputError, match=r"forces must have the field's shape \(1, 8\)"):
        integrator.step(force_field, state)
