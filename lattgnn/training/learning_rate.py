"""The learning rate along a fit."""

import math

from lightning import Trainer
from lightning.pytorch.callbacks import Timer

WARMUP = 0.02
"""Fraction of the fit during which the learning rate rises."""

OPEN_WARMUP = 100
"""Number of steps during which it rises in a fit whose length is not known."""


def learning_rate_factor(trainer: Trainer, step: int) -> float:
    """Learning rate of a step, divided by its peak.

    If the number of steps is known, from max_epochs or max_steps, the rate rises linearly over the
    first 2 % of them and then falls to zero like a cosine. If only max_time is given, the share of
    that time takes the place of the share of the steps. If neither is given, the rate rises over
    the first 100 steps and then stays constant.

    Args:
        trainer: The trainer of the fit.
        step: Number of the step, from 0.

    Returns:
        A number from 0 to 1, the same in all processes.
    """
    n_steps = trainer.estimated_stepping_batches  # infinite without max_epochs and max_steps
    if math.isfinite(n_steps):
        return _rise_and_fall(min(1.0, (step + 1) / n_steps))
    share = _share_of_time(trainer)
    return min(1.0, (step + 1) / OPEN_WARMUP) if share is None else _rise_and_fall(share)


def _rise_and_fall(progress: float) -> float:
    return min(1.0, progress / WARMUP) * 0.5 * (1 + math.cos(math.pi * progress))


def _share_of_time(trainer: Trainer) -> float | None:
    """Elapsed share of max_time, counting the time before a resumption; None without max_time."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        remaining = callback.time_remaining() if isinstance(callback, Timer) else None
        if remaining is not None:
            elapsed = callback.time_elapsed()
            share = min(1.0, elapsed / max(elapsed + remaining, 1e-9))
            # Clocks differ, and with different rates the weights of the processes would drift
            # apart.
            return trainer.strategy.broadcast(share) if trainer.world_size > 1 else share
    return None
