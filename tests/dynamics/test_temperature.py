"""Temperature protocols, and parameters of single components, against closed forms."""

import math

import numpy as np
import pytest
import torch

from lattgnn.dynamics import (
    BAOAB,
    Cycle,
    HeunLLG,
    LinearRamp,
    MidpointLLG,
    OverdampedLangevin,
    Regular,
    State,
    Steps,
    TemperatureProtocol,
    VerletLangevin,
    initial_spins,
    initial_state,
    simulate,
)
from lattgnn.errors import InputError
from lattgnn.lattice import chain
from lattgnn.serialize import build, describe

PROTOCOLS = (
    LinearRamp(start=1.0, end=0.2, n_steps=8),
    Steps(values=(0.7, 0.1), n_steps=3),
    Cycle(start=0.1, turn=0.9, n_steps=6),
)


class Components:
    """Independent oscillators: component c of every site has the spring constant k_c."""

    def __init__(self, n_sites: int, stiffness: list[float]) -> None:
        self.lattice, self.field_shape = chain(n_sites), (n_sites, len(stiffness))
        self.stiffness = torch.tensor(stiffness, dtype=torch.float64)

    def __call__(self, field):
        k = self.stiffness.to(field)
        return 0.5 * (k * field.square()).flatten(1).sum(1), -k * field


def test_values_of_the_protocols() -> None:
    ramp, steps, cycle = PROTOCOLS
    assert [ramp.at(n) for n in (0, 4, 8, 100)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert [steps.at(n) for n in (0, 2, 3, 100)] == [0.7, 0.7, 0.1, 0.1]
    assert [cycle.at(n) for n in (0, 3, 6, 9)] == pytest.approx([0.1, 0.9, 0.1, 0.9])
    assert cycle.at(1) == cycle.at(5) == pytest.approx(0.1 + 0.8 / 3)
    twice = Cycle(start=0.1, turn=0.9, n_steps=6, n_cycles=2)
    assert [twice.at(n) for n in (9, 12, 15)] == pytest.approx([0.9, 0.1, 0.1])
    for protocol in (*PROTOCOLS, twice):
        assert build(describe(protocol), TemperatureProtocol) == protocol


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearRamp(-1.0, 0.1, 5), "start must be finite and not negative"),
        (lambda: LinearRamp(1.0, math.nan, 5), "end must be finite and not negative"),
        (lambda: LinearRamp(1.0, 0.1, 0), "n_steps must be at least 1"),
        (lambda: Steps((), 5), "at least one temperature"),
        (lambda: Steps((0.1, -0.1), 5), "values must be finite and not negative"),
        (lambda: Cycle(0.1, 0.2, 1), "n_steps must be at least 2"),
        (lambda: Cycle(0.1, 0.2, 4, 0), "n_cycles must be at least 1"),
        (lambda: VerletLangevin(0.1, (0.1, -0.1), 0.1, 1.0), "kT must be finite and not negative"),
        (lambda: BAOAB(0.1, 0.1, 0.1, (1.0, 0.0)), "mass must be positive"),
        (lambda: OverdampedLangevin(0.1, 0.1, (1.0, 0.0)), "gamma must be positive"),
    ],
)
def test_bad_parameters_are_refused(make, message) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("kind", [VerletLangevin, BAOAB])
def test_free_momenta_follow_a_ramp(harmonic, kind) -> None:
    """d⟨p²⟩/dt = −2 γ (⟨p²⟩ − m kT(t)), exactly solved for a linear kT(t) in steps of dt."""
    ramp, mass, gamma, dt, n_sites = LinearRamp(2.0, 0.1, 60), 2.0, 1.5, 0.05, 40_000
    integrator = kind(dt=dt, kT=ramp, gamma=gamma, mass=mass)
    force_field = harmonic(n_sites, 0.0)
    state = initial_state(force_field, 5, 1, 0.0, (mass * 2.0) ** 0.5)
    expected, decay = mass * 2.0, math.exp(-2 * gamma * dt)
    for step in range(120):
        expected = decay * expected + (1 - decay) * mass * ramp.at(step)
        state = integrator.step(force_field, state)
        if step in (29, 119):
            # Three standard errors of a variance, sqrt(2/n) each.
            assert state.momentum.var() == pytest.approx(expected, rel=3 * (2 / n_sites) ** 0.5)
    assert expected == pytest.approx(mass * 0.1, rel=0.01)  # the final temperature is reached


def test_a_field_follows_a_quench_of_the_temperature(harmonic) -> None:
    """Overdamped, d⟨Q²⟩/dt = −2 (k/γ) (⟨Q²⟩ − kT/k)."""
    dt, n_sites, steps = 0.02, 40_000, Steps((1.0, 0.25), 50)
    force_field = harmonic(n_sites, 1.0)
    state = initial_state(force_field, 5, 1, 1.0)
    integrator = OverdampedLangevin(dt=dt, kT=steps, gamma=1.0)
    for _ in range(80):
        state = integrator.step(force_field, state)
    expected = 0.25 + 0.75 * math.exp(-2 * 30 * dt)
    assert state.field.var() == pytest.approx(expected, rel=3 * (2 / n_sites) ** 0.5 + dt)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("kind", [VerletLangevin, BAOAB, OverdampedLangevin, HeunLLG, MidpointLLG])
def test_half_and_half_is_the_whole_with_a_protocol(harmonic, kind, protocol) -> None:
    is_spin = kind in (HeunLLG, MidpointLLG)
    parameters = {"alpha": 0.3} if is_spin else {"gamma": 0.8}
    if kind in (VerletLangevin, BAOAB):
        parameters["mass"] = 2.0
    integrator = kind(dt=0.1, kT=protocol, **parameters)
    force_field = Components(5, [1.0, 1.0, 1.0]) if is_spin else harmonic(6)
    state = initial_spins(force_field, 1) if is_spin else initial_state(force_field, 1, 2, 1.0)
    whole = simulate(force_field, integrator, state, 12, Regular(4))
    half = simulate(force_field, integrator, state, 4, Regular(4)).state()
    rest = simulate(force_field, integrator, half, 8, Regular(4))
    assert torch.equal(rest.state().field, whole.state().field)
    assert torch.equal(rest.state().momentum, whole.state().momentum)


@pytest.mark.parametrize("kind", [VerletLangevin, BAOAB, OverdampedLangevin])
def test_a_constant_protocol_has_the_bits_of_a_number(harmonic, kind) -> None:
    parameters = {"gamma": 0.8} | ({} if kind is OverdampedLangevin else {"mass": 2.0})
    state = initial_state(harmonic(6), 1, 2, 1.0, 1.0, torch.float32)
    ends = []
    for kT in (0.5, Steps((0.5,), 1)):
        integrator = kind(dt=0.1, kT=kT, **parameters)
        ends.append(simulate(harmonic(6), integrator, state, 6, Regular(3)).state())
    assert torch.equal(ends[0].field, ends[1].field)


@pytest.mark.parametrize("kind", [VerletLangevin, BAOAB])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_each_component_has_its_own_mass_friction_and_bath(kind, dtype) -> None:
    """As three runs of one component each, without noise; the noise has its variance below."""
    kT, gamma, mass = (0.0, 0.0, 0.0), (0.2, 0.0, 2e-6), (5.0, 2.0, 1.0)
    force_field = Components(7, [1.0, 0.5, 2.0])
    state = initial_state(force_field, 1, 2, 1.0, 1.0, dtype)
    run = simulate(force_field, kind(0.1, kT, gamma, mass), state, 20, Regular(20)).state()
    for c, k in enumerate((1.0, 0.5, 2.0)):
        one = Components(7, [k])
        column = slice(c, c + 1)
        alone = State(
            state.field[..., column], state.momentum[..., column], state.forces[..., column]
        )
        integrator = kind(0.1, kT[c], gamma[c], mass[c])
        expected = simulate(one, integrator, alone, 20, Regular(20)).state()
        bound = 1e-12 if dtype == torch.float64 else 2e-5
        assert torch.allclose(run.field[..., c], expected.field[..., 0], rtol=0, atol=bound)
        assert torch.allclose(run.momentum[..., c], expected.momentum[..., 0], rtol=0, atol=bound)


def test_each_component_is_in_equilibrium_with_its_own_bath() -> None:
    """⟨p²⟩ = m kT and ⟨Q²⟩ = kT/k of each component, within four standard errors."""
    kT, mass, k = (0.1, 0.6), (1.0, 3.0), [1.0, 4.0]
    n_sites, force_field = 20_000, Components(20_000, k)
    state = initial_state(
        force_field,
        2,
        1,
        [(t / s) ** 0.5 for t, s in zip(kT, k, strict=True)],
        [(t * m) ** 0.5 for t, m in zip(kT, mass, strict=True)],
    )
    integrator = BAOAB(dt=0.2, kT=kT, gamma=(1.0, 0.5), mass=mass)
    for _ in range(40):
        state = integrator.step(force_field, state)
    for c in range(2):
        bound = 4 * (2 / n_sites) ** 0.5
        assert state.momentum[..., c].var() == pytest.approx(mass[c] * kT[c], rel=bound + 0.015)
        assert state.field[..., c].var() == pytest.approx(kT[c] / k[c], rel=bound)


def test_overdamped_components_have_their_own_friction() -> None:
    force_field = Components(4, [1.0, 1.0])
    state = initial_state(force_field, 2, 1, 1.0)
    integrator = OverdampedLangevin(dt=0.1, kT=0.0, gamma=(1.0, 2.0))
    after = integrator.step(force_field, state)
    expected = state.field * torch.tensor([1 - 0.1, 1 - 0.05], dtype=torch.float64)
    assert np.allclose(after.field, expected, rtol=1e-14)


def test_parameters_of_components_must_fit_the_field(harmonic) -> None:
    state = initial_state(harmonic(6), 1)
    integrator = VerletLangevin(0.1, 0.1, 0.1, mass=(1.0, 2.0))
    with pytest.raises(InputError, match="mass has 2 numbers.* but the field has no components"):
        simulate(harmonic(6), integrator, state, 2, Regular(1))
    with pytest.raises(InputError, match="kT has 3 numbers.* but the field has 2 components"):
        force_field = Components(4, [1.0, 1.0])
        BAOAB(0.1, (0.1, 0.2, 0.3), 0.1, 1.0).step(force_field, initial_state(force_field, 1))
