"""Stochastic Landau–Lifshitz–Gilbert dynamics of classical spins."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from lattgnn.dynamics.philox import noise
from lattgnn.dynamics.state import ForceField, Integrator, State, evaluate
from lattgnn.errors import InputError

Spins = Float[Tensor, "replicas n_sites 3"]


@dataclass(frozen=True)
class LandauLifshitzGilbert(Integrator):
    """What the schemes for spins share: the equation, its noise, and steps that are rotations.

    SDE, Stratonovich, for |S| = 1 and the effective field B = −∂E/∂S (ħ = 1):

        dS/dt = S × (B + b) − alpha S × dS/dt,    ⟨b(t) b(t')⟩ = 2 alpha kT δ(t − t') a component and site

    which is dS/dt = S × A(S) with A = (H − alpha S × H) / (1 + alpha²), H = B + b. The noise satisfies
    fluctuation–dissipation: the stationary density is exp(−E/kT) on the spheres. Spins turn about B as
    ħ dS/dt = i [H, S] has it; equations for magnetic moments of electrons have the other sense.

    Each step is a rotation of S, so |S| = 1 to rounding, and spins are normalised so that rounding does not
    add up. Both schemes ask for two fields a step, at unit spins only, because that is all that a learned
    field knows. Momentum is carried along untouched.

    Args:
        dt: time step.
        kT: temperature of the bath.
        alpha: Gilbert damping; 0 is free precession, without noise.

    Raises:
        ValueError: if dt is not positive, or kT or alpha is negative.
    """

    dt: float
    kT: float
    alpha: float
    n_evaluations: ClassVar[int] = 2
    moves_spins: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt must be positive and finite, got {self.dt!r}. Use dt=0.05 or so.")
        for name in ("kT", "alpha"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(
                    f"{name} must be finite and not negative, got {getattr(self, name)!r}. Use 0 for none."
                )

    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """One step of length dt, two evaluations of the force field."""
        if state.field.ndim != 3 or state.field.shape[-1] != 3:
            raise InputError(
                f"field must be spins [replicas, n_sites, 3], got {list(state.field.shape)}. "
                "Use initial_spins and a model of spins."
            )
        kick = self._kick(state)
        new = state.workspace(out)
        field = normalize(self._moved(force_field, state, kick), dim=-1, out=new.field)
        energy, forces = evaluate(force_field, field, new.forces)
        return state.following(field, state.momentum, forces, energy)

    @abstractmethod
    def _moved(self, force_field: ForceField, state: State, kick: Tensor) -> Spins:
        """The spins one step later, of unit length but for rounding."""

    def _turn(self, spins: Spins, forces: Spins, kick: Tensor) -> Spins:
        """A(S) dt, the noise of the whole step included."""
        total = forces * self.dt + kick
        return (total - self.alpha * torch.linalg.cross(spins, total)) / (1 + self.alpha**2)

    def _kick(self, state: State) -> Tensor:
        """∫ b dt over the step."""
        strength = math.sqrt(2 * self.alpha * self.kT * self.dt)
        if strength == 0:
            return state.field.new_zeros(())
        shape, device, replica = state.field.shape, state.field.device, state.first_replica
        numbers = noise(state.seed, state.step, shape, first_replica=replica, device=device)
        return strength * numbers.to(state.field)


@dataclass(frozen=True)
class MidpointLLG(LandauLifshitzGilbert):
    """Semi-implicit midpoint on the sphere; the equation is that of `LandauLifshitzGilbert`.

    Predictor S_p = S + ½ (S + S_p) × dt A(S), then S' = S + ½ (S + S') × dt A(M) with M the spin half-way
    between S and S_p on the sphere. Both are solved in closed form, since the field comes from M and only the
    precession of each spin by itself is implicit. Order 2 without noise, weak order 1 with it. Of a
    paramagnet at h/kT = 1.25, alpha = 0.7, the stationary ⟨S_z⟩ is 3 % too large at dt h = 0.1.

    Args:
        dt: time step.
        kT: temperature of the bath.
        alpha: Gilbert damping; 0 is free precession, without noise.

    Reference:
        J. H. Mentink et al., J. Phys.: Condens. Matter 22, 176001 (2010), scheme B, whose midpoint is not
        normalised. Spherical midpoint: R. I. McLachlan, K. Modin and O. Verdier, Phys. Rev. E 89, 061301
        (2014).
    """

    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 1

    def _moved(self, force_field: ForceField, state: State, kick: Tensor) -> Spins:
        spins = state.field
        predicted = _cayley(spins, self._turn(spins, state.forces, kick))
        middle = normalize(spins + predicted, dim=-1)
        return _cayley(spins, self._turn(middle, evaluate(force_field, middle)[1], kick))


@dataclass(frozen=True)
class HeunLLG(LandauLifshitzGilbert):
    """Heun's method by rotations; the equation is that of `LandauLifshitzGilbert`.

    Predictor S_p: S turned by dt A(S); then S turned by ½ dt (A(S) + A(S_p)), with the same noise in both.
    Order 2 without noise, weak order 1 with it, but with little error: of a paramagnet at h/kT = 1.25,
    alpha = 0.7, the stationary ⟨S_z⟩ is 0.1 % too small at dt h = 0.1.

    Args:
        dt: time step.
        kT: temperature of the bath.
        alpha: Gilbert damping; 0 is free precession, without noise.

    Reference:
        Ph. Depondt and F. G. Mertens, J. Phys.: Condens. Matter 21, 336005 (2009).
    """

    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 1

    def _moved(self, force_field: ForceField, state: State, kick: Tensor) -> Spins:
        turn = self._turn(state.field, state.forces, kick)
        predicted = normalize(_rotated(state.field, turn), dim=-1)
        corrected = self._turn(predicted, evaluate(force_field, predicted)[1], kick)
        return _rotated(state.field, 0.5 * (turn + corrected))


def _cayley(spins: Spins, turn: Spins) -> Spins:
    """The S' with S' = S + ½ (S + S') × turn."""
    quarter = 0.25 * turn.square().sum(-1, keepdim=True)
    along = 0.5 * (turn * spins).sum(-1, keepdim=True)
    return ((1 - quarter) * spins + torch.linalg.cross(spins, turn) + along * turn) / (1 + quarter)


def _rotated(spins: Spins, turn: Spins) -> Spins:
    """dS/dt = S × turn for a unit of time: Rodrigues' rotation, by sinc where the angle may be zero."""
    angle = turn.norm(dim=-1, keepdim=True)
    across = torch.sinc(angle / math.pi) * torch.linalg.cross(spins, turn)
    along = 0.5 * torch.sinc(0.5 * angle / math.pi).square() * (turn * spins).sum(-1, keepdim=True)
    return angle.cos() * spins + across + along * turn
