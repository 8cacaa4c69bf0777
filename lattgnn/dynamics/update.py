"""Updates of field and momentum in place, and checks for runaway values.

On a CPU a compiled function does a whole `Update` in one pass: it generates the noise of a few
hundred sites in the cache, then reads and writes each array once. Separate PyTorch operations would
read and write memory once for each of them, and store the noise. Elsewhere, and without a compiler,
PyTorch does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lattgnn.dynamics.langevin_kernels import NoiseRequest, Update, kernels
from lattgnn.dynamics.philox import chunks

_UPDATE = {torch.float32: "langevin_update_float32", torch.float64: "langevin_update_float64"}
_WITHIN = {torch.float32: "langevin_within_float32", torch.float64: "langevin_within_float64"}


def advance(
    update: Update,
    numbers: NoiseRequest,
    forces: Tensor,
    momentum: tuple[Tensor, Tensor],
    field: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Apply an update and generate its noise. The bits do not depend on the number of threads.

    Each pair of tensors holds the old values and receives the new ones. The two may be the same
    tensor: every element is read before it is written, and depends on no other element.

    Args:
        update: Coefficients of the update.
        numbers: The noise ξ.
        forces: Forces F, shaped like the field.
        momentum: Old and new momentum p.
        field: Old and new field Q, or None for an update that does not move the field.
    """
    old_field, new_field = field or (None, None)
    old_momentum, new_momentum = momentum
    compiled_update = _compiled(_UPDATE, forces, *momentum, *(field or ()))
    if compiled_update is None:
        _by_pytorch(update, numbers, forces, momentum, field)
        return
    # The compiled function knows addresses but no strides. An old tensor may be a view with gaps,
    # such as a component of a larger array, and is copied then; a new one must be dense already.
    assert new_momentum.is_contiguous() and (new_field is None or new_field.is_contiguous())
    # The copies stay in this list, hence alive, until the function has returned.
    tensors = [
        None if old_field is None else old_field.contiguous(),
        old_momentum.contiguous(),
        forces.contiguous(),
        new_field,
        new_momentum,
    ]
    addresses = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    compiled_update(numbers, update, *addresses)


def all_within(tensors: Sequence[Tensor], limits: Sequence[float]) -> bool:
    """Tell whether all values are finite and within the limits.

    Args:
        tensors: The values.
        limits: Largest absolute value of each tensor; inf allows every finite number.

    Returns:
        True if they are.
    """
    compiled_check = _compiled(_WITHIN, *tensors)
    if compiled_check is not None:
        dense = [tensor.contiguous() for tensor in tensors]
        pairs = zip(dense, limits, strict=True)
        return all(
            compiled_check(values.data_ptr(), values.numel(), limit) for values, limit in pairs
        )
    # The extremes of all tensors reach the CPU in one transfer: each one makes a GPU wait.
    extremes = torch.stack([torch.stack(torch.aminmax(tensor.detach())) for tensor in tensors])
    for tensor, limit, (low, high) in zip(tensors, limits, extremes.tolist(), strict=True):
        # The largest number of the dtype replaces an infinite limit, so that ±inf is found. NaN is
        # an extreme of every tensor that holds one, and fails both comparisons.
        bound = min(limit, torch.finfo(tensor.dtype).max)
        if not (-bound <= low and high <= bound):
            return False
    return True


def _compiled(names: dict[torch.dtype, str], *tensors: Tensor) -> Callable[..., Any] | None:
    """The compiled function for these tensors, or None off the CPU or for mixed or other dtypes."""
    compiled, dtype = kernels(), tensors[0].dtype
    for tensor in tensors:
        if not tensor.is_cpu or tensor.dtype != dtype:
            return None
    return getattr(compiled, names[dtype]) if compiled is not None and dtype in names else None


@torch.no_grad()
def _by_pytorch(
    update: Update,
    numbers: NoiseRequest,
    forces: Tensor,
    momentum: tuple[Tensor, Tensor],
    field: tuple[Tensor, Tensor] | None,
) -> None:
    """The same update by PyTorch operations, in the same order."""
    new_momentum = torch.add(momentum[0], forces, alpha=update.kick, out=momentum[1])
    if field is not None:
        torch.add(field[0], new_momentum, alpha=update.drift, out=field[1])
    if update.decay != 1:
        new_momentum.mul_(update.decay)
    # Sites and components of a replica as one axis, as the generator counts them.
    rows = new_momentum.view(numbers.n_replicas, numbers.n_numbers)
    for columns, some in chunks(numbers, rows.device):
        rows[:, columns].add_(some.to(rows), alpha=update.noise)
    if field is not None and update.drift_after != 0:
        field[1].add_(new_momentum, alpha=update.drift_after)
