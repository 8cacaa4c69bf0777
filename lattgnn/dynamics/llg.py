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
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lattgnn.dynamics.spin_integrator import SpinIntegrator, Spins, cayley, rotated
from lattgnn.dynamics.spin_transfer import DrivenForceField, SpinTransferTorque
from lattgnn.dynamics.state import ForceField, State, evaluate
from lattgnn.errors import InputError


@dataclass(frozen=True)
class LandauLifshitzGilbert(SpinIntegrator):
    """Base class of the schemes for spins: the equation of motion and its noise.

    SDE (Stratonovich), for |S| = 1, ħ = 1 and the effective field B = −∂E/∂S:

        dS/dt = S × (B + b) − alpha S × dS/dt
        ⟨b(t) b(t')⟩ = 2 alpha kT δ(t − t')    per site and component

    Solved for dS/dt this is S × A(S), with A = (H − alpha S × H) / (1 + alpha²) and H = B + b. The
    noise satisfies the fluctuation–dissipation theorem: the stationary density on the spheres is
    proportional to exp(−E/kT). The sense of rotation is that of ħ dS/dt = i [H, S]; equations for
    the magnetic moments of electrons have the opposite one.

    A current adds the field of `SpinTransferTorque` to H.

    The part of B along the spin turns the spin about itself, which is no motion. A finite step
    does see it, though, and in metals it is most of B: up to J, where the part across the spin is
    J/10 or less. With `tangent` the schemes drop it wherever they compute A. The equation and the
    orders stay the same, and steps can be much longer.

    Args:
        dt: Time step.
        kT: Temperature of the bath, or a protocol such as `LinearRamp`.
        alpha: Gilbert damping. 0 is free precession, without noise.
        torque: Torque of a current, or None.
        tangent: Whether to use only the part of the effective field that is perpendicular to the
            spin. Use it for spins coupled to electrons.

    Raises:
        InputError: If dt is not positive, or kT or alpha is negative.
    """

    alpha: float
    torque: SpinTransferTorque | None = field(default=None, metadata={"describe": "changed"})
    tangent: bool = field(default=False, metadata={"describe": "changed"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise InputError(
                f"alpha must be finite and not negative, got {self.alpha!r}. Use 0 for none."
            )

    def _driven(self, force_field: ForceField, state: State) -> tuple[ForceField, State]:
        """Force field and state with the effective field of the current."""
        if self.torque is None:
            return force_field, state
        driven = DrivenForceField(force_field, self.torque)
        forces = state.forces + self.torque.field(state.field, force_field.lattice)
        return driven, replace(state, forces=forces)

    def _rotation(self, spins: Spins, forces: Spins, noise_field: Tensor) -> Spins:
        """The rotation vector A(S) dt of each spin, with the noise of the whole step."""
        if self.tangent:
            forces = forces - (forces * spins).sum(-1, keepdim=True) * spins
        # ∫ H dt = B dt + W
        effective = forces * self.dt + noise_field
        return (effective - self.alpha * torch.linalg.cross(spins, effective)) / (1 + self.alpha**2)

    def _drift(self, spins: Spins, forces: Spins) -> Spins:
        """The rotation vector A(S) dt without noise."""
        return self._rotation(spins, forces, forces.new_zeros(()))

    def _noise_density(self, kT: float) -> float:
        """2 alpha kT, by the fluctuation–dissipation theorem."""
        return 2 * self.alpha * kT


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
        torque: Torque of a current, or None.
        tangent: Whether to drop the part of the effective field along the spin.

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
        predicted = cayley(spins, self._rotation(spins, state.forces, noise_field))
        # Midpoint.
        middle = normalize(spins + predicted, dim=-1)
        _, middle_forces = evaluate(force_field, middle)
        # Corrector.
        return cayley(spins, self._rotation(middle, middle_forces, noise_field))


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
        torque: Torque of a current, or None.
        tangent: Whether to drop the part of the effective field along the spin.

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
        predicted = normalize(rotated(spins, rotation), dim=-1)
        _, predicted_forces = evaluate(force_field, predicted)
        # Corrector.
        predicted_rotation = self._rotation(predicted, predicted_forces, noise_field)
        return rotated(spins, 0.5 * (rotation + predicted_rotation))
