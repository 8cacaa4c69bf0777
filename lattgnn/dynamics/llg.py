"""Stochastic Landau–Lifshitz–Gilbert dynamics of classical spins.

Both schemes are predictor–corrector methods whose steps rotate each spin:

    effective field    H = B + b
    angular velocity   A(S) = (H − α S × H) / (1 + α²),    dS/dt = S × A(S)
    predictor          S_p from S, with A(S)
    corrector          S' from S, with A at the midpoint, or the mean of A(S) and A(S_p)

    S   spin, |S| = 1               b    noise field of the bath     kT  temperature
    B   force −∂E/∂S                α    Gilbert damping             W   ∫ b dt over the step
"""

from __future__ import annotations

import math
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


@dataclass(frozen=True)
class LandauLifshitzGilbert(Integrator):
    """Base class of the schemes for spins: the equation of motion and its noise.

    SDE (Stratonovich), for |S| = 1, ħ = 1 and the effective field B = −∂E/∂S:

        dS/dt = S × (B + b) − alpha S × dS/dt
        ⟨b(t) b(t')⟩ = 2 alpha kT δ(t − t')    per site and component

    Solved for dS/dt this is S × A(S), with A = (H − alpha S × H) / (1 + alpha²) and H = B + b. The
    noise satisfies the fluctuation–dissipation theorem: the stationary density on the spheres is
    proportional to exp(−E/kT). The sense of rotation is that of ħ dS/dt = i [H, S]; equations for
    the magnetic moments of electrons have the opposite one.

    Every step is a rotation, so |S| = 1 up to rounding, and spins are normalized after it so that
    rounding errors do not add up. Forces are evaluated twice per step, and only for spins of unit
    length, since learned force fields were trained on no others. The momentum does not change.

    Args:
        dt: Time step.
        kT: Temperature of the bath, or a protocol such as `LinearRamp`.
        alpha: Gilbert damping. 0 is free precession, without noise.

    Raises:
        InputError: If dt is not positive, or kT or alpha is negative.
    """

    dt: float
    kT: float | TemperatureProtocol
    alpha: float
    n_evaluations: ClassVar[int] = 2
    moves_spins: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt must be positive and finite, got {self.dt!r}. Use dt=0.05 or so.")
        check_temperature(self.kT)
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise InputError(
                f"alpha must be finite and not negative, got {self.alpha!r}. Use 0 for none."
            )

    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """Do one step of length dt, with two evaluations of the force field."""
        check_spins(state.field.shape)
        new = state.workspace(out)
        spins = self._new_spins(force_field, state, self._noise(state))
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

    def _rotation(self, spins: Spins, forces: Spins, noise_field: Tensor) -> Spins:
        """The rotation vector A(S) dt of each spin, with the noise of the whole step."""
        # ∫ H dt = B dt + W
        field = forces * self.dt + noise_field
        return (field - self.alpha * torch.linalg.cross(spins, field)) / (1 + self.alpha**2)

    def _noise(self, state: State) -> Tensor:
        """The noise W = ∫ b dt = sqrt(2 alpha kT dt) ξ of this step; a zero without a bath."""
        kT = cast(float, temperature(self.kT, state.step))
        strength = math.sqrt(2 * self.alpha * kT * self.dt)
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


@dataclass(frozen=True)
class MidpointLLG(LandauLifshitzGilbert):
    """Semi-implicit midpoint method on the sphere, for the SDE of `LandauLifshitzGilbert`.

        predictor    S_p = S + ½ (S + S_p) × A(S) dt
        midpoint     M = (S + S_p) / |S + S_p|
        corrector    S' = S + ½ (S + S') × A(M) dt

    Predictor and corrector are implicit only in the precession of each spin by itself, since the
    effective fields come from S and M, so both are solved in closed form. Order 2 without noise,
    weak order 1 with noise. Example of the error: for a paramagnet with h/kT = 1.25 and alpha = 0.7
    the stationary ⟨S_z⟩ is 3 % too large at dt h = 0.1.

    Args:
        dt: Time step.
        kT: Temperature of the bath, or a protocol such as `LinearRamp`.
        alpha: Gilbert damping. 0 is free precession, without noise.

    Raises:
        InputError: If dt is not positive, or kT or alpha is negative.

    Reference:
        J. H. Mentink et al., J. Phys.: Condens. Matter 22, 176001 (2010), scheme B, where the
        midpoint is not normalized. Spherical midpoint: R. I. McLachlan, K. Modin and O. Verdier,
        Phys. Rev. E 89, 061301 (2014).
    """

    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 1

    def _new_spins(self, force_field: ForceField, state: State, noise_field: Tensor) -> Spins:
        spins = state.field
        # Predictor.
        predicted = _cayley(spins, self._rotation(spins, state.forces, noise_field))
        # Midpoint.
        middle = normalize(spins + predicted, dim=-1)
        _, middle_forces = evaluate(force_field, middle)
        # Corrector.
        return _cayley(spins, self._rotation(middle, middle_forces, noise_field))


@dataclass(frozen=True)
class HeunLLG(LandauLifshitzGilbert):
    """Heun's method with rotations, for the SDE of `LandauLifshitzGilbert`.

        predictor    S_p = S rotated by A(S) dt
        corrector    S' = S rotated by ½ (A(S) + A(S_p)) dt

    Order 2 without noise, weak order 1 with noise, where its error is small: for a paramagnet with
    h/kT = 1.25 and alpha = 0.7 the stationary ⟨S_z⟩ is 0.1 % too small at dt h = 0.1.

    Args:
        dt: Time step.
        kT: Temperature of the bath, or a protocol such as `LinearRamp`.
        alpha: Gilbert damping. 0 is free precession, without noise.

    Raises:
        InputError: If dt is not positive, or kT or alpha is negative.

    Reference:
        Ph. Depondt and F. G. Mertens, J. Phys.: Condens. Matter 21, 336005 (2009).
    """

    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 1

    def _new_spins(self, force_field: ForceField, state: State, noise_field: Tensor) -> Spins:
        spins = state.field
        # Predictor.
        rotation = self._rotation(spins, state.forces, noise_field)
        predicted = normalize(_rotated(spins, rotation), dim=-1)
        _, predicted_forces = evaluate(force_field, predicted)
        # Corrector.
        predicted_rotation = self._rotation(predicted, predicted_forces, noise_field)
        return _rotated(spins, 0.5 * (rotation + predicted_rotation))


def _cayley(spins: Spins, rotation: Spins) -> Spins:
    """Solve S' = S + ½ (S + S') × rotation for S': the Cayley transform, which keeps |S|."""
    quarter = 0.25 * rotation.square().sum(-1, keepdim=True)
    along = 0.5 * (rotation * spins).sum(-1, keepdim=True)
    across = torch.linalg.cross(spins, rotation)
    return ((1 - quarter) * spins + across + along * rotation) / (1 + quarter)


def _rotated(spins: Spins, rotation: Spins) -> Spins:
    """Solve dS/dt = S × rotation for a unit of time, by Rodrigues' formula.

        S cos θ + (S × r) sin θ/θ + r (r·S) (1 − cos θ)/θ²,    r = rotation, θ = |r|

    The fractions are written with sinc, which is finite at θ = 0: sin θ/θ = sinc(θ/π), and
    (1 − cos θ)/θ² = ½ sinc²(θ/2π), which does not cancel at small angles either.
    """
    angle = rotation.norm(dim=-1, keepdim=True)
    across = torch.sinc(angle / math.pi) * torch.linalg.cross(spins, rotation)
    along = 0.5 * torch.sinc(0.5 * angle / math.pi).square()
    along = along * (rotation * spins).sum(-1, keepdim=True)
    return angle.cos() * spins + across + along * rotation
