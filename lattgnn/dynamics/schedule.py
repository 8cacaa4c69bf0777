"""Schedules: which steps of a run are saved, and what of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lattgnn.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SaveSchedule(ABC):
    """A choice of steps. It always includes the first and the last step of a run.

    Field, energy and kinetic energy of these steps are saved. Momenta and forces are saved only if
    asked for; those of the first and the last step are kept in any case, so that the run can be
    repeated and continued.

    Args:
        momenta: Save the momenta of every frame.
        forces: Save the forces of every frame.
    """

    momenta: bool = False
    forces: bool = False

    @abstractmethod
    def steps(self, n_steps: int) -> Int[np.ndarray, " frames"]:
        """Return the steps to save.

        Args:
            n_steps: Number of steps of the run.

        Returns:
            Step numbers in ascending order, from 0 to `n_steps`.

        Raises:
            InputError: If n_steps is negative.
        """


@dataclass(frozen=True)
class Regular(SaveSchedule):
    """Frames at regular intervals: steps 0, every, 2 every, …, and the last step.

    Args:
        every: Number of steps between frames.
        momenta: Save the momenta of every frame.
        forces: Save the forces of every frame.

    Raises:
        InputError: If `every` is below 1.
    """

    every: int

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(
                f"every must be at least 1 step, got {self.every!r}. Use 1 to save all steps."
            )

    def steps(self, n_steps: int) -> Int[np.ndarray, " frames"]:
        """Return 0, every, 2 every, …, and n_steps."""
        _check_steps(n_steps)
        return np.unique(np.append(np.arange(0, n_steps + 1, self.every, dtype=np.int64), n_steps))


@dataclass(frozen=True)
class LogSpaced(SaveSchedule):
    """Frames at logarithmic intervals, for coarsening: steps 0, 1, 2, …, then ever further apart.

    There are exactly `n_frames` different steps, or all steps of a shorter run. A rounded geometric
    progression repeats its first steps, so each step is chosen in turn: the next one of the
    progression from here to the end with the frames that are left, but at least one step further.

    Args:
        n_frames: Number of frames, including the first and the last step.
        momenta: Save the momenta of every frame.
        forces: Save the forces of every frame.

    Raises:
        InputError: If `n_frames` is below 2.
    """

    n_frames: int

    def __post_init__(self) -> None:
        if self.n_frames < 2:
            raise InputError(
                f"n_frames must be at least 2 (first, last), got {self.n_frames!r}. Use 2."
            )

    def steps(self, n_steps: int) -> Int[np.ndarray, " frames"]:
        """Return min(n_frames, n_steps + 1) steps from 0 to n_steps."""
        _check_steps(n_steps)
        steps = [0]
        for left in range(min(self.n_frames, n_steps + 1) - 1, 0, -1):
            last = steps[-1]
            # A ratio of (n_steps / last) ** (1 / left) reaches n_steps in `left` frames. There is
            # none from step 0, so step 1 follows it.
            geometric = round(n_steps ** (1 / left) * last ** (1 - 1 / left)) if last else 1
            # The last one is set, because the power may round to a neighbor of n_steps.
            steps.append(n_steps if left == 1 else max(geometric, last + 1))
        return np.array(steps, dtype=np.int64)


@dataclass(frozen=True)
class Extended(SaveSchedule):
    """Frames of a run that was made longer after it had been planned.

    Up to the step at which the run was planned to end, the frames are those of the old plan. From
    there on they are those of the schedule for the longer run.

    Args:
        save: The schedule.
        n_steps: Number of steps of the old plan.
        momenta: Save the momenta of every frame.
        forces: Save the forces of every frame.
    """

    save: SaveSchedule
    n_steps: int

    def steps(self, n_steps: int) -> Int[np.ndarray, " frames"]:
        """Return the steps of the old plan, then those of the longer one beyond its end."""
        if n_steps <= self.n_steps:
            return self.save.steps(n_steps)
        schedule = self.save
        while isinstance(schedule, Extended):  # extended more than once
            schedule = schedule.save
        longer = schedule.steps(n_steps)
        return np.append(self.save.steps(self.n_steps), longer[longer > self.n_steps])


def _check_steps(n_steps: int) -> None:
    if n_steps < 0:
        raise InputError(
            f"n_steps must not be negative, got {n_steps!r}. Use 0 to save the start only."
        )
