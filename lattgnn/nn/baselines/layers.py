"""Plain fully connected layers, and the check of their widths."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def checked_channels(channels: Sequence[int]) -> tuple[int, ...]:
    """The widths of the hidden layers as a tuple.

    Raises:
        ValueError: If there is none, or one is below 1.
    """
    if not channels or any(width < 1 for width in channels):
        raise ValueError(f"channels must be one or more widths of at least 1, got {channels!r}. Use [32, 8].")
    return tuple(channels)


def mlp(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers from each width to the next, with an activation between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])
