"""A pretended GPU: tensors that compute on the CPU but look like those of another device.

`PretendedGPU` is a mode. While it is active, whatever asks for the device `GPU` gets a tensor that
reports this device and keeps its values on the CPU. The mode sees every operation and counts what
costs time on a real GPU: kernels, bytes sent to the device, and waits of the host for a value.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

#: The pretended device. PyTorch has the meta device without any hardware, and no code of the
#: package treats it in a special way.
GPU = torch.device("meta")

# The shape of the result depends on values, so the host of a real GPU has to wait for it.
_SHAPED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_consecutive", "bincount"}
_CONSTRUCTORS = (torch.tensor, torch.as_tensor, torch.sparse_csr_tensor)
_READS_VALUES = {"_local_scalar_dense", "equal", "is_nonzero"}


class _OnGPU(Tensor):
    """A tensor that reports the pretended device; its values lie in `on_cpu`."""

    on_cpu: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "_OnGPU":
        # The wrapper could not show that its values are to be conjugated or negated when read.
        values = values.resolve_conj().resolve_neg()
        layout: dict[str, Any] = {"layout": values.layout}
        if values.layout == torch.strided:
            layout |= {"strides": values.stride(), "storage_offset": values.storage_offset()}
        made = Tensor._make_wrapper_subclass(
            cls, values.shape, dtype=values.dtype, device=GPU, **layout
        )
        made.on_cpu = values
        return made

    def __repr__(self) -> str:
        return f"_OnGPU({self.on_cpu!r})"

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is Tensor.data_ptr:
            return args[0].on_cpu.data_ptr()
        if func in (Tensor.tolist, Tensor.numpy, Tensor.__array__):
            return func(args[0].cpu(), *args[1:], **(kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} runs outside of the mode PretendedGPU")


class _ConstantsOnGPU(TorchFunctionMode):
    """Sends constants such as `torch.tensor([1.0], device=GPU)` to the device by a copy.

    PyTorch makes a constant on the meta device without its values, and no dispatch mode sees it.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if func in _CONSTRUCTORS and device is not None:
            if torch.device(device) == GPU:
                return func(*args, **{**kwargs, "device": "cpu"}).to(GPU)
        return func(*args, **kwargs)


class PretendedGPU(TorchDispatchMode):
    """Makes the pretended device available, and counts what is done on it.

    Attributes:
        kernels: Number of operations on the device by name; views cost nothing and are left out.
        waits: Number of operations for which the host waits, by name.
        uploads: Name and bytes of each copy from the CPU to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def __enter__(self):
        self._constants = _ConstantsOnGPU()
        self._constants.__enter__()
        return super().__enter__()

    def __exit__(self, *details):
        super().__exit__(*details)
        self._constants.__exit__(*details)

    def reset(self) -> None:
        """Start counting again."""
        self.kernels: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.uploads: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func._schema.name.removeprefix("aten::")
        tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        inputs_on_gpu = any(isinstance(x, _OnGPU) for x in tensors)
        target = kwargs.get("device")
        if target == GPU:
            kwargs["device"] = torch.device("cpu")
        on_gpu = inputs_on_gpu if target is None else target == GPU
        if not (on_gpu or inputs_on_gpu):
            return func(*args, **kwargs)
        kwargs.pop("pin_memory", None)
        plain_args, plain_kwargs = pytree.tree_map_only(_OnGPU, lambda x: x.on_cpu, (args, kwargs))
        self._count(name, func, args, tensors, on_gpu)
        result = func(*plain_args, **plain_kwargs)
        if not on_gpu:
            return result
        known = {id(x.on_cpu): x for x in tensors if isinstance(x, _OnGPU)}
        # An operation that writes in place returns the tensor it was given.
        return pytree.tree_map_only(
            Tensor, lambda x: known[id(x)] if id(x) in known else _OnGPU(x), result
        )

    def _count(self, name, func, args, tensors, on_gpu) -> None:
        """Count one operation that has its inputs or its outputs on the device."""
        inputs_on_gpu = any(isinstance(x, _OnGPU) for x in tensors)
        # A tensor without dimensions is a number, which travels with the call of the kernel.
        from_cpu = [x for x in tensors if not isinstance(x, _OnGPU) and x.ndim > 0]
        has_mask = name.startswith("index") and any(
            isinstance(x, Tensor) and x.dtype == torch.bool for x in pytree.tree_leaves(args[1:2])
        )
        if inputs_on_gpu and (not on_gpu or name in _READS_VALUES | _SHAPED_BY_VALUES or has_mask):
            self.waits[name] += 1
        elif from_cpu and name in ("_to_copy", "copy_", "lift_fresh"):
            self.uploads.append((name, sum(x.nbytes for x in from_cpu)))
        elif from_cpu:
            raise AssertionError(f"{name} mixes devices: {[tuple(x.shape) for x in from_cpu]}")
        elif not func.is_view:
            self.kernels[name] += 1
