"""Plain fully connected layers, and checks of what networks are made with."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from lattgnn.errors import InputError


def checked_channels(channels: Sequence[int]) -> tuple[int, ...]:
    """The widths of the hidden layers as a tuple.

    Raises:
        ValueError: If there is none, or one is below 1.
    """
    if not channels or any(width < 1 for width in channels):
        raise InputError(
            f"channels must be one or more widths of at least 1, got {channels!r}. Use [32, 8]."
        )
    return tuple(channels)


def checked_scale(field_scale: float) -> float:
    """The field that enters a network as 1.

    Raises:
        ValueError: If it is not positive.
    """
    if not field_scale > 0:
        raise InputError(f"field_scale must be positive, got {field_scale!r}. Use 1.0.")
    return field_scale


def mlp(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers from each width to the next, with an activation between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])
