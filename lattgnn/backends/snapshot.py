"""The weights that a backend was built from, kept so that every later change of them is noticed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor, nn

from lattgnn.errors import InputError
from lattgnn.native import library

_shape = attrgetter("shape")


class WeightSnapshot:
    """Copies of all parameters and buffers of a network at one moment.

    A version counter is not enough to notice a change: it does not count `p.data.mul_(1.5)`, a
    write through a NumPy view, or a parameter that was replaced. Values are therefore compared, and
    the steps before that are ordered so that a comparison never reads memory that is no longer a
    weight:

    1. The modules, parameters and buffers must be the same objects in the same places.
    2. Each tensor must have the same address, shape and strides. The snapshot keeps the memory of
       the original tensors alive, so no other tensor can take over an address.
    3. The bytes must be those of the copies. On the CPU this costs a few microseconds. On a GPU it
       would make the host wait, so version counters are compared unless `by_value` is set.

    Args:
        net: The network.

    Raises:
        InputError: A weight is NaN or infinite.
    """

    def __init__(self, net: nn.Module) -> None:
        # PyTorch keeps parameters, buffers and submodules in three dictionaries of each module.
        # Reading the dictionaries directly is twenty times as fast as `net.parameters()`.
        groups = ((m._parameters, m._buffers, m._modules) for m in net.modules())
        self._dictionaries: list[dict[str, Any]] = [d for d in chain.from_iterable(groups) if d]
        self._objects = list(self._members())
        self._tensors = [member for member in self._objects if isinstance(member, Tensor)]
        self._memory = [tensor.detach() for tensor in self._tensors]
        # An address, a shape and no gaps say all about a tensor; strides do where there are gaps.
        is_dense = all(tensor.is_contiguous() for tensor in self._tensors)
        self._order = Tensor.is_contiguous if is_dense else Tensor.stride
        self._layout = self._read_layout()
        self._has_versions = not any(tensor.is_inference() for tensor in self._tensors)
        self._versions = self._read_versions()
        self._copies = [tensor.detach().clone() for tensor in self._tensors]
        self._on_cpu = all(tensor.device.type == "cpu" for tensor in self._tensors)
        self._bytes = self._byte_arrays()
        _check_finite(net)

    def is_current(self, by_value: bool = False) -> bool:
        """Whether the network still has exactly these weights.

        Args:
            by_value: Compare the values on a GPU as well, which makes the host wait for the device.
        """
        if not all(map(is_, self._members(), self._objects)):
            return False
        if self._read_layout() != self._layout:
            return False
        if self._bytes is not None:
            return bool(self._same_bytes(*self._bytes))
        if self._on_cpu or by_value or not self._has_versions:
            return all(map(torch.equal, self._tensors, self._copies))
        return self._read_versions() == self._versions

    def _members(self) -> Iterable[Any]:
        """Modules, parameters and buffers in a fixed order."""
        return chain.from_iterable(map(dict.values, self._dictionaries))

    def _read_layout(self) -> list[Any]:
        """Addresses, shapes and orders in memory; `map` keeps the loop out of the interpreter."""
        tensors = self._tensors
        return [*map(Tensor.data_ptr, tensors), *map(_shape, tensors), *map(self._order, tensors)]

    def _read_versions(self) -> list[int]:
        """Version counters; tensors made in inference mode have none."""
        return list(map(attrgetter("_version"), self._tensors)) if self._has_versions else []

    def _byte_arrays(self) -> tuple[Any, Any, Any, int] | None:
        """Arguments of the compiled comparison; None where it does not apply."""
        functions = library()
        # `clone` keeps the strides of a tensor without gaps. Only then are its bytes a plain copy.
        is_dense = all(
            t.stride() == c.stride() for t, c in zip(self._tensors, self._copies, strict=True)
        )
        if functions is None or not self._on_cpu or not is_dense:
            return None
        self._same_bytes = functions.lattgnn_same_bytes
        self._same_bytes.restype = ctypes.c_int32
        self._same_bytes.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
        n = len(self._tensors)
        pointers = ctypes.c_void_p * n
        return (
            pointers(*(tensor.data_ptr() for tensor in self._tensors)),
            pointers(*(tensor.data_ptr() for tensor in self._copies)),
            (ctypes.c_int64 * n)(*(tensor.nbytes for tensor in self._tensors)),
            n,
        )


def _check_finite(net: nn.Module) -> None:
    """Raise InputError if a weight is NaN or infinite."""
    for name, tensor in chain(net.named_parameters(), net.named_buffers()):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(
                f"the weights of a network must be finite, but {name} has NaN or infinite entries. "
                "Use another checkpoint."
            )
