"""Devices that a computation can use, and tensor code that PyTorch compiles for a GPU."""

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

from lattgnn.errors import InputError

Function = TypeVar("Function", bound=Callable[..., Any])


def usable_device(device: str | torch.device) -> torch.device:
    """The device, refused in one line where the machine has no such device.

    Args:
        device: Such as "cpu", "cuda" or "cuda:1".

    Returns:
        The device.

    Raises:
        InputError: If PyTorch does not know the device or cannot use it.
    """
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch without CUDA
        if str(device).partition(":")[0] == "gpu":
            name = str(device).replace("gpu", "cuda", 1)
            raise InputError(
                f"device {str(device)!r} cannot be used: PyTorch calls a GPU {name!r}. Use {name}."
            ) from error
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"device {str(device)!r} cannot be used ({reason}). Use cpu.") from error


def compiled(function: Function, device: torch.device) -> Function:
    """A function of tensors, compiled by PyTorch if LATTGNN_COMPILE=1 is set and it runs on a GPU.

    Compiling takes up to a minute, and again for another shape. It merges operations, so that
    arrays are read and written less often. Results change by rounding.

    Args:
        function: The function, without branches on the values of tensors.
        device: Device of its tensors.
    """
    wanted = os.environ.get("LATTGNN_COMPILE", "").lower() in ("1", "true", "yes", "on")
    return torch_compiled(function) if wanted and device.type != "cpu" else function


def torch_compiled(function: Function) -> Function:
    """A function compiled by PyTorch as one piece; what it cannot compile is an error.

    Args:
        function: The function.
    """
    return cast(Function, torch.compile(function, fullgraph=True, dynamic=False))
