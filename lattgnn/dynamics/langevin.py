"""Langevin dynamics of a classical field, underdamped and overdamped; γ = 0 is Newton's dynamics.

The steps are splittings into three parts, each of which is solved exactly:

    kick                p ← p + F dt
    drift               Q ← Q + p/m dt
    Ornstein–Uhlenbeck  p ← a p + sqrt((1 − a²) m kT) ξ    (friction and noise)

Neighboring parts are merged into one `Update`, which compiled code applies in one pass over memory.
Friction holds in single precision at any rate: below `SMALL_RATE` it is applied in double precision
and rounded without bias (`lattgnn.dynamics.update`).

    Q   field       F   force −∂E/∂Q     γ   friction rate    a   exp(−γ dt)
    p   momentum    m   mass per site    kT  temperature      ξ   normal noise, ⟨ξ²⟩ = 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from lattgnn.dynamics.langevin_kernels import NoiseRequest, Update
from lattgnn.dynamics.philox import noise_request
from lattgnn.dynamics.state import ForceField, Integrator, State, evaluate
from lattgnn.dynamics.update import advance
from lattgnn.errors import InputError

#: Below this γ dt, friction is applied as p − (1 − a) p. The rounding of a itself to single
#: precision would change the friction by up to 3e-8/(γ dt), which is 3e-4 here and 1 at 3e-8.
SMALL_RATE = 1e-4


@dataclass(frozen=True)
class VerletLangevin(Integrator):
    """Velocity Verlet, then friction and noise: the splitting of the Holstein papers.

    SDE (additive noise, so Itô and Stratonovich agree):

        dQ = p/m dt,    dp = F(Q) dt − γ p dt + sqrt(2 γ m kT) dW

    Step: half kick, drift, half kick, then p ← a p + sqrt((1 − a²) m kT) ξ with a = exp(−γ dt), the
    exact solution of the friction part. The noise has ⟨ξ²⟩ = 1 per site and step. Order 1 at a
    fixed time (2 at γ = 0, where the step is velocity Verlet at constant energy, without noise).
    Stationary averages have order 2, because the step is conjugate to a symmetric splitting. For a
    harmonic field the stationary ⟨p²⟩ = m kT is exact at any stable dt.

    Args:
        dt: Time step.
        kT: Temperature of the bath.
        gamma: Friction rate, 1/time. 0 for constant energy (NVE).
        mass: Mass per site.

    Raises:
        InputError: If dt or mass is not positive, or kT or gamma negative.

    Reference:
        arXiv 2601.04104 (Holstein quench); Bussi and Parrinello, Phys. Rev. E 75, 056707 (2007),
        whose scheme has half of the friction on each side (the same chain, seen half a step
        earlier).
    """

    dt: float
    kT: float
    gamma: float
    mass: float
    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self.dt, self.kT, self.gamma, self.mass)

    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """Do one step of length dt, with one evaluation of the force field."""
        new, half = state.workspace(out), 0.5 * self.dt
        friction_and_noise = _ornstein_uhlenbeck(self)
        # Half kick, drift.
        kick_drift = Update(kick=half, drift=self.dt / self.mass, decay=1)
        advance(
            kick_drift,
            _noise_of_step(state, 0),
            state.forces,
            (state.momentum, new.momentum),
            (state.field, new.field),
        )
        energy, forces = evaluate(force_field, new.field, new.forces)
        # Half kick with the new force, Ornstein–Uhlenbeck.
        kick_friction = Update(kick=half, **friction_and_noise)
        advance(
            kick_friction,
            _noise_of_step(state, kick_friction.noise > 0),
            forces,
            (new.momentum, new.momentum),
        )
        return state.following(new.field, new.momentum, forces, energy)


@dataclass(frozen=True)
class BAOAB(Integrator):
    """The BAOAB splitting: half kick, half drift, friction and noise, half drift, half kick.

    SDE (additive noise, so Itô and Stratonovich agree):

        dQ = p/m dt,    dp = F(Q) dt − γ p dt + sqrt(2 γ m kT) dW

    Friction and noise: p ← a p + sqrt((1 − a²) m kT) ξ with a = exp(−γ dt), ⟨ξ²⟩ = 1. Order 2 at a
    fixed time and for stationary averages. For a harmonic field the stationary ⟨Q²⟩ is exact at any
    stable dt. At γ = 0 the step is velocity Verlet at constant energy, without noise.

    Args:
        dt: Time step.
        kT: Temperature of the bath.
        gamma: Friction rate, 1/time. 0 for constant energy (NVE).
        mass: Mass per site.

    Raises:
        InputError: If dt or mass is not positive, or kT or gamma negative.

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

    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """Do one step of length dt, with one evaluation of the force field."""
        new, half, half_drift = state.workspace(out), 0.5 * self.dt, 0.5 * self.dt / self.mass
        # Half kick (B), half drift (A), Ornstein–Uhlenbeck (O), half drift (A).
        kick_drift_friction_drift = Update(
            kick=half, drift=half_drift, drift_after=half_drift, **_ornstein_uhlenbeck(self)
        )
        momentum, field = (state.momentum, new.momentum), (state.field, new.field)
        advance(
            kick_drift_friction_drift,
            _noise_of_step(state, kick_drift_friction_drift.noise > 0),
            state.forces,
            momentum,
            field,
        )
        energy, forces = evaluate(force_field, new.field, new.forces)
        # Half kick (B) with the new force.
        advance(
            Update(kick=half, decay=1),
            _noise_of_step(state, 0),
            forces,
            (new.momentum, new.momentum),
        )
        return state.following(new.field, new.momentum, forces, energy)


@dataclass(frozen=True)
class OverdampedLangevin(Integrator):
    """Overdamped (Brownian) dynamics: Euler–Maruyama with averaged noise (Leimkuhler–Matthews).

    SDE (additive noise, so Itô and Stratonovich agree):

        γ dQ = F(Q) dt + sqrt(2 γ kT) dW

    Step n: Q ← Q + (dt/γ) F + sqrt(2 kT dt/γ) (ξ_n + ξ_{n+1})/2. Both ξ come from the counter-based
    generator, so no noise has to be remembered from step to step. Order 1 at a fixed time (Euler at
    kT = 0) and order 2 for stationary averages of the field, where Euler–Maruyama has order 1. For
    a harmonic field the stationary ⟨Q²⟩ is exact. The momentum does not change.

    Args:
        dt: Time step.
        kT: Temperature of the bath.
        gamma: Friction coefficient, force × time / field.

    Raises:
        InputError: If dt or gamma is not positive, or kT negative.

    Reference:
        Leimkuhler and Matthews, Appl. Math. Res. eXpress 2013, 34 (2013), the high-friction limit
        of BAOAB.
    """

    dt: float
    kT: float
    gamma: float
    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self.dt, self.kT, self.gamma, mass=1.0)
        if self.gamma == 0:
            raise InputError(
                "gamma must be positive for overdamped dynamics, got 0. Use VerletLangevin."
            )

    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """Do one step of length dt, with one evaluation of the force field."""
        new, strength = state.workspace(out), math.sqrt(0.5 * self.kT * self.dt / self.gamma)
        # Here the update acts on the field in place of the momentum: Q ← Q + F dt/γ + noise. The
        # noise is ξ_n + ξ_{n+1}, the sum of two steps.
        update = Update(kick=self.dt / self.gamma, decay=1, noise=strength)
        advance(
            update,
            _noise_of_step(state, 2 * (strength > 0)),
            state.forces,
            (state.field, new.field),
        )
        energy, forces = evaluate(force_field, new.field, new.forces)
        return state.following(new.field, state.momentum, forces, energy)


def _ornstein_uhlenbeck(integrator: VerletLangevin | BAOAB) -> dict[str, float]:
    """Coefficients of `Update` for friction and noise: p ← a p + sqrt((1 − a²) m kT) ξ."""
    rate, m_kT = integrator.gamma * integrator.dt, integrator.mass * integrator.kT
    if 0 < rate < SMALL_RATE:
        # 1 − a = −expm1(−γ dt) and 1 − a² = −expm1(−2 γ dt), without subtracting nearly equal
        # numbers.
        noise = math.sqrt(-math.expm1(-2 * rate) * m_kT)
        return {"decay": 1.0, "friction": -math.expm1(-rate), "noise": noise}
    decay = math.exp(-rate)
    return {"decay": decay, "noise": math.sqrt((1 - decay**2) * m_kT)}


def _noise_of_step(state: State, n_draws: int) -> NoiseRequest:
    """Request the noise of this step: none, its own, or the sum with that of the next step."""
    return noise_request(
        state.seed,
        state.step,
        state.field.shape,
        first_replica=state.first_replica,
        n_draws=n_draws,
    )


def _check(dt: float, kT: float, gamma: float, mass: float) -> None:
    for name, number in (("dt", dt), ("mass", mass)):
        if not (math.isfinite(number) and number > 0):
            raise InputError(
                f"{name} must be positive and finite, got {number!r}. Use {name}=1.0 or so."
            )
    for name, number in (("kT", kT), ("gamma", gamma)):
        if not (math.isfinite(number) and number >= 0):
            raise InputError(
                f"{name} must be finite and not negative, got {number!r}. Use 0 for none."
            )
