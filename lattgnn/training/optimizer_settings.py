"""What a resumed fit takes from a checkpoint's optimizer: its state, and not its settings."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from lattgnn.errors import InputError
from lattgnn.serialize import describe

# The Lightning module sets the learning rate in each step; parameters are not a setting.
_NO_SETTINGS = {"self", "params", "lr", "kwargs"}


def optimizer_name(optimizer: Optimizer) -> str:
    """Import path of an optimizer's class, which a checkpoint stores."""
    return f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"


def restore_settings(checkpoint: Mapping[str, Any], optimizer: Optimizer) -> list[str]:
    """Put the settings of an optimizer in place of those in a checkpoint's optimizer state.

    PyTorch stores settings such as the weight decay together with the moments of the gradient, and
    loads both. Without this, a checkpoint would override the configuration.

    Args:
        checkpoint: A loaded checkpoint, changed in place.
        optimizer: The configured optimizer.

    Returns:
        One text for each setting that differs.

    Raises:
        InputError: If the state belongs to another optimizer, or to one with other groups.
    """
    (saved,) = checkpoint["optimizer_states"]
    settings = [_settings(optimizer, group) for group in optimizer.param_groups]
    _check_same_optimizer(checkpoint, saved["param_groups"], optimizer)
    changes: dict[str, None] = {}
    for group, wanted in zip(saved["param_groups"], settings, strict=True):
        for key, value in wanted.items():
            if describe(group.get(key)) != describe(value):
                changes[f"{key}={value!r} instead of {group.get(key)!r}"] = None
            group[key] = value
    return list(changes)


def _settings(optimizer: Optimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a group that are arguments of the optimizer; the others are its state."""
    arguments = inspect.signature(type(optimizer)).parameters.keys() - _NO_SETTINGS
    return {key: value for key, value in group.items() if key in arguments}


def _check_same_optimizer(
    checkpoint: Mapping[str, Any], groups: list[dict[str, Any]], optimizer: Optimizer
) -> None:
    name = optimizer_name(optimizer)
    found = checkpoint.get("optimizer")
    if found is None:  # written before checkpoints stored the name: compare what it can be set to
        same = set(_settings(optimizer, optimizer.param_groups[0])) <= set(groups[0])
        found = "another one"
    else:
        same = found == name
    if not same or len(groups) != len(optimizer.param_groups):
        raise InputError(
            f"optimizer must be that of the checkpoint to continue its fit, {found}, got {name}. "
            "Use the same one, or start a new fit from the weights with --model.init_from=FILE."
        )
