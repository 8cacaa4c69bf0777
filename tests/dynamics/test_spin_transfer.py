"""Torque of a current against the closed form for spirals and cones."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lattgnn.dynamics import HeunLLG, MidpointLLG, SpinTransferTorque, State
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, chain, honeycomb, kagome, square, triangular
from lattgnn.serialize import describe
from lattgnn.spin_orders import Spiral


class FreeSpins:
    """E = −exchange Σ S_i·S_{i+1} along the list of sites."""

    def __init__(self, lattice: Lattice, exchange: float = 0.0) -> None:
        self.lattice, self.exchange = lattice, exchange
        self.field_shape = (lattice.n_sites, 3)

    def __call__(self, field: Tensor) -> tuple[Tensor, Tensor]:
        forces = self.exchange * (field.roll(1, -2) + field.roll(-1, -2))
        return -0.5 * (field * forces).sum((-1, -2)), forces


def state_of(force_field: FreeSpins, spins: np.ndarray) -> State:
    field = torch.from_numpy(spins)[None]
    return State(field, torch.zeros_like(field), force_field(field)[1])


def rate(lattice: Lattice, velocity: list[float], q: np.ndarray) -> float:
    """Ω of D = Ω z×S, by hand: central differences on lattices with one or three axes."""
    vectors = np.array(lattice.primitive_vectors)
    if lattice.dim == 1:
        return float(velocity[0] * np.sin(q[0] * vectors[0, 0]) / vectors[0, 0])
    if lattice.name == "square":
        return float(np.dot(velocity, np.sin(q)))
    # Three pairs of neighboring cells at 60° and the distance a: M = 3 a² and D = Σ (u·d)/(3a²) ….
    d = np.stack([vectors[0], vectors[1], vectors[0] - vectors[1]])
    if vectors[0] @ vectors[1] < 0:
        d[2] = vectors[0] + vectors[1]
    return float(2 / 3 / (d[0] @ d[0]) * (d @ velocity) @ np.sin(d @ q))


@pytest.mark.parametrize("make", [chain, square, triangular, honeycomb, kagome])
@pytest.mark.parametrize("scheme", [HeunLLG, MidpointLLG])
def test_a_cone_drifts_and_closes_as_the_closed_form_says(make, scheme):
    """φ' = −Ω (1 + αβ)/(1 + α²) and S_z = tanh(artanh S_z(0) + Ω (α − β) t/(1 + α²))."""
    lattice = make(6)
    q = 2 * np.pi * np.linalg.inv(np.array(lattice.primitive_vectors)) @ [1 / 6, 0][: lattice.dim]
    spins = Spiral(["1/6", 0][: lattice.dim], reference=[0.8, 0, 0.6]).spins(lattice)
    alpha, beta, velocity = 0.3, 0.7, [0.5, 0.2][: lattice.dim]
    force_field = FreeSpins(lattice)
    state, dt, n = state_of(force_field, spins), 0.02, 100
    torque = SpinTransferTorque(tuple(velocity), beta)
    integrator = scheme(dt, 0.0, alpha, torque=torque)
    for _ in range(n):
        state = integrator.step(force_field, state)
    omega, t = rate(lattice, velocity, q), n * dt
    assert abs(omega) > 0.1
    height = np.tanh(np.arctanh(0.6) + omega * (alpha - beta) * t / (1 + alpha**2))
    turned = -omega * (1 + alpha * beta) / (1 + alpha**2) * t
    start = (spins[:, 0] + 1j * spins[:, 1]) / 0.8
    expected = np.sqrt(1 - height**2) * start * np.exp(1j * turned)
    end = state.field[0].numpy()
    np.testing.assert_allclose(end[:, 2], height, atol=1e-4)
    np.testing.assert_allclose(end[:, 0] + 1j * end[:, 1], expected, atol=2e-4)


def test_a_texture_keeps_its_shape_if_beta_is_alpha():
    """A planar spiral has no torque of its own; the current turns it at the rate −u sin(Q)."""
    lattice = chain(12)
    force_field = FreeSpins(lattice, exchange=1.0)
    state = state_of(force_field, Spiral(["1/12"]).spins(lattice))
    first = state.field[0].numpy()
    integrator = HeunLLG(0.02, 0.0, 0.4, torque=SpinTransferTorque((0.6,), 0.4))
    for _ in range(250):
        state = integrator.step(force_field, state)
    end = state.field[0].numpy()
    phase = np.exp(-1j * 0.6 * np.sin(2 * np.pi / 12) * 5.0)
    expected = (first[:, 0] + 1j * first[:, 1]) * phase
    # The error of the scheme is about (B dt)²/6 of the phase, with B = 2.
    np.testing.assert_allclose(end[:, 0] + 1j * end[:, 1], expected, atol=1e-3)
    np.testing.assert_allclose(end[:, 2], 0, atol=1e-4)
    # Forces of the state are those of the energy, without the current.
    torch.testing.assert_close(state.forces, force_field(state.field)[1])


def test_open_boundaries_repeat_the_last_spin():
    lattice = Lattice([[1]], [[0]], 5, periodic=False)
    spins = torch.from_numpy(Spiral(["1/12"]).spins(chain(12))[:5])[None]
    change = SpinTransferTorque((1.0,)).derivative(spins, lattice)
    torch.testing.assert_close(change[:, 0], 0.5 * (spins[:, 1] - spins[:, 0]))
    torch.testing.assert_close(change[:, 2], 0.5 * (spins[:, 3] - spins[:, 1]))


def test_descriptions_without_a_current_are_unchanged():
    assert "torque" not in describe(HeunLLG(0.1, 0.0, 0.1))["init_args"]
    assert "torque" in describe(HeunLLG(0.1, 0.0, 0.1, SpinTransferTorque((1.0,))))["init_args"]
    with pytest.raises(InputError, match="2 components"):
        SpinTransferTorque((1.0,)).field(torch.zeros(1, 16, 3), square(4))
