"""Temperature protocols: the temperature of the bath as a function of the step.

An integrator takes one in place of a number as its `kT`. The temperature depends on the number of
the step alone, so a run with a protocol restarts bit for bit like any other.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from lattgnn.errors import InputError


class TemperatureProtocol(ABC):
    """The temperature of the bath along a run. Subclasses are frozen dataclasses."""

    @abstractmethod
    def at(self, step: int) -> float:
        """Return kT of the step that follows `step` completed ones, finite and not negative.

        Args:
            step: Number of completed steps, `State.step`. It is 0 at the start of a new run.
        """


@dataclass(frozen=True)
class LinearRamp(TemperatureProtocol):
    """A linear change of the temperature, which then stays at its final value.

        kT(n) = start + (end − start) min(n/n_steps, 1)

    Args:
        start: Initial kT.
        end: Final kT, reached after `n_steps` steps.
        n_steps: Number of steps of the ramp.

    Raises:
        InputError: If a temperature is negative or n_steps is below 1.
    """

    start: float
    end: float
    n_steps: int

    def __post_init__(self) -> None:
        _check_temperatures("start", [self.start])
        _check_temperatures("end", [self.end])
        _check_steps(self.n_steps)

    def at(self, step: int) -> float:
        """Return kT after `step` steps."""
        fraction = min(step / self.n_steps, 1.0)
        # This form gives both ends exactly.
        return (1 - fraction) * self.start + fraction * self.end


@dataclass(frozen=True)
class Steps(TemperatureProtocol):
    """Temperatures held one after the other; the last one stays.

    Args:
        values: Values of kT.
        n_steps: Number of steps at each of them.

    Raises:
        InputError: If a temperature is negative, there is none, or n_steps is below 1.
    """

    values: tuple[float, ...]
    n_steps: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise InputError("values must hold at least one temperature, got none. Use [1.0, 0.1].")
        _check_temperatures("values", self.values)
        _check_steps(self.n_steps)

    def at(self, step: int) -> float:
        """Return kT after `step` steps."""
        return self.values[min(step // self.n_steps, len(self.values) - 1)]


@dataclass(frozen=True)
class Cycle(TemperatureProtocol):
    """Cycles of heating and cooling, for hysteresis: linearly from `start` to `turn` and back.

    Args:
        start: kT at the beginning and the end of each cycle.
        turn: kT in the middle of each cycle.
        n_steps: Number of steps of one cycle.
        n_cycles: Number of cycles, after which the temperature stays at `start`. None for no end.

    Raises:
        InputError: If a temperature is negative, n_steps is below 2 or n_cycles below 1.
    """

    start: float
    turn: float
    n_steps: int
    n_cycles: int | None = None

    def __post_init__(self) -> None:
        _check_temperatures("start", [self.start])
        _check_temperatures("turn", [self.turn])
        _check_steps(self.n_steps, least=2)
        if self.n_cycles is not None and self.n_cycles < 1:
            raise InputError(f"n_cycles must be at least 1, got {self.n_cycles!r}. Use 1.")

    def at(self, step: int) -> float:
        """Return kT after `step` steps."""
        if self.n_cycles is not None and step >= self.n_cycles * self.n_steps:
            return self.start
        fraction = step % self.n_steps / self.n_steps
        there = 1 - abs(2 * fraction - 1)  # 0 at the ends of a cycle, 1 in its middle
        return (1 - there) * self.start + there * self.turn


def check_temperature(kT: float | Sequence[float] | TemperatureProtocol) -> None:
    """Refuse a temperature that is negative or not finite.

    Args:
        kT: One temperature, one for each component, or a protocol, which checks its own numbers.

    Raises:
        InputError: If a temperature is negative or not finite.
    """
    if not isinstance(kT, TemperatureProtocol):
        _check_temperatures("kT", kT if isinstance(kT, Sequence) else [kT])


def temperature(
    kT: float | tuple[float, ...] | TemperatureProtocol, step: int
) -> float | tuple[float, ...]:
    """Return the temperature, or that of each component, after a number of steps.

    Args:
        kT: The argument of an integrator.
        step: Number of completed steps.

    Raises:
        InputError: If a protocol returns a negative temperature or one that is not finite.
    """
    if not isinstance(kT, TemperatureProtocol):
        return kT
    value = kT.at(step)
    _check_temperatures(f"kT of {type(kT).__name__} at step {step}", [value])
    return value


def _check_temperatures(name: str, values: Sequence[float]) -> None:
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise InputError(
                f"{name} must be finite and not negative, got {value!r}. Use 0 for none."
            )


def _check_steps(n_steps: int, least: int = 1) -> None:
    if n_steps < least:
        raise InputError(f"n_steps must be at least {least}, got {n_steps!r}. Use 1000.")
