"""Field and momentum moved in one pass, without allocation: compiled on a CPU, by PyTorch elsewhere."""

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
    """Apply an update and draw its noise on the way; the bits do not depend on the number of threads.

    Args:
        update: what is added to what.
        numbers: the noise ξ.
        forces: the F of the kick.
        momentum: the old p and where the new one goes, which may be the same tensor.
        field: the same of Q; None leaves it alone.
    """
    old_field, new_field = field or (None, None)
    old_momentum, new_momentum = momentum
    kernel = _kernel(_UPDATE, forces, *momentum, *(field or ()))
    if kernel is None:
        _by_pytorch(update, numbers, forces, momentum, field)
        return
    assert new_momentum.is_contiguous() and (new_field is None or new_field.is_contiguous())
    old = [
        None if tensor is None else tensor.contiguous()
        for tensor in (old_field, old_momentum, forces)
    ]
    pointers = [
        None if tensor is None else tensor.data_ptr() for tensor in (*old, new_field, new_momentum)
    ]
    kernel(numbers, update, *pointers)


def all_within(tensors: Sequence[Tensor], limits: Sequence[float]) -> bool:
    """Whether all values are finite and none is beyond ± the limit of its tensor; one synchronisation."""
    kernel = _kernel(_WITHIN, *tensors)
    if kernel is not None:
        dense = [tensor.contiguous() for tensor in tensors]
        pairs = zip(dense, limits, strict=True)
        return all(kernel(tensor.data_ptr(), tensor.numel(), limit) for tensor, limit in pairs)
    extremes = torch.stack(
        [torch.stack(torch.aminmax(tensor.detach())) for tensor in tensors]
    ).tolist()
    bounds = [
        min(limit, torch.finfo(t.dtype).max) for t, limit in zip(tensors, limits, strict=True)
    ]
    return all(
        -bound <= low and high <= bound for (low, high), bound in zip(extremes, bounds, strict=True)
    )


def _kernel(names: dict[torch.dtype, str], *tensors: Tensor) -> Callable[..., Any] | None:
    """The compiled function for such tensors, if there is one."""
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
    new_momentum = torch.add(momentum[0], forces, alpha=update.kick, out=momentum[1])
    if field is not None:
        torch.add(field[0], new_momentum, alpha=update.drift, out=field[1])
    if update.decay != 1:
        new_momentum.mul_(update.decay)
    rows = new_momentum.view(numbers.n_replicas, numbers.n_numbers)
    for columns, some in chunks(numbers, rows.device):
        rows[:, columns].add_(some.to(rows), alpha=update.noise)
    if field is not None and update.drift_after != 0:
        field[1].add_(new_momentum, alpha=update.drift_after)
