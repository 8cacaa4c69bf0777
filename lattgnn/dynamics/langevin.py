"""Langevin dynamics of a classical field, under- and overdamped; γ = 0 is Newton's dynamics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lattgnn.dynamics.philox import noise
from lattgnn.dynamics.state import ForceField, Integrator, State, evaluate


@dataclass(frozen=True)
class VerletLangevin(Integrator):
    """Velocity Verlet with the full force, then friction and noise: the splitting of the Holstein papers.

    SDE (additive noise, so Itô and Stratonovich agree):

        dQ = p/m dt,    dp = F(Q) dt − γ p dt + sqrt(2 γ m kT) dW

    Step: half kick, drift, half kick, then p ← a p + sqrt((1 − a²) m kT) ξ with a = exp(−γ dt), the exact
    solution of the friction part. Noise strength: ⟨ξ ξ⟩ = 1 a site and step, drawn at the step's number.
    Order 1 at a fixed time (2 at γ = 0, where the step is velocity Verlet, NVE, and no noise is drawn);
    stationary averages are good to order 2, because the step is conjugate to a symmetric splitting; of a
    harmonic field the stationary ⟨p²⟩ = m kT is exact at any stable dt.

    Args:
        dt: time step.
        kT: temperature of the bath.
        gamma: friction rate, 1/time; 0 for NVE.
        mass: mass of a site.

    Raises:
        ValueError: if dt or mass is not positive, or kT or gamma negative.

    Reference:
        arXiv 2601.04104 (Holstein quench); Bussi and Parrinello, Phys. Rev. E 75, 056707 (2007), whose
        scheme has half of the friction on each side (the same chain, seen half a step earlier).
    """

    dt: float
    kT: float
    gamma: float
    mass: float
    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self.dt, self.kT, self.gamma, self.mass)

    def step(self, force_field: ForceField, state: State) -> State:
        """One step of length dt, one evaluation of the force field."""
        momentum = torch.add(state.momentum, state.forces, alpha=0.5 * self.dt)
        field = torch.add(state.field, momentum, alpha=self.dt / self.mass)
        energy, forces = evaluate(force_field, field)
        momentum.add_(forces, alpha=0.5 * self.dt)
        _friction_(momentum, self, state)
        return State(field, momentum, forces, energy, state.step + 1, state.seed, state.first_replica)


@dataclass(frozen=True)
class BAOAB(Integrator):
    """The BAOAB splitting: half kick, half drift, friction and noise, half drift, half kick.

    SDE (additive noise, so Itô and Stratonovich agree):

        dQ = p/m dt,    dp = F(Q) dt − γ p dt + sqrt(2 γ m kT) dW

    Noise strength: p ← a p + sqrt((1 − a²) m kT) ξ with a = exp(−γ dt), ⟨ξ ξ⟩ = 1. Order 2 at a fixed time
    and for stationary averages; of a harmonic field the stationary ⟨Q²⟩ is exact at any stable dt. At
    γ = 0 it is position-first inside velocity Verlet (the same step: NVE, no noise drawn).

    Args:
        dt: time step.
        kT: temperature of the bath.
        gamma: friction rate, 1/time; 0 for NVE.
        mass: mass of a site.

    Raises:
        ValueError: if dt or mass is not positive, or kT or gamma negative.

    Reference:
        Leimkuhler and Matthews, Appl. Math. Res. eXpress 2013, 34 (2013).
    """

    dt: float
    kT: float
    gamma: float
    mass: float
    order: ClassVar[int] = 2
    stationary_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self.dt, self.kT, self.gamma, self.mass)

    def step(self, force_field: ForceField, state: State) -> State:
        """One step of length dt, one evaluation of the force field."""
        momentum = torch.add(state.momentum, state.forces, alpha=0.5 * self.dt)
        field = torch.add(state.field, momentum, alpha=0.5 * self.dt / self.mass)
        _friction_(momentum, self, state)
        field.add_(momentum, alpha=0.5 * self.dt / self.mass)
        energy, forces = evaluate(force_field, field)
        momentum.add_(forces, alpha=0.5 * self.dt)
        return State(field, momentum, forces, energy, state.step + 1, state.seed, state.first_replica)


@dataclass(frozen=True)
class OverdampedLangevin(Integrator):
    """Overdamped (Brownian) dynamics by the Leimkuhler–Matthews scheme: Euler–Maruyama with averaged noise.

    SDE (additive noise, so Itô and Stratonovich agree):

        γ dQ = F(Q) dt + sqrt(2 γ kT) dW

    Step n: Q ← Q + (dt/γ) F + sqrt(2 kT dt/γ) (ξ_n + ξ_{n+1})/2. Both ξ come from the counter-based
    generator, so nothing beyond the step's number is remembered. Order 1 at a fixed time (Euler at kT = 0)
    and order 2 for stationary averages of the field, where Euler–Maruyama would have 1; of a harmonic field
    the stationary ⟨Q²⟩ is exact. Momentum is carried along untouched.

    Args:
        dt: time step.
        kT: temperature of the bath.
        gamma: friction coefficient, force × time / field; must be positive.

    Raises:
        ValueError: if dt or gamma is not positive, or kT negative.

    Reference:
        Leimkuhler and Matthews, Appl. Math. Res. eXpress 2013, 34 (2013), the high-friction limit of BAOAB.
    """

    dt: float
    kT: float
    gamma: float
    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self.dt, self.kT, self.gamma, mass=1.0)
        if self.gamma == 0:
            raise ValueError("gamma must be positive for overdamped dynamics, got 0. Use VerletLangevin.")

    def step(self, force_field: ForceField, state: State) -> State:
        """One step of length dt, one evaluation of the force field."""
        field = torch.add(state.field, state.forces, alpha=self.dt / self.gamma)
        if self.kT > 0:
            scale = math.sqrt(0.5 * self.kT * self.dt / self.gamma)
            both = _noise_like(field, state, state.step) + _noise_like(field, state, state.step + 1)
            field.add_(both, alpha=scale)
        energy, forces = evaluate(force_field, field)
        return State(field, state.momentum, forces, energy, state.step + 1, state.seed, state.first_replica)


def _friction_(momentum: Tensor, integrator: VerletLangevin | BAOAB, state: State) -> None:
    """Exact Ornstein–Uhlenbeck part over dt, in place."""
    if integrator.gamma == 0:
        return
    decay = math.exp(-integrator.gamma * integrator.dt)
    momentum.mul_(decay)
    if integrator.kT > 0:
        scale = math.sqrt((1 - decay**2) * integrator.mass * integrator.kT)
        momentum.add_(_noise_like(momentum, state, state.step), alpha=scale)


def _noise_like(tensor: Tensor, state: State, step: int) -> Tensor:
    replica, device = state.first_replica, tensor.device
    return noise(state.seed, step, tensor.shape, first_replica=replica, device=device).to(tensor)


def _check(dt: float, kT: float, gamma: float, mass: float) -> None:
    for name, number in (("dt", dt), ("mass", mass)):
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{name} must be positive and finite, got {number!r}. Use {name}=1.0 or so.")
    for name, number in (("kT", kT), ("gamma", gamma)):
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {number!r}. Use 0 for none.")
