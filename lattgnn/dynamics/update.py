"""Updates of field and momentum in place, and checks for runaway values.

On a CPU a compiled function does a whole `Update` in one pass: it generates the noise of a few
hundred sites in the cache, then reads and writes each array once. Separate PyTorch operations would
read and write memory once for each of them, and store the noise. Elsewhere, and without a compiler,
PyTorch does the same.

A friction of 1e-7 per step changes a momentum in single precision by about one unit in the last
place, which the usual rounding would make 0, 1 or 2 units at every step. Such a change is computed
in double precision and rounded up or down by turns: the threshold of the rounding runs through
[0, 1) evenly from step to step, from another start at each site, so the friction is right in the
mean. The threshold is a function of step, replica and site, so a restarted run has the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lattgnn.dynamics.langevin_kernels import NoiseRequest, Update, kernels
from lattgnn.dynamics.philox import chunks, generate

_UPDATE = {torch.float32: "langevin_update_float32", torch.float64: "langevin_update_float64"}
_WITHIN = {torch.float32: "langevin_within_float32", torch.float64: "langevin_within_float64"}
# As in csrc/langevin.cpp: 2³² over the golden ratio, whose multiples fill [0, 2³²) evenly, and odd
# constants of hash functions.
_PER_STEP, _PER_INDEX, _PER_REPLICA, _LOW = 0x9E3779B9, 0x85EBCA6B, 0xC2B2AE35, 0xFFFFFFFF


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
    assert all(tensor.shape == forces.shape for tensor in (*momentum, *(field or ())))
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


@torch.no_grad()
def advance_components(
    updates: Sequence[Update],
    numbers: NoiseRequest,
    forces: Tensor,
    momentum: tuple[Tensor, Tensor],
    field: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Apply an update with other coefficients for each component of the field, by PyTorch.

    Friction and noise are applied in double precision, as small friction is by `advance`.

    Args:
        updates: Coefficients of each component.
        numbers: The noise ξ.
        forces: Forces F, shaped like the field, with components on the last axis.
        momentum: Old and new momentum p.
        field: Old and new field Q, or None for an update that does not move the field.
    """

    def of_components(name: str, like: Tensor) -> Tensor:
        values = tuple(getattr(update, name) for update in updates)
        return _constants(values, like.dtype, like.device)

    new_momentum = torch.addcmul(
        momentum[0], forces, of_components("kick", forces), out=momentum[1]
    )
    if field is not None:
        torch.addcmul(field[0], new_momentum, of_components("drift", forces), out=field[1])
    # 1 − decay of the components whose friction is not small enough to be given as such.
    frictions = tuple(update.friction or 1 - update.decay for update in updates)
    if any(frictions) or numbers.n_draws:
        device = torch.device("cpu") if forces.device.type == "mps" else forces.device
        n_sites = numbers.n_numbers // len(updates)
        friction = _constants(frictions, torch.float64, device).repeat(n_sites)
        strengths = tuple(update.noise for update in updates)
        noise = _constants(strengths, torch.float64, device).repeat(n_sites)
        rows = new_momentum.view(numbers.n_replicas, numbers.n_numbers)
        _slow_down(friction, noise, numbers, rows)
    if field is not None and any(update.drift_after for update in updates):
        field[1].addcmul_(new_momentum, of_components("drift_after", forces))


@lru_cache(maxsize=64)  # so that no step transfers them to a GPU again
def _constants(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


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
    # Sites and components of a replica as one axis, as the generator counts them.
    rows = new_momentum.view(numbers.n_replicas, numbers.n_numbers)
    if update.friction > 0:
        _slow_down(update.friction, update.noise, numbers, rows)
    else:
        if update.decay != 1:
            new_momentum.mul_(update.decay)
        for columns, some in chunks(numbers, rows.device):
            rows[:, columns].add_(some.to(rows), alpha=update.noise)
    if field is not None and update.drift_after != 0:
        field[1].add_(new_momentum, alpha=update.drift_after)


def _slow_down(
    friction: float | Tensor, noise: float | Tensor, numbers: NoiseRequest, rows: Tensor
) -> None:
    """Friction and noise in double precision: p ← p − friction p + noise ξ."""
    # MPS has no float64.
    exact = rows.to(device="cpu" if rows.device.type == "mps" else None, dtype=torch.float64)
    exact = exact - friction * exact
    if numbers.n_draws:
        exact += noise * generate(numbers, exact.device)
    if rows.dtype != torch.float64:
        _, exponents = torch.frexp(exact)
        # Numbers in [2^(e−1), 2^e) are eps 2^(e−1) apart in the precision of the rows.
        spacing = torch.ldexp(torch.full_like(exact, torch.finfo(rows.dtype).eps), exponents - 1)
        exact = exact + spacing * (_thresholds(numbers, exact.device) - 0.5)
    rows.copy_(exact)


def _thresholds(numbers: NoiseRequest, device: torch.device) -> Tensor:
    """Numbers in (0, 1) for each replica and index, spread evenly over steps."""
    places = torch.arange(numbers.n_numbers, device=device)
    rows = places // numbers.row_numbers
    indices = numbers.first_index + rows * numbers.row_stride + places % numbers.row_numbers
    replicas = torch.arange(numbers.n_replicas, device=device) + numbers.first_replica
    # Products of 32-bit words may overflow an int64, which leaves their low 32 bits right.
    step = (numbers.step_and_purpose & _LOW) * _PER_STEP & _LOW
    words = step + (replicas * _PER_REPLICA)[:, None] + indices * _PER_INDEX
    return ((words & _LOW) + 0.5) / 2**32
