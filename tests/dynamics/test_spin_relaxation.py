"""Relaxation and annealing of spins to known ground states, overdamped thermal averages."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from lattgnn.dynamics import LinearRamp, OverdampedSpins, initial_spins, relax
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, chain, square, triangular


class Heisenberg:
    """E = exchange Σ_⟨ij⟩ S_i·S_j − h Σ S_z over nearest neighbors."""

    def __init__(self, lattice: Lattice, exchange: float = 1.0, h: float = 0.0) -> None:
        self.lattice, self.exchange, self.h = lattice, exchange, h
        self.field_shape = (lattice.n_sites, 3)
        bonds = lattice.bonds(1.0)
        self.pairs = torch.from_numpy(np.stack([bonds.destination, bonds.source]))

    def __call__(self, field: Tensor) -> tuple[Tensor, Tensor]:
        destination, source = self.pairs
        sums = torch.zeros_like(field).index_add(1, destination, field[:, source])
        zeeman = field.new_tensor([0.0, 0.0, self.h])
        energy = (field * (0.5 * self.exchange * sums - zeeman)).sum((-1, -2))
        return energy, zeeman - self.exchange * sums


def test_relaxation_finds_the_120_degree_order():
    lattice = triangular(6)
    found = relax(Heisenberg(lattice), initial_spins(Heisenberg(lattice), 0, 3), tolerance=1e-7)
    assert found.converged and float(found.torque.max()) <= 1e-7
    assert found.state.energy is not None
    np.testing.assert_allclose(found.state.energy / lattice.n_sites, -1.5, atol=1e-9)
    np.testing.assert_allclose(found.state.field.norm(dim=-1), 1, atol=1e-12)


def test_relaxation_in_a_field_has_the_canted_state():
    """Néel state in a field h: S_z = h/8 for exchange 1 on the square lattice."""
    force_field = Heisenberg(square(4), h=2.0)
    found = relax(force_field, initial_spins(force_field, 1, 2))
    assert found.converged
    np.testing.assert_allclose(found.state.field[..., 2], 2 / 8, atol=1e-5)


def test_the_number_of_iterations_is_bounded():
    force_field = Heisenberg(square(4))
    state = initial_spins(force_field, 1)
    found = relax(force_field, state, max_iterations=2)
    assert found.n_iterations == 2 and not found.converged
    assert relax(force_field, state, max_iterations=0).state is state
    with pytest.raises(InputError, match="tolerance"):
        relax(force_field, state, tolerance=0.0)


def test_annealing_and_relaxation_find_a_ground_state():
    force_field = Heisenberg(triangular(6))
    state = initial_spins(force_field, 3)
    integrator = OverdampedSpins(dt=0.1, kT=LinearRamp(1.0, 0.0, 150))
    for _ in range(150):
        state = integrator.step(force_field, state)
    assert state.energy is not None and float(state.energy) / 36 < -1.4
    found = relax(force_field, state).state
    assert found.energy is not None
    assert float(found.energy) / 36 == pytest.approx(-1.5, abs=1e-9)


@pytest.mark.parametrize(("kT", "dt", "tolerance"), [(0.5, 0.1, 0.005), (0.1, 0.3, 0.003)])
def test_overdamped_spins_have_the_magnetization_of_a_paramagnet(kT, dt, tolerance):
    """⟨S_z⟩ = coth(h/kT) − kT/h to 1 %, and 1 − ⟨S_z⟩ to 3 % where it is small."""
    force_field = Heisenberg(chain(10_000), exchange=0.0, h=1.0)
    integrator, state = OverdampedSpins(dt=dt, kT=kT), initial_spins(force_field, 5)
    values = []
    for step in range(round(10 / dt)):
        state = integrator.step(force_field, state)
        if step * dt >= 4:
            values.append(float(state.field[..., 2].mean()))
    assert np.mean(values) == pytest.approx(1 / np.tanh(1 / kT) - kT, abs=tolerance)
    np.testing.assert_allclose(state.field.norm(dim=-1), 1, atol=1e-12)


def test_order_of_overdamped_spins_without_noise():
    """Four coupled spins at t = 1, against an accurate solution of dS/dt = B − (B·S) S."""
    force_field = Heisenberg(chain(4), exchange=0.8, h=0.5)
    first = initial_spins(force_field, 8)

    def flow(_: float, y: np.ndarray) -> np.ndarray:
        spins = torch.from_numpy(y.reshape(1, 4, 3))
        forces = force_field(spins)[1]
        return (forces - (forces * spins).sum(-1, keepdim=True) * spins).flatten().numpy()

    solution = solve_ivp(flow, (0, 1), first.field.flatten(), rtol=1e-12, atol=1e-12)
    steps, errors = np.array([0.1, 0.05, 0.025]), []
    for dt in steps:
        state, integrator = first, OverdampedSpins(float(dt), 0.0)
        for _ in range(round(1 / dt)):
            state = integrator.step(force_field, state)
        errors.append(np.linalg.norm(state.field.flatten().numpy() - solution.y[:, -1]))
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(2, abs=0.15)
