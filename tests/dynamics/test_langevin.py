"""Integrators against closed forms: order, equipartition, conservation."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.sparse
import torch

from lattgnn.dynamics import (
    BAOAB,
    Integrator,
    OverdampedLangevin,
    State,
    VerletLangevin,
    initial_state,
    noise,
)
from lattgnn.dynamics.philox import noise_request

UNDERDAMPED = (VerletLangevin, BAOAB)
KT, GAMMA, MASS = 0.7, 0.8, 2.0


def underdamped(kind: type, dt: float, kT: float = KT, gamma: float = GAMMA) -> Integrator:
    return kind(dt=dt, kT=kT, gamma=gamma, mass=MASS)


def start(force_field, field: Sequence[float], momentum: Sequence[float]) -> State:
    positions = torch.tensor([field], dtype=torch.float64)
    energy, forces = force_field(positions)
    return State(positions, torch.tensor([momentum], dtype=torch.float64), forces, energy)


def run(force_field, integrator: Integrator, state: State, n_steps: int) -> State:
    for _ in range(n_steps):
        state = integrator.step(force_field, state)
    return state


def slope(steps: Sequence[float], errors: Sequence[float]) -> float:
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def deterministic_error(force_field, integrator: Integrator, gamma: float) -> float:
    """Distance from an accurate solution at t = 4, without noise."""

    def flow(_: float, y: np.ndarray) -> np.ndarray:
        forces = -y[:1] * (force_field.stiffness + force_field.quartic * y[:1] ** 2)
        return np.concatenate([y[1:] / MASS, forces - gamma * y[1:]])

    exact = scipy.integrate.solve_ivp(flow, (0, 4), [1.0, 0.5], rtol=1e-12, atol=1e-12).y[:, -1]
    state = run(force_field, integrator, start(force_field, [1.0], [0.5]), round(4 / integrator.dt))
    return float(np.hypot(state.field.item() - exact[0], state.momentum.item() - exact[1]))


@pytest.mark.parametrize("kind", UNDERDAMPED)
@pytest.mark.parametrize("gamma", [0.0, GAMMA])
def test_order_without_noise(harmonic, kind: type, gamma: float) -> None:
    force_field, dts = harmonic(1, 1.0, 0.5), [0.1, 0.05, 0.025, 0.0125]
    errors = [
        deterministic_error(force_field, underdamped(kind, dt, 0.0, gamma), gamma) for dt in dts
    ]
    assert slope(dts, errors) == pytest.approx(2 if gamma == 0 else kind.order, abs=0.1)


def test_order_of_overdamped_dynamics_without_noise(harmonic) -> None:
    force_field, dts = harmonic(1), [0.1, 0.05, 0.025]
    exact = np.exp(-2.0 / GAMMA)
    errors = []
    for dt in dts:
        state = run(
            force_field,
            OverdampedLangevin(dt, 0.0, GAMMA),
            start(force_field, [1.0], [0.0]),
            round(2 / dt),
        )
        errors.append(abs(state.field.item() - exact))
    assert slope(dts, errors) == pytest.approx(OverdampedLangevin.order, abs=0.1)


def linear_map(force_field, integrator: Integrator) -> tuple[np.ndarray, np.ndarray]:
    """M and G of a step x → M x + G ξ of a harmonic site.

    M comes from two starts without noise, G from x = 0.
    """
    cold = underdamped(type(integrator), integrator.dt, 0.0)

    def vector(state: State) -> np.ndarray:
        return np.array([state.field.item(), state.momentum.item()])

    columns = [
        vector(cold.step(force_field, start(force_field, *x)))
        for x in (([1.0], [0.0]), ([0.0], [1.0]))
    ]
    kicked = vector(integrator.step(force_field, start(force_field, [0.0], [0.0])))
    return np.column_stack(columns), kicked / noise(0, 0, (1, 1)).item()


def covariance(force_field, integrator: Integrator) -> np.ndarray:
    """Exact stationary covariance of the discrete process, no sampling: C = M C Mᵀ + G Gᵀ."""
    matrix, gain = linear_map(force_field, integrator)
    return scipy.linalg.solve_discrete_lyapunov(matrix, np.outer(gain, gain))


@pytest.mark.parametrize("kind", UNDERDAMPED)
def test_stationary_order_of_a_harmonic_site(harmonic, kind: type) -> None:
    stiffness, dts = 1.3, [0.4, 0.2, 0.1, 0.05]
    force_field = harmonic(1, stiffness)
    found = [covariance(force_field, underdamped(kind, dt)) for dt in dts]
    # BAOAB has the right ⟨Q²⟩ at any dt, Verlet the right ⟨p²⟩.
    exact, inexact = (0, 1) if kind is BAOAB else (1, 0)
    expected = [KT / stiffness, MASS * KT]
    assert max(abs(c[exact, exact] - expected[exact]) for c in found) < 1e-12
    errors = [abs(c[inexact, inexact] - expected[inexact]) for c in found]
    assert slope(dts, errors) == pytest.approx(kind.stationary_order, abs=0.1)


@pytest.mark.parametrize("kind", UNDERDAMPED)
def test_weak_order_at_a_fixed_time(harmonic, kind: type) -> None:
    """⟨x xᵀ⟩(t) of a harmonic site against the exact Ornstein–Uhlenbeck solution, no sampling."""
    stiffness, time, dts = 1.3, 2.0, [0.2, 0.1, 0.05]
    force_field = harmonic(1, stiffness)
    drift = np.array([[0.0, 1 / MASS], [-stiffness, -GAMMA]])
    equilibrium = np.diag([KT / stiffness, MASS * KT])
    propagator = scipy.linalg.expm(drift * time)
    exact = equilibrium - propagator @ equilibrium @ propagator.T  # from x = 0
    errors = []
    for dt in dts:
        matrix, gain = linear_map(force_field, underdamped(kind, dt))
        found = np.zeros((2, 2))
        for _ in range(round(time / dt)):
            found = matrix @ found @ matrix.T + np.outer(gain, gain)
        errors.append(float(np.abs(found - exact).max()))
    assert slope(dts, errors) == pytest.approx(kind.order, abs=0.15)


def test_overdamped_step_is_leimkuhler_matthews(harmonic) -> None:
    """A harmonic site obeys Q → a Q + s (ξ_n + ξ_{n+1}), with ⟨Q²⟩ = 2 s² / (1 − a) = kT/k."""
    stiffness, dt = 1.3, 0.4
    force_field = harmonic(1, stiffness)
    integrator = OverdampedLangevin(dt, KT, GAMMA)
    state = start(force_field, [0.5], [0.0])
    decay = 1 - dt * stiffness / GAMMA
    scale = (
        (integrator.step(force_field, state).field - decay * 0.5)
        / (noise(0, 0, (1, 1)) + noise(0, 1, (1, 1)))
    ).item()
    assert 2 * scale**2 / (1 - decay) == pytest.approx(KT / stiffness, rel=1e-12)


def average(force_field, integrator: Integrator, n_steps: int, n_skip: int, of: Callable) -> float:
    state = initial_state(force_field, seed=5, field_std=0.8, momentum_std=(MASS * KT) ** 0.5)
    values = []
    for step in range(n_steps):
        state = integrator.step(force_field, state)
        if step >= n_skip:
            values.append(of(state).item())
    return float(np.mean(values))


def mean_square(state: State) -> torch.Tensor:
    return state.field.square().mean()


def boltzmann_mean_square(stiffness: float, quartic: float) -> float:
    grid = np.linspace(-6, 6, 20_001)
    weight = np.exp(-(0.5 * stiffness * grid**2 + 0.25 * quartic * grid**4) / KT)
    return float((grid**2 * weight).sum() / weight.sum())


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNDERDAMPED)
def test_stationary_order_of_a_quartic_site(harmonic, kind: type) -> None:
    """⟨Q²⟩ sampled, against quadrature of the Boltzmann weight."""
    force_field, exact = harmonic(40_000, 0.2, 1.0), boltzmann_mean_square(0.2, 1.0)
    dts, errors = (0.6, 0.3), []
    for dt in dts:
        errors.append(
            abs(average(force_field, underdamped(kind, dt), 1500, 300, mean_square) - exact)
        )
    assert slope(dts, errors) == pytest.approx(kind.stationary_order, abs=0.5)
    assert errors[1] < 0.02 * exact


def test_stationary_order_of_an_overdamped_quartic_site(harmonic) -> None:
    """⟨Q²⟩ of the discrete process without sampling, in which a rare kick could diverge.

    With Q = y + s ξ_n the next y is Q + (dt/γ) F(Q) + s ξ_n, a Markov chain, whose density is
    computed on a grid.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    grid = np.linspace(-4, 4, 2401)
    force_field, exact = harmonic(grid.size * nodes.size, 0.2, 1.0), boltzmann_mean_square(0.2, 1.0)
    row = np.repeat(np.arange(grid.size), nodes.size)
    dts, errors = (0.1, 0.05), []
    for dt in dts:
        kicks = math.sqrt(0.5 * KT * dt / GAMMA) * np.tile(nodes, grid.size)
        field = torch.from_numpy(grid[row] + kicks)[None]
        cold = OverdampedLangevin(dt, 0.0, GAMMA)
        moved = (
            cold.step(force_field, State(field, field, force_field(field)[1])).field[0].numpy()
            + kicks
        )
        place = np.clip((moved - grid[0]) / (grid[1] - grid[0]), 0, grid.size - 1.001)
        left, share = place.astype(int), place % 1
        weight = np.tile(weights / weights.sum(), grid.size)
        entries = (
            np.concatenate([weight * (1 - share), weight * share]),
            (np.append(left, left + 1), np.tile(row, 2)),
        )
        transfer = scipy.sparse.coo_array(entries, shape=(grid.size, grid.size)).tocsr()
        density = np.exp(-(grid**2))
        for _ in range(round(40 / dt)):
            density = transfer @ density
        mean_square_y = (density * grid**2).sum() / density.sum()
        errors.append(abs(mean_square_y + 0.5 * KT * dt / GAMMA - exact))
    assert slope(dts, errors) == pytest.approx(OverdampedLangevin.stationary_order, abs=0.3)
    assert errors[0] < 0.002 * exact


@pytest.mark.parametrize("kind", [*UNDERDAMPED, OverdampedLangevin])
def test_equipartition_in_every_mode(springs, kind: type) -> None:
    """⟨|Q_q|²⟩ = kT / (k + 2 κ cos q) and ⟨p²⟩ = m kT on a ring of springs."""
    dt = 0.1
    overdamped = kind is OverdampedLangevin
    integrator = OverdampedLangevin(dt, KT, GAMMA) if overdamped else underdamped(kind, dt)
    state = initial_state(springs, 11, 4, 0.8, (MASS * KT) ** 0.5)
    n_sites = springs.lattice.n_sites
    power, kinetic, n_samples = torch.zeros(n_sites, dtype=torch.float64), 0.0, 0
    for step in range(600):
        state = integrator.step(springs, state)
        if step >= 100 and step % 5 == 0:
            power += torch.fft.fft(state.field, norm="ortho").abs().square().mean(0)
            kinetic += state.momentum.square().mean().item()
            n_samples += 1
    q = 2 * np.pi * np.arange(n_sites) / n_sites
    expected = KT / (springs.stiffness + 2 * springs.coupling * np.cos(q))
    # The mean over modes of similar wave number.
    ratio = (power.numpy() / n_samples / expected).reshape(16, -1).mean(1)
    assert np.allclose(ratio, 1, atol=0.04)
    if not overdamped:
        assert kinetic / n_samples == pytest.approx(MASS * KT, rel=0.01)


@pytest.mark.parametrize("kind", UNDERDAMPED)
def test_no_friction_conserves_energy_and_draws_no_noise(harmonic, kind: type, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(
        "lattgnn.dynamics.langevin.noise_request",
        lambda *_, **named: drawn.append(named["n_draws"]) or noise_request(*_, **named),
    )
    force_field = harmonic(16, 1.0, 0.3)
    state = initial_state(force_field, 0, 3, 1.0, 1.0)

    def total(state: State) -> torch.Tensor:
        assert state.energy is not None
        return state.energy + state.momentum.square().sum(-1) / (2 * MASS)

    before, integrator, errors = total(state), underdamped(kind, 0.05, gamma=0.0), []
    for _ in range(2000):
        state = integrator.step(force_field, state)
        errors.append((total(state) / before - 1).abs().max().item())
    assert not any(drawn)
    assert max(errors) < 2e-3
    assert np.mean(errors[-500:]) < 1.5 * np.mean(errors[:500]) + 1e-5  # bounded, no drift


def test_newton_runs_backwards(harmonic) -> None:
    force_field, integrator = harmonic(8, 1.0, 0.3), underdamped(VerletLangevin, 0.1, gamma=0.0)
    first = initial_state(force_field, 0, 1, 1.0, 1.0)
    last = run(force_field, integrator, first, 100)
    turned = State(last.field, -last.momentum, last.forces)
    back = run(force_field, integrator, turned, 100)
    # 200 steps round numbers of order 3 by 2⁻⁵³ a few times each. The frequency depends on the
    # amplitude, so an early error grows by at most the number of steps: 200² · 3 · 1e-16 = 1e-11.
    assert torch.allclose(back.field, first.field, rtol=0, atol=1e-11)
    assert torch.allclose(back.momentum, -first.momentum, rtol=0, atol=1e-11)


def test_steps_leave_their_argument_alone(harmonic) -> None:
    force_field = harmonic()
    state = initial_state(force_field, 0, 2, 1.0, 1.0)
    copies = [tensor.clone() for tensor in (state.field, state.momentum, state.forces)]
    for integrator in (
        *(underdamped(kind, 0.1) for kind in UNDERDAMPED),
        OverdampedLangevin(0.1, KT, GAMMA),
    ):
        after = integrator.step(force_field, state)
        assert after.step == 1
        for tensor, copy in zip((state.field, state.momentum, state.forces), copies, strict=True):
            assert torch.equal(tensor, copy)


def test_verlet_langevin_is_the_papers_formula(harmonic) -> None:
    force_field, dt = harmonic(4, 1.3, 0.2), 0.05
    state = initial_state(force_field, 9, 1, 1.0, 1.0)
    velocity = state.momentum / MASS + 0.5 * dt * state.forces / MASS
    field = state.field + dt * velocity
    velocity = velocity + 0.5 * dt * force_field(field)[1] / MASS
    a = np.exp(-GAMMA * dt)
    velocity = a * velocity + np.sqrt((1 - a**2) * KT / MASS) * noise(9, 0, (1, 4))
    after = underdamped(VerletLangevin, dt).step(force_field, state)
    # About ten roundings of 2⁻⁵³ of terms below 5, in both.
    assert torch.allclose(after.field, field, rtol=0, atol=1e-14)
    assert torch.allclose(after.momentum / MASS, velocity, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", [*UNDERDAMPED, OverdampedLangevin])
def test_float32_follows_float64_with_the_same_noise(springs, kind: type) -> None:
    integrator = (
        OverdampedLangevin(0.05, KT, GAMMA)
        if kind is OverdampedLangevin
        else underdamped(kind, 0.05)
    )
    ends = [
        run(springs, integrator, initial_state(springs, 2, 2, 1.0, 1.0, dtype), 200)
        for dtype in (torch.float64, torch.float32)
    ]
    assert ends[1].field.dtype == ends[1].momentum.dtype == ends[1].forces.dtype == torch.float32
    # Each step rounds field and momentum up to six times by 2⁻²⁴ (two kicks, two drifts, friction,
    # noise). The springs are linear and stable, and errors decay as fluctuations do, by half the
    # friction rate γ/2m or faster: those of the last 2m/(γ dt) = 100 steps are left.
    largest = max(float(x.abs().max()) for x in (ends[0].field, ends[0].momentum))
    bound = 2 * MASS / (GAMMA * integrator.dt) * 6 * 2.0**-24 * largest
    assert torch.allclose(ends[0].field, ends[1].field.double(), rtol=0, atol=bound)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VerletLangevin(0.0, 1.0, 1.0, 1.0), "dt must be positive"),
        (lambda: BAOAB(0.1, -1.0, 1.0, 1.0), "kT must be finite and not negative"),
        (lambda: VerletLangevin(0.1, 1.0, -1.0, 1.0), "gamma must be finite"),
        (lambda: BAOAB(0.1, 1.0, 1.0, float("nan")), "mass must be positive"),
        (lambda: OverdampedLangevin(0.1, 1.0, 0.0), "gamma must be positive"),
    ],
)
def test_nonsense_is_refused(make: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", UNDERDAMPED)
@pytest.mark.parametrize("rate", [0.9e-4, 1e-7, 2e-8])
def test_free_momenta_decay_at_the_friction_rate_in_single_precision(harmonic, kind, rate):
    """⟨p(t)⟩ = p(0) exp(−γ t), even where a step loses less than the rounding of a float32."""
    n_steps, force_field = 1000, harmonic(256, 0.0)
    momentum = torch.linspace(0.5, 4, 256, dtype=torch.float32)[None]
    integrator = kind(dt=0.05, kT=0.0, gamma=rate / 0.05, mass=1.0)
    zero = torch.zeros_like(momentum)
    end = run(force_field, integrator, State(zero, momentum, zero), n_steps)
    mean = float((end.momentum.double() / momentum.double()).mean())
    assert -math.log(mean) / (n_steps * rate) == pytest.approx(1, abs=0.008)


@pytest.mark.parametrize("rate", [1e-5, 1e-7])
def test_noise_of_a_small_friction_has_its_variance(harmonic, rate):
    """⟨p²⟩ = m kT (1 − exp(−2 γ t)) from rest, in single precision, to three standard errors."""
    n_steps, n_sites = 100, 20_000
    zero = torch.zeros(1, n_sites, dtype=torch.float32)
    integrator = VerletLangevin(dt=0.05, kT=KT, gamma=rate / 0.05, mass=MASS)
    end = run(harmonic(n_sites, 0.0), integrator, State(zero, zero, zero), n_steps)
    expected = MASS * KT * -math.expm1(-2 * rate * n_steps)
    assert end.momentum.double().square().mean() == pytest.approx(expected, rel=0.03)
