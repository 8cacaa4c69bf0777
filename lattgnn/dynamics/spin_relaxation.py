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

        dS/dt = −S × (S × (B + b)),    ⟨b(t) b(t')⟩ = 2 kT δ(t − t')    per site and component

    This is the LLG equation for alpha → ∞, with time in units of alpha. Its stationary density is
    proportional to exp(−E/kT). It reaches equilibrium in the fewest steps and has no meaning as
    dynamics. Order 2 without noise, weak order 1 with noise.

    Args:
        dt: Time step. dt times the largest effective field should be below about 0.5.
        kT: Temperature of the bath, or a protocol such as `LinearRamp` for annealing.

    Raises:
        InputError: If dt is not positive, or kT is negative.
    """

    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 1

    def _new_spins(self, force_field: ForceField, state: State, noise_field: Tensor) -> Spins:
        return self._heun(force_field, state, noise_field)

    def _rotation(self, spins: Spins, forces: Spins, noise_field: Tensor) -> Spins:
        """The rotation vector A(S) dt = −S × (B dt + W)."""
        return -torch.linalg.cross(spins, forces * self.dt + noise_field)

    def _noise_density(self, kT: float) -> float:
        """2 kT, by the fluctuation–dissipation theorem."""
        return 2 * kT


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
