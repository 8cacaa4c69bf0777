"""Which steps of a run are saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lattgnn.errors import InputError


class SaveSchedule(ABC):
    """A choice of steps; the first and the last step of a run are always among them."""

    @abstractmethod
    def steps(self, n_steps: int) -> Int[np.ndarray, " frames"]:
        """Steps to save in a run of `n_steps`, ascending, from 0 to `n_steps`."""


@dataclass(frozen=True)
class Regular(SaveSchedule):
    """Every `every`-th step: 0, every, 2 every, …, and the last step.

    Args:
        every: steps from frame to frame.

    Raises:
        ValueError: if `every` is below 1.
    """

    every: int

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(
                f"every must be at least 1 step, got {self.every!r}. Use 1 to save all steps."
            )

    def steps(self, n_steps: int) -> Int[np.ndarray, " frames"]:
        """0, every, 2 every, …, and n_steps."""
        _check_steps(n_steps)
        return np.unique(np.append(np.arange(0, n_steps + 1, self.every, dtype=np.int64), n_steps))


@dataclass(frozen=True)
class LogSpaced(SaveSchedule):
    """Steps in geometric progression, for coarsening: 0, 1, 2, … one by one, then ever further apart.

    Exactly `n_frames` distinct steps, or all of them if the run has fewer: each next one is that of the
    geometric progression that would reach the end with the frames left, but at least one step further.

    Args:
        n_frames: frames, the first and the last step included.

    Raises:
        ValueError: if `n_frames` is below 2.
    """

    n_frames: int

    def __post_init__(self) -> None:
        if self.n_frames < 2:
            raise InputError(
                f"n_frames must be at least 2 (first, last), got {self.n_frames!r}. Use 2."
            )

    def steps(self, n_steps: int) -> Int[np.ndarray, " frames"]:
        """0, …, n_steps: min(n_frames, n_steps + 1) of them."""
        _check_steps(n_steps)
        steps = [0]
        for left in range(min(self.n_frames, n_steps + 1) - 1, 0, -1):
            geometric = (
                round(n_steps ** (1 / left) * steps[-1] ** (1 - 1 / left)) if steps[-1] else 1
            )
            steps.append(n_steps if left == 1 else max(geometric, steps[-1] + 1))
        return np.array(steps, dtype=np.int64)


def _check_steps(n_steps: int) -> None:
    if n_steps < 0:
        raise InputError(
            f"n_steps must not be negative, got {n_steps!r}. Use 0 to save the start only."
        )
