"""Constant tensors that are sent to a device once and not at each use."""

from __future__ import annotations

import torch
from torch import Tensor


class DeviceCopies:
    """A constant tensor with a copy for each device and dtype that has asked for one.

    Sending an index table to a GPU at every step costs more than the step. Pickles and copies of
    the object hold only the original.

    Args:
        tensor: The tensor, which must not change.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def __getstate__(self) -> Tensor:
        return self.tensor

    def __setstate__(self, state: Tensor) -> None:
        self.__init__(state)  # type: ignore[misc]

    def on(self, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """The tensor on a device.

        Args:
            device: The device.
            dtype: None keeps that of the tensor.
        """
        key = (device, self.tensor.dtype if dtype is None else dtype)
        if key not in self._copies:
            # `to` returns the tensor itself where there is nothing to do.
            self._copies[key] = self.tensor.to(*key)
        return self._copies[key]

    def like(self, other: Tensor) -> Tensor:
        """The tensor on the device and in the dtype of another one."""
        return self.on(other.device, other.dtype)
