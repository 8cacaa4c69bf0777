"""Spins against closed forms: precession, damping, order, the paramagnet."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import scipy.integrate
import torch
from numpy.polynomial import legendre
from torch import Tensor

from lattgnn.dynamics import (
    HeunLLG,
    MidpointLLG,
    OverdampedSpins,
    Regular,
    SpinTransferTorque,
    State,
    initial_spins,
    simulate,
)
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange
from lattgnn.lattice import Lattice, chain, square
from lattgnn.solvers import ExactDiagonalization

SCHEMES = (MidpointLLG, HeunLLG)
# The same schemes without the part of the effective field along the spin.
TANGENT_SCHEMES = (partial(MidpointLLG, tangent=True), partial(HeunLLG, tangent=True))


@dataclass(frozen=True)
class Zeeman:
    """E = −h·Σ S − Σ_i S_i·S_{i+1} × exchange − anisotropy Σ S_z² − along/2 Σ S²."""

    lattice: Lattice
    h: tuple[float, float, float] = (0.0, 0.0, 1.0)
    exchange: float = 0.0
    anisotropy: float = 0.0
    along: float = 0.0  # a field along each spin, which has no effect

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (self.lattice.n_sites, 3)

    def __call__(self, field: Tensor) -> tuple[Tensor, Tensor]:
        h, z = field.new_tensor(self.h), field.new_tensor([0.0, 0.0, 1.0])
        neighbors = field.roll(1, -2) + field.roll(-1, -2)
        energy = -(field * (h + 0.5 * self.exchange * neighbors)).sum((-1, -2))
        energy = energy - self.anisotropy * field[..., 2].square().sum(-1)
        forces = h + self.exchange * neighbors + 2 * self.anisotropy * field * z
        return energy - 0.5 * self.along * field.shape[-2], forces + self.along * field


def run(force_field, integrator, state: State, n_steps: int) -> State:
    for _ in range(n_steps):
        state = integrator.step(force_field, state)
    return state


def slope(dts, errors) -> float:
    return float(np.polyfit(np.log(dts), np.log(errors), 1)[0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_spins_turn_about_the_field_as_ehrenfest_has_it(scheme):
    """dS/dt = S × B: from x towards −y at ω = |B|; damping divides it by 1 + alpha²."""
    for alpha in (0.0, 0.3):
        force_field, dt, n = Zeeman(chain(1), h=(0.0, 0.0, 0.7)), 0.01, 300
        start = replace(
            initial_spins(force_field, 0), field=torch.tensor([[[1.0, 0.0, 0.0]]]).double()
        )
        end = run(force_field, scheme(dt, 0.0, alpha), start, n).field[0, 0]
        angle = np.arctan2(-float(end[1]), float(end[0]))
        assert angle == pytest.approx(0.7 * n * dt / (1 + alpha**2), rel=1e-4)
        # dS_z/dt = alpha B (1 − S_z²) / (1 + alpha²)
        assert float(end[2]) == pytest.approx(
            np.tanh(0.7 * alpha * n * dt / (1 + alpha**2)), abs=1e-4
        )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_energy_does_not_increase_without_a_bath(scheme):
    force_field = Zeeman(chain(32), exchange=1.0, anisotropy=0.3)
    state, integrator = initial_spins(force_field, 3, 4), scheme(0.05, 0.0, 0.2)
    energies = []
    for _ in range(400):
        state = integrator.step(force_field, state)
        energies.append(state.energy)
    energy = torch.stack(energies)
    assert energy.diff(dim=0).max() <= 1e-10
    assert (energy[-1] < energy[0] - 20).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_precession_alone_conserves_the_energy(scheme):
    force_field = Zeeman(chain(16), exchange=1.0, anisotropy=0.3)
    first = initial_spins(force_field, 3)
    dts, errors = [0.1, 0.05], []
    for dt in dts:
        last = run(
            force_field, scheme(dt, 0.5, 0.0), first, round(5 / dt)
        )  # kT plays no part at alpha = 0
        assert first.energy is not None and last.energy is not None
        errors.append(float((last.energy - first.energy).abs()))
    assert errors[0] < 0.05 and slope(dts, errors) > 1.8


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_spins_keep_their_length(scheme, dtype):
    force_field = Zeeman(chain(16), exchange=1.0)
    state = run(force_field, scheme(0.1, 2.0, 0.5), initial_spins(force_field, 1, 2, dtype), 400)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    assert (state.field.norm(dim=-1) - 1).abs().max() < tolerance
    assert state.field.dtype == state.forces.dtype == dtype and not state.momentum.any()


@pytest.mark.parametrize("scheme", [*SCHEMES, *TANGENT_SCHEMES])
@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_order_without_noise(scheme, alpha):
    """Three coupled spins at t = 3, against an accurate solution."""
    force_field = Zeeman(chain(3), h=(0.3, 0.0, 1.0), exchange=0.8, anisotropy=0.5)
    first = initial_spins(force_field, 8)

    def flow(_: float, y: np.ndarray) -> np.ndarray:
        spins = torch.from_numpy(y.reshape(1, 3, 3))
        precession = torch.linalg.cross(spins, force_field(spins)[1])
        damped = precession - alpha * torch.linalg.cross(spins, precession)
        return (damped / (1 + alpha**2)).flatten().numpy()

    exact = scipy.integrate.solve_ivp(
        flow, (0, 3), first.field.flatten(), rtol=1e-12, atol=1e-12
    ).y[:, -1]
    dts = [0.1, 0.05, 0.025]
    ends = [
        run(force_field, scheme(dt, 0.0, alpha), first, round(3 / dt)).field.flatten() for dt in dts
    ]
    errors = [float(np.linalg.norm(end.numpy() - exact)) for end in ends]
    assert slope(dts, errors) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("scheme", TANGENT_SCHEMES)
def test_a_field_along_the_spins_is_not_seen_by_tangent_schemes(scheme):
    without, along = Zeeman(chain(6), exchange=0.8), Zeeman(chain(6), exchange=0.8, along=20.0)
    ends = [
        run(force_field, scheme(0.3, 0.2, 0.4), initial_spins(force_field, 3), 50).field
        for force_field in (without, along)
    ]
    torch.testing.assert_close(*ends, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tangent_schemes_take_longer_steps_in_a_metal(scheme):
    """Double exchange: ten times the step, and still a smaller error after the same time."""
    electrons = ExactDiagonalization(kT=0.1, mu=-3.5)
    force_field = ExactForceField(DoubleExchange(square(4), t=1.0, J=3.5), electrons)
    tangent = partial(scheme, kT=0.0, alpha=0.1, tangent=True)
    first = run(force_field, tangent(0.5), initial_spins(force_field, 1), 10)
    exact = run(force_field, tangent(0.1), first, 40)
    plain = run(force_field, scheme(0.1, 0.0, 0.1), first, 40)
    long = run(force_field, tangent(1.0), first, 4)
    errors = [float((end.field - exact.field).norm(dim=-1).max()) for end in (plain, long)]
    assert errors[1] < errors[0] < 0.1


def langevin(x: float) -> float:
    """⟨S_z⟩ of a classical paramagnet at x = h/kT."""
    return 1 / np.tanh(x) - 1 / x


@pytest.mark.parametrize("scheme", SCHEMES)
def test_paramagnet(scheme):
    kT, force_field = 0.4, Zeeman(chain(4000))
    integrator = scheme(0.05, kT, 0.7)
    state = run(force_field, integrator, initial_spins(force_field, 5), 150)
    values = []
    for _ in range(5):  # draws of 4000 spins, a relaxation time of 1/(2 alpha kT) or so apart
        state = run(force_field, integrator, state, 30)
        values.append(float(state.field[..., 2].mean()))
    assert np.mean(values) == pytest.approx(langevin(1 / kT), abs=0.015)


def stationary_magnetization(monkeypatch, scheme: Callable, dt: float, kT: float) -> float:
    """⟨S_z⟩ of the discrete process in a field along z, no sampling.

    By symmetry the density depends on z alone. One step from nodes z_k, its noise on a
    Gauss–Hermite grid, gives the transfer matrix between Legendre polynomials; its left eigenvector
    at 1 has ⟨P_1⟩.
    """
    nodes, weights = legendre.leggauss(16)
    x, w = np.polynomial.hermite_e.hermegauss(14)
    grid = torch.from_numpy(np.stack(np.meshgrid(x, x, x, indexing="ij"), -1).reshape(-1, 3))
    weight = torch.from_numpy(np.einsum("i,j,k->ijk", w, w, w).ravel() / w.sum() ** 3)
    spins = torch.from_numpy(np.stack([np.sqrt(1 - nodes**2), 0 * nodes, nodes], -1))
    field = spins[:, None, :].repeat(1, len(grid), 1)
    force_field = Zeeman(chain(len(grid)))
    state = State(field, torch.zeros_like(field), force_field(field)[1])
    monkeypatch.setattr(
        "lattgnn.dynamics.spin_integrator.noise", lambda *_, **__: grid.expand(len(nodes), -1, -1)
    )
    after = scheme(dt, kT, 0.7).step(force_field, state).field[..., 2].clamp(-1, 1).numpy()
    polynomials = legendre.legvander(after, len(nodes) - 1)  # P_l(z') of each node and noise
    expected = np.einsum("kql,q->kl", polynomials, weight.numpy())
    norm = (2 * np.arange(len(nodes)) + 1) / 2
    transfer = norm[:, None] * np.einsum(
        "k,km,kl->ml", weights, legendre.legvander(nodes, 15), expected
    )
    values, vectors = np.linalg.eig(transfer.T)  # ⟨P_l⟩' = Σ_m ⟨P_m⟩ transfer[m, l]
    stationary = vectors[:, np.abs(values - 1).argmin()]
    return float(np.real(stationary[1] / stationary[0]))


def test_stationary_averages_of_a_paramagnet(monkeypatch):
    dts, kT = [0.2, 0.1, 0.05], 0.8
    errors = {
        scheme: [
            stationary_magnetization(monkeypatch, scheme, dt, kT) / langevin(1 / kT) - 1
            for dt in dts
        ]
        for scheme in SCHEMES
    }
    assert slope(dts, errors[MidpointLLG]) == pytest.approx(MidpointLLG.stationary_order, abs=0.15)
    assert errors[MidpointLLG][1] == pytest.approx(0.033, abs=0.002)  # as its docstring has it
    assert slope(dts[:2], np.abs(errors[HeunLLG][:2])) > HeunLLG.stationary_order
    assert abs(errors[HeunLLG][1]) < 1.5e-3 and abs(errors[HeunLLG][2]) < 2e-4


def test_stationary_averages_of_tangent_schemes(monkeypatch):
    """As good as those of the schemes without `tangent`, with the same orders."""
    dts, kT = [0.2, 0.1, 0.05], 0.8
    midpoint, heun = (
        [stationary_magnetization(monkeypatch, scheme, dt, kT) / langevin(1 / kT) - 1 for dt in dts]
        for scheme in TANGENT_SCHEMES
    )
    assert slope(dts, midpoint) == pytest.approx(MidpointLLG.stationary_order, abs=0.15)
    assert midpoint[1] == pytest.approx(0.034, abs=0.002)
    assert slope(dts[:2], np.abs(heun[:2])) > HeunLLG.stationary_order
    assert abs(heun[1]) < 1.5e-3 and abs(heun[2]) < 2e-4


def test_other_noise_than_fluctuation_dissipation_is_noticed(monkeypatch):
    """The same check fails where b has the variance of the Landau–Lifshitz form, 2 alpha kT (1 +
    alpha²).
    """
    kT = 0.8
    wrong = stationary_magnetization(monkeypatch, HeunLLG, 0.05, kT * (1 + 0.7**2))
    assert abs(wrong / langevin(1 / kT) - 1) > 0.2


@pytest.mark.parametrize("scheme", [*SCHEMES, *TANGENT_SCHEMES])
def test_a_restart_keeps_every_bit(scheme, tmp_path):
    force_field, integrator = Zeeman(chain(12), exchange=0.5), scheme(0.1, 0.7, 0.3)
    state = initial_spins(force_field, 4, 2)
    whole = simulate(force_field, integrator, state, 20, Regular(5), tmp_path / "whole").state()
    simulate(force_field, integrator, state, 10, Regular(5), tmp_path / "parts")
    parts = simulate(force_field, integrator, state, 20, Regular(5), tmp_path / "parts").state()
    assert parts.step == whole.step == 20
    for name in ("field", "forces", "energy", "momentum"):
        assert torch.equal(getattr(parts, name), getattr(whole, name))
    alone = run(
        force_field, integrator, state.replica(1), 20
    )  # a replica knows nothing of its batch
    assert torch.equal(alone.field[0], whole.field[1])


def test_random_spins_are_uniform_on_the_sphere():
    spins = initial_spins(Zeeman(chain(20_000)), 2).field[0]
    assert spins.mean(0).abs().max() < 0.02
    torch.testing.assert_close(
        spins.T @ spins / len(spins), torch.eye(3).double() / 3, rtol=0, atol=0.02
    )
    assert spins[:, 2].abs().mean() == pytest.approx(0.5, abs=0.01)  # z is uniform in [−1, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MidpointLLG(0.0, 0.1, 0.1), "dt must be positive"),
        (lambda: HeunLLG(0.1, -0.1, 0.1), "kT must be finite and not negative"),
        (lambda: HeunLLG(0.1, 0.1, float("nan")), "alpha must be finite"),
        (lambda: initial_spins(Zeeman(chain(2)), 0, 0), "n_replicas must be at least 1"),
    ],
)
def test_nonsense_is_refused(make: Callable, message: str):
    with pytest.raises(ValueError, match=message):
        make()


def test_scalar_fields_are_refused(harmonic):
    with pytest.raises(ValueError, match=r"must be spins \[n_sites, 3\], got \[8\]"):
        initial_spins(harmonic(), 0)
    field = torch.zeros(1, 3).double()
    with pytest.raises(ValueError, match=r"must be spins \[n_sites, 3\], got \[3\]"):
        MidpointLLG(0.1, 0.1, 0.1).step(harmonic(3), State(field, field, field))


@pytest.mark.slow
def test_spins_keep_their_length_over_many_steps():
    """Free precession of coupled spins, which never comes to rest."""
    force_field, integrator = Zeeman(chain(3), exchange=1.0), HeunLLG(0.1, 0.0, 0.0)
    state, largest = initial_spins(force_field, 1), 0.0
    for n in range(100_000):
        state = integrator.step(force_field, state)
        if n % 100 == 99:
            largest = max(largest, float((state.field.norm(dim=-1) - 1).abs().max()))
    assert largest < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(
    # The sampling error of S(q) is that of long waves, which relax slowly at low temperature.
    ("kT", "n_steps", "tolerance"),
    [(0.2, 700, 0.1), (0.4, 1400, 0.05), (0.8, 4000, 0.02)],
)
def test_coupled_spins_are_in_equilibrium(kT, n_steps, tolerance):
    """Heisenberg chain: M. E. Fisher, Am. J. Phys. 32, 343 (1964), by the transfer matrix.

    E = −J (coth K − 1/K) per bond, K = J/kT;  ⟨S_0·S_r⟩ = u^r, u = coth K − 1/K
    S(q) = (1 − u²)/(1 + u² − 2u cos q)
    """
    n, force_field = 2000, Zeeman(chain(2000), h=(0.0, 0.0, 0.0), exchange=1.0)
    u = langevin(1 / kT)
    integrator, state = HeunLLG(0.013 / kT, kT, 0.5), initial_spins(force_field, 7, 8)
    energies, structures = [], []
    for step in range(n_steps):
        state = integrator.step(force_field, state)
        if step >= 300 and step % 10 == 0:
            assert state.energy is not None
            energies.append(float(state.energy.mean()) / n)
            waves = torch.fft.fft(state.field, dim=1).abs().square().sum(-1).mean(0) / n
            structures.append(waves.numpy())
    assert np.mean(energies) == pytest.approx(-u, rel=0.005)
    # In twenty bands of wavevectors, since one alone has an exponential distribution.
    q = 2 * np.pi * np.arange(n) / n
    exact = (1 - u**2) / (1 + u**2 - 2 * u * np.cos(q))
    measured = np.mean(structures, axis=0)
    bands = [slice(k, k + 50) for k in range(0, 1000, 50)]
    ratios = [measured[band].sum() / exact[band].sum() for band in bands]
    np.testing.assert_allclose(ratios, 1, atol=tolerance)


@pytest.mark.parametrize("dt", [0.9, 1.1])
@pytest.mark.parametrize(
    ("scheme", "along", "turn"),
    [
        (partial(HeunLLG, alpha=0.0), 0.0, 1.0),
        (partial(MidpointLLG, alpha=1.0), 0.0, 0.5**0.5),  # |H − S × H| / 2 with H ⟂ S
        (partial(HeunLLG, alpha=0.0), 1.0, 2**0.5),  # a finite step sees the field along the spin
        (partial(HeunLLG, alpha=0.0, tangent=True), 1.0, 1.0),
        (OverdampedSpins, 1.0, 1.0),
    ],
)
def test_a_first_step_that_turns_a_spin_by_more_than_one_radian_warns(scheme, along, turn, dt):
    """The spins point along x and the field along z, so the angles have closed forms."""
    zeeman = Zeeman(chain(4), along=along)
    spins = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(1, 4, 3).contiguous()
    energy, forces = zeeman(spins)
    state = State(spins, torch.zeros_like(spins), forces, energy)
    integrator = scheme(dt=dt / turn, kT=0.0)
    assert float(integrator.largest_turn(zeeman, state)) == pytest.approx(dt, rel=1e-12)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulate(zeeman, integrator, state, 2, Regular(1))
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == (dt > 1)
    assert all("turns a spin by 1.1 rad, more than 1 rad" in message for message in messages)


def test_the_current_counts_in_the_angle_of_the_first_step():
    zeeman = Zeeman(chain(6), h=(0.0, 0.0, 0.0))
    angles = 2 * np.pi * np.arange(6) / 6
    spins = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)[None]
    field = torch.from_numpy(spins)
    state = State(field, torch.zeros_like(field), torch.zeros_like(field))
    driven = HeunLLG(2.0, 0.0, alpha=0.0, torque=SpinTransferTorque((0.4,)))
    # |S × D| of the spiral is u sin(q), with q = 2π/6.
    expected = 2.0 * 0.4 * np.sin(np.pi / 3)
    assert float(driven.largest_turn(zeeman, state)) == pytest.approx(expected, rel=1e-12)
