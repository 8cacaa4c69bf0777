"""Fully connected layers, and checks of network arguments."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from lattgnn.errors import InputError
from lattgnn.symmetry import FieldType

SCALAR_FIELD = FieldType()
"""One scalar per site, with an unbounded force."""


def checked_channels(channels: Sequence[int]) -> tuple[int, ...]:
    """The widths of the hidden layers as a tuple.

    Raises:
        InputError: If there are none, or one is below 1.
    """
    if not channels or any(width < 1 for width in channels):
        raise InputError(
            f"channels must be one or more widths of at least 1, got {channels!r}. Use [32, 8]."
        )
    return tuple(channels)


def checked_scale(field_scale: float) -> float:
    """The value of the field that enters a network as 1.

    Raises:
        InputError: If it is not positive.
    """
    if not field_scale > 0:
        raise InputError(f"field_scale must be positive, got {field_scale!r}. Use 1.0.")
    return field_scale


def checked_scalar(field_type: FieldType) -> FieldType:
    """The field type of a network that reads one scalar per site.

    Raises:
        InputError: If the field is not a scalar.
    """
    if field_type.n_components or field_type.representation != "trivial":
        raise InputError(
            f"field_type must be one scalar per site for this network, got {field_type}. "
            "Use OrbitNetwork."
        )
    return field_type


def mlp(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers from each width to the next, with an activation between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])
