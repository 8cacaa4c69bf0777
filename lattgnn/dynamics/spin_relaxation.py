"""Spins without precession: overdamped dynamics for annealing, and relaxation to a minimum.

To look for a ground state, cool random spins slowly with `OverdampedSpins` and a `LinearRamp` of
the temperature, then let `relax` find the minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from lattgnn.dynamics.spin_integrator import SpinIntegrator, Spins, rotated
from lattgnn.dynamics.state import ForceField, State, check_spins, evaluate
from lattgnn.errors import InputError, check_number

# Largest angle by which one iteration of `relax` turns a spin.
LARGEST_ANGLE = 0.5


@dataclass(frozen=True)
class OverdampedSpins(SpinIntegrator):
    """Overdamped dynamics of spins by Heun's method with rotations: damping without precession.

    SDE (Stratonovich), for |S| = 1 and the effective field B = −∂E/∂S:

        dS/dt = S × (A(S) + b),    A(S) = −S × B
        ⟨b(t) b(t')⟩ = 2 kT δ(t − t')    per site and component

    This is the LLG equation for alpha → ∞, with time in units of alpha. Its stationary density is
    proportional to exp(−E/kT). It reaches equilibrium in the fewest steps and has no meaning as
    dynamics. One step, with the noise W = ∫ b dt:

        predictor    S_p = S rotated by A(S) dt, then by W
        corrector    S' = S rotated by ½ A(S) dt, then by W, then by ½ A(S_p) dt

    Order 2, with noise weak order 2 and order 2 in equilibrium. Examples of the error, for a
    paramagnet in a field h: with kT = h/2 the stationary ⟨S_z⟩ is right to 0.1 % at dt h = 0.1 and
    0.7 % too large at dt h = 0.3, but with kT = h it is 2.4 % too large at dt h = 0.3.

    Args:
        dt: Time step. dt times the largest effective field should be below about 0.5, and dt times
            kT below about 0.15.
        kT: Temperature of the bath, or a protocol such as `LinearRamp` for annealing.

    Raises:
        InputError: If dt is not positive, or kT is negative.

    Reference:
        H. Munthe-Kaas, BIT 38, 92 (1998), for Runge–Kutta methods with rotations.
    """

    order: ClassVar[int] = 2
    stationary_order: ClassVar[int] = 2

    def _new_spins(self, force_field: ForceField, state: State, noise_field: Tensor) -> Spins:
        spins = state.field
        # Predictor.
        drift = self._drift(spins, state.forces)
        turns = noise_field.expand_as(spins)  # without a bath, the noise is one zero
        predicted = normalize(rotated(rotated(spins, drift), turns), dim=-1)
        _, predicted_forces = evaluate(force_field, predicted)
        # Corrector. Rotations do not commute: one rotation by the sum would only be of order 1.
        turned = rotated(rotated(spins, 0.5 * drift), turns)
        return rotated(turned, 0.5 * self._drift(predicted, predicted_forces))

    def _drift(self, spins: Spins, forces: Spins) -> Spins:
        """The rotation vector A(S) dt = −S × B dt."""
        return -self.dt * torch.linalg.cross(spins, forces)

    def _noise_density(self, kT: float) -> float:
        """2 kT, by the fluctuation–dissipation theorem, less a correction for the finite step.

        Random rotations with Gaussian vectors of variance s spread more than the diffusion of a
        rotation does: its density has a factor sin(θ/2)/(θ/2) ≈ exp(−θ²/24) in addition. Together
        with exp(−θ²/2s) this makes a Gaussian of the variance s/(1 + s/12), here with s = 2 kT dt.
        """
        return 2 * kT / (1 + kT * self.dt / 6)


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Spins at a minimum of the energy, or on the way there.

    Attributes:
        state: The spins with their effective fields and energy.
        torque: Largest |S × B| of each replica; 0 at a minimum.
        n_iterations: Number of iterations, each with one evaluation of the force field.
        converged: Whether the torque of every replica is below the tolerance.
    """

    state: State
    torque: Float[Tensor, " replicas"]
    n_iterations: int
    converged: bool


def relax(
    force_field: ForceField, state: State, tolerance: float = 1e-6, max_iterations: int = 10_000
) -> Relaxed:
    """Turn spins towards their effective fields until the torques vanish.

    Steepest descent on the spheres with the steps of Barzilai and Borwein, which need no energy.
    It finds a minimum near the start; anneal first to find a deep one.

    Args:
        force_field: Exact or learned force field.
        state: The spins at the start.
        tolerance: Largest |S × B| at the end, units of the energy. In float32, 1e-5 of the largest
            field is reached.
        max_iterations: Largest number of iterations.

    Returns:
        The relaxed spins, and whether they have converged.

    Raises:
        InputError: If the field holds no spins, or a number is out of range.

    Reference:
        J. Barzilai and J. M. Borwein, IMA J. Numer. Anal. 8, 141 (1988).
    """
    check_spins(state.field.shape)
    if not tolerance > 0:
        raise InputError(f"tolerance must be positive, got {tolerance!r}. Use 1e-6.")
    check_number("max_iterations", max_iterations, 0)
    descent = _descent(state)
    length = _first_length(state)
    done = 0
    while done < max_iterations and float(_torque(descent).max()) > tolerance:
        new = _turned(force_field, state, descent, length)
        new_descent = _descent(new)
        length = _next_length(new.field - state.field, descent - new_descent, length)
        state, descent, done = new, new_descent, done + 1
    torque = _torque(descent)
    return Relaxed(state, torque, done, bool((torque <= tolerance).all()))


def _descent(state: State) -> Spins:
    """The tangent part of the effective fields, which is where the spins turn: B − (B·S) S."""
    along = (state.forces * state.field).sum(-1, keepdim=True)
    return state.forces - along * state.field


def _torque(descent: Spins) -> Float[Tensor, " replicas"]:
    """Largest |S × B|, which is the length of the tangent part."""
    return descent.norm(dim=-1).amax(dim=-1)


def _first_length(state: State) -> Float[Tensor, "replicas 1 1"]:
    """A step that is stable: a fraction of the inverse of the largest effective field."""
    largest = state.forces.norm(dim=-1).amax(dim=-1)
    return 0.2 / largest.clamp(min=1e-30)[:, None, None]


def _turned(force_field: ForceField, state: State, descent: Spins, length: Tensor) -> State:
    """The state after one step along the descent, at most by `LARGEST_ANGLE`."""
    largest = LARGEST_ANGLE / _torque(descent).clamp(min=1e-30)[:, None, None]
    # dS/dt = S × A with A = −S × B moves S along the tangent part of B.
    rotation = -torch.linalg.cross(state.field, descent) * torch.minimum(length, largest)
    spins = normalize(rotated(state.field, rotation), dim=-1)
    energy, forces = evaluate(force_field, spins)
    return state.following(spins, state.momentum, forces, energy)


def _next_length(moved: Spins, change: Spins, length: Tensor) -> Float[Tensor, "replicas 1 1"]:
    """The step s·s/s·y of each replica, with the change y of the gradient along the move s."""
    square = moved.square().sum((-1, -2), keepdim=True)
    curvature = (moved * change).sum((-1, -2), keepdim=True)
    # Where the energy curves downwards there is no such step, and a longer one is tried.
    return torch.where(curvature > 0, square / curvature.clamp(min=1e-300), 2 * length)
