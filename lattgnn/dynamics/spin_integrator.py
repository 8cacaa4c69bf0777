"""What all integrators of spins share: steps that rotate each spin, and the noise of the bath."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from lattgnn.dynamics.philox import noise
from lattgnn.dynamics.state import ForceField, Integrator, State, check_spins, evaluate
from lattgnn.dynamics.temperature import TemperatureProtocol, check_temperature, temperature
from lattgnn.errors import InputError

Spins = Float[Tensor, "replicas n_sites 3"]

LARGEST_TURN = 1.0
"""Angle in radians that one step may turn a spin without a warning. The schemes are accurate for
angles far below 1."""


@dataclass(frozen=True)
class SpinIntegrator(Integrator):
    """Base class of predictor–corrector schemes for dS/dt = S × A(S), |S| = 1.

    Every step is a rotation, so |S| = 1 up to rounding, and spins are normalized after it so that
    rounding errors do not add up. Forces are evaluated twice per step, and only for spins of unit
    length, since learned force fields were trained on no others. The momentum does not change.

    Args:
        dt: Time step.
        kT: Temperature of the bath, or a protocol such as `LinearRamp`.

    Raises:
        InputError: If dt is not positive, or kT is negative.
    """

    dt: float
    kT: float | TemperatureProtocol
    n_evaluations: ClassVar[int] = 2
    moves_spins: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt must be positive and finite, got {self.dt!r}. Use dt=0.05 or so.")
        check_temperature(self.kT)

    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """Do one step of length dt, with two evaluations of the force field."""
        check_spins(state.field.shape)
        new = state.workspace(out)
        spins = self._new_spins(*self._driven(force_field, state), self._noise(state))
        field = normalize(spins, dim=-1, out=new.field)
        energy, forces = evaluate(force_field, field, new.forces)
        return state.following(field, state.momentum, forces, energy)

    @abstractmethod
    def _new_spins(self, force_field: ForceField, state: State, noise_field: Tensor) -> Spins:
        """Predict and correct: the spins one step later, of unit length up to rounding.

        Args:
            force_field: Force field for the evaluation between predictor and corrector.
            state: State before the step.
            noise_field: The noise W = ∫ b dt of this step, the same in predictor and corrector.
        """

    @abstractmethod
    def _noise_density(self, kT: float) -> float:
        """Strength c of the noise field, ⟨b(t) b(t')⟩ = c δ(t − t')."""

    @abstractmethod
    def _drift(self, spins: Spins, forces: Spins) -> Spins:
        """The rotation vector of each spin in one step without noise.

        Args:
            spins: Spins S.
            forces: Their effective fields.
        """

    def largest_turn(self, force_field: ForceField, state: State) -> Float[Tensor, ""]:
        """Largest angle by which the effective fields turn a spin in the next step, radians.

        Args:
            force_field: The force field, which is not called.
            state: State before the step.
        """
        _, driven = self._driven(force_field, state)
        return self._drift(driven.field, driven.forces).norm(dim=-1).max()

    def _driven(self, force_field: ForceField, state: State) -> tuple[ForceField, State]:
        """Force field and state with all effective fields that turn the spins."""
        return force_field, state

    def _noise(self, state: State) -> Tensor:
        """The noise W = ∫ b dt of this step; a zero without a bath."""
        kT = cast(float, temperature(self.kT, state.step))
        strength = math.sqrt(self._noise_density(kT) * self.dt)
        if strength == 0:
            return state.field.new_zeros(())
        numbers = noise(
            state.seed,
            state.step,
            state.field.shape,
            first_replica=state.first_replica,
            first_site=state.first_site,
            device=state.field.device,
        )
        return strength * numbers.to(state.field)


def warn_of_large_turns(integrator: Integrator, force_field: ForceField, state: State) -> None:
    """Warn before a run whose first step turns a spin by more than `LARGEST_TURN`.

    Args:
        integrator: The scheme of the steps. Schemes that are not for spins never warn.
        force_field: The force field.
        state: Initial state.
    """
    if not isinstance(integrator, SpinIntegrator):
        return
    turn = integrator.largest_turn(force_field, state)
    combine = getattr(force_field, "largest_of_all", None)  # over all processes of a run
    angle = float(turn if combine is None else combine(turn))
    if angle > LARGEST_TURN:
        warnings.warn(
            f"the first step turns a spin by {angle:.3g} rad, more than {LARGEST_TURN:g} rad: dt is"
            f" too large to follow the motion. Use dt={0.5 * integrator.dt / angle:.1g} or so.",
            stacklevel=4,
        )


def cayley(spins: Spins, rotation: Spins) -> Spins:
    """Solve S' = S + ½ (S + S') × rotation for S': the Cayley transform, which keeps |S|.

    Args:
        spins: Spins S.
        rotation: Rotation vector of each spin.

    Returns:
        The rotated spins.
    """
    quarter = 0.25 * rotation.square().sum(-1, keepdim=True)
    along = 0.5 * (rotation * spins).sum(-1, keepdim=True)
    across = torch.linalg.cross(spins, rotation)
    return ((1 - quarter) * spins + across + along * rotation) / (1 + quarter)


def rotated(spins: Spins, rotation: Spins) -> Spins:
    """Solve dS/dt = S × rotation for a unit of time, by Rodrigues' formula.

        S cos θ + (S × r) sin θ/θ + r (r·S) (1 − cos θ)/θ²,    r = rotation, θ = |r|

    The fractions are written with sinc, which is finite at θ = 0: sin θ/θ = sinc(θ/π), and
    (1 − cos θ)/θ² = ½ sinc²(θ/2π), which does not cancel at small angles either.

    Args:
        spins: Spins S.
        rotation: Rotation vector r of each spin.

    Returns:
        The rotated spins.
    """
    angle = rotation.norm(dim=-1, keepdim=True)
    across = torch.sinc(angle / math.pi) * torch.linalg.cross(spins, rotation)
    along = 0.5 * torch.sinc(0.5 * angle / math.pi).square()
    along = along * (rotation * spins).sum(-1, keepdim=True)
    return angle.cos() * spins + across + along * rotation
