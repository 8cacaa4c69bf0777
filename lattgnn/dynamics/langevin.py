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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from torch import Tensor

from lattgnn.dynamics.components import PerComponent, as_tuple, by_component
from lattgnn.dynamics.langevin_kernels import Update
from lattgnn.dynamics.philox import noise_request
from lattgnn.dynamics.state import ForceField, Integrator, State, evaluate
from lattgnn.dynamics.temperature import TemperatureProtocol, check_temperature, temperature
from lattgnn.dynamics.update import advance, advance_components
from lattgnn.errors import InputError

Temperature = float | tuple[float, ...] | TemperatureProtocol

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
        kT: Temperature of the bath, or a protocol such as `LinearRamp`.
        gamma: Friction rate, 1/time. 0 for constant energy (NVE).
        mass: Mass per site.

    kT, gamma and mass can also be one number for each component of the field.

    Raises:
        InputError: If dt or mass is not positive, or kT or gamma negative.

    Reference:
        arXiv 2601.04104 (Holstein quench); Bussi and Parrinello, Phys. Rev. E 75, 056707 (2007),
        whose scheme has half of the friction on each side (the same chain, seen half a step
        earlier).
    """

    dt: float
    kT: Temperature
    gamma: PerComponent
    mass: PerComponent
    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self)

    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """Do one step of length dt, with one evaluation of the force field."""
        new = state.workspace(out)
        # Half kick, drift.
        momentum, field = (state.momentum, new.momentum), (state.field, new.field)
        _apply(self, self._kick_drift, state, state.forces, momentum, field)
        energy, forces = evaluate(force_field, new.field, new.forces)
        # Half kick with the new force, Ornstein–Uhlenbeck.
        _apply(self, self._kick_friction, state, forces, (new.momentum, new.momentum))
        return state.following(new.field, new.momentum, forces, energy)

    def _kick_drift(self, kT: float, gamma: float, mass: float) -> Update:
        return Update(kick=0.5 * self.dt, drift=self.dt / mass, decay=1)

    def _kick_friction(self, kT: float, gamma: float, mass: float) -> Update:
        return Update(kick=0.5 * self.dt, **_ornstein_uhlenbeck(self.dt, kT, gamma, mass))


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
        kT: Temperature of the bath, or a protocol such as `LinearRamp`.
        gamma: Friction rate, 1/time. 0 for constant energy (NVE).
        mass: Mass per site.

    kT, gamma and mass can also be one number for each component of the field.

    Raises:
        InputError: If dt or mass is not positive, or kT or gamma negative.

    Reference:
        Leimkuhler and Matthews, Appl. Math. Res. eXpress 2013, 34 (2013).
    """

    dt: float
    kT: Temperature
    gamma: PerComponent
    mass: PerComponent
    order: ClassVar[int] = 2
    stationary_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self)

    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """Do one step of length dt, with one evaluation of the force field."""
        new = state.workspace(out)
        # Half kick (B), half drift (A), Ornstein–Uhlenbeck (O), half drift (A).
        momentum, field = (state.momentum, new.momentum), (state.field, new.field)
        _apply(self, self._kick_drift_friction_drift, state, state.forces, momentum, field)
        energy, forces = evaluate(force_field, new.field, new.forces)
        # Half kick (B) with the new force.
        _apply(self, self._kick, state, forces, (new.momentum, new.momentum))
        return state.following(new.field, new.momentum, forces, energy)

    def _kick_drift_friction_drift(self, kT: float, gamma: float, mass: float) -> Update:
        half_drift = 0.5 * self.dt / mass
        bath = _ornstein_uhlenbeck(self.dt, kT, gamma, mass)
        return Update(kick=0.5 * self.dt, drift=half_drift, drift_after=half_drift, **bath)

    def _kick(self, kT: float, gamma: float, mass: float) -> Update:
        return Update(kick=0.5 * self.dt, decay=1)


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
        kT: Temperature of the bath, or a protocol such as `LinearRamp`.
        gamma: Friction coefficient, force × time / field.

    kT and gamma can also be one number for each component of the field.

    Raises:
        InputError: If dt or gamma is not positive, or kT negative.

    Reference:
        Leimkuhler and Matthews, Appl. Math. Res. eXpress 2013, 34 (2013), the high-friction limit
        of BAOAB.
    """

    dt: float
    kT: Temperature
    gamma: PerComponent
    order: ClassVar[int] = 1
    stationary_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self)
        if 0 in as_tuple(self.gamma):
            raise InputError(
                "gamma must be positive for overdamped dynamics, got 0. Use VerletLangevin."
            )

    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """Do one step of length dt, with one evaluation of the force field."""
        new = state.workspace(out)
        # Here the update acts on the field in place of the momentum: Q ← Q + F dt/γ + noise. The
        # noise is ξ_n + ξ_{n+1}, the sum of two steps.
        _apply(self, self._move, state, state.forces, (state.field, new.field), n_draws=2)
        energy, forces = evaluate(force_field, new.field, new.forces)
        return state.following(new.field, state.momentum, forces, energy)

    def _move(self, kT: float, gamma: float, mass: float) -> Update:
        strength = math.sqrt(0.5 * kT * self.dt / gamma)
        return Update(kick=self.dt / gamma, decay=1, noise=strength)


def _apply(
    integrator: VerletLangevin | BAOAB | OverdampedLangevin,
    coefficients: Callable[[float, float, float], Update],
    state: State,
    forces: Tensor,
    momentum: tuple[Tensor, Tensor],
    field: tuple[Tensor, Tensor] | None = None,
    n_draws: int = 1,
) -> None:
    """Apply an update with the noise of this step, for each component by its own parameters.

    Args:
        integrator: The integrator, whose kT, gamma and mass are passed on.
        coefficients: Makes the update from kT, gamma and mass.
        state: State before the step.
        forces: Forces of the kick.
        momentum: Old and new momentum.
        field: Old and new field, or None if the update does not move it.
        n_draws: Number of consecutive steps whose noise is added.
    """
    kT, mass = temperature(integrator.kT, state.step), getattr(integrator, "mass", 1.0)
    shape, replica = state.field.shape, state.first_replica
    updates = _updates(coefficients, kT, integrator.gamma, mass, shape[1:])
    n_draws *= any([update.noise > 0 for update in updates])
    numbers = noise_request(
        state.seed,
        state.step,
        shape,
        first_replica=replica,
        first_site=state.first_site,
        n_draws=n_draws,
    )
    if len(updates) == 1:
        advance(updates[0], numbers, forces, momentum, field)
    else:
        advance_components(updates, numbers, forces, momentum, field)


@lru_cache(maxsize=16)  # the coefficients are the same at every step, unless kT changes
def _updates(
    coefficients: Callable[[float, float, float], Update],
    kT: PerComponent,
    gamma: PerComponent,
    mass: PerComponent,
    field_shape: Sequence[int],
) -> list[Update]:
    """One update, or those of the components if a parameter differs between them."""
    parameters = {"kT": kT, "gamma": gamma, "mass": mass}
    return [coefficients(*some) for some in by_component(parameters, field_shape)]


def _ornstein_uhlenbeck(dt: float, kT: float, gamma: float, mass: float) -> dict[str, float]:
    """Coefficients of `Update` for friction and noise: p ← a p + sqrt((1 − a²) m kT) ξ."""
    rate = gamma * dt
    if 0 < rate < SMALL_RATE:
        # 1 − a = −expm1(−γ dt) and 1 − a² = −expm1(−2 γ dt), without subtracting nearly equal
        # numbers.
        noise = math.sqrt(-math.expm1(-2 * rate) * mass * kT)
        return {"decay": 1.0, "friction": -math.expm1(-rate), "noise": noise}
    decay = math.exp(-rate)
    return {"decay": decay, "noise": math.sqrt((1 - decay**2) * mass * kT)}


def _check(integrator: VerletLangevin | BAOAB | OverdampedLangevin) -> None:
    """Refuse parameters out of range; lists of parameters become tuples."""
    for name in ("kT", "gamma", "mass"):
        value = getattr(integrator, name, None)
        if isinstance(value, list):
            object.__setattr__(integrator, name, tuple(value))
    mass = getattr(integrator, "mass", 1.0)
    for name, numbers in (("dt", (integrator.dt,)), ("mass", as_tuple(mass))):
        for number in numbers:
            if not (math.isfinite(number) and number > 0):
                raise InputError(
                    f"{name} must be positive and finite, got {number!r}. Use {name}="
                    f"{0.05 if name == 'dt' else 1.0} or so."
                )
    check_temperature(integrator.kT)
    for number in as_tuple(integrator.gamma):
        if not (math.isfinite(number) and number >= 0):
            raise InputError(
                f"gamma must be finite and not negative, got {number!r}. Use 0 for none."
            )
