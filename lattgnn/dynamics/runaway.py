"""Runaway fields: steps that are checked, on a GPU without a wait at every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lattgnn.dynamics.state import ForceField, Integrator, State, evaluate
from lattgnn.dynamics.update import all_within
from lattgnn.errors import StoppedRunError
from lattgnn.lattice import Lattice

#: Largest |field| of a run, unless another limit is given. Physical fields are of order 1.
FIELD_LIMIT = 1e6

CHECK_INTERVAL = 100
"""Most steps between two checks on a GPU, where a check makes the host wait for the device."""


class RunawayFieldError(StoppedRunError):
    """A field, force or energy became NaN, infinite or too large. The frames before it remain.

    Attributes:
        quantity: What left the limits: the field, the momentum, the forces or the energy.
        step: Step that failed.
        replica: Row of the batch.
        site: Index of the site, None for an energy.
        value: Value found there.
        limit: Largest value allowed.
    """

    def __init__(
        self, quantity: str, step: int, replica: int, site: int | None, value: float, limit: float
    ) -> None:
        self.step, self.replica, self.site, self.value = step, replica, site, value
        self.quantity, self.limit = quantity, limit
        bound = "" if math.isinf(limit) else f" and within ±{limit:g}"
        place = f"replica {replica}" if site is None else f"replica {replica}, site {site}"
        super().__init__(
            f"{quantity} must stay finite{bound}, got {value:g} at step {step}, {place}. "
            "Use a smaller dt, or check the force field there."
        )

    def __reduce__(self) -> tuple:
        # By default the message alone is pickled, from which a worker's error cannot be rebuilt.
        arguments = (self.quantity, self.step, self.replica, self.site, self.value, self.limit)
        return RunawayFieldError, arguments


def advance_checked(
    force_field: ForceField,
    integrator: Integrator,
    state: State,
    last: int,
    field_limit: float,
    workspaces: Iterator[State],
    show: Callable[[int], None],
) -> State:
    """Advance to a step, and stop where a field, force or energy runs away.

    On a CPU every evaluation of the forces is checked at once. On a GPU the extremes are collected
    on the device and read every `CHECK_INTERVAL` steps. If one is too large, the steps since the
    last check are repeated with a check at each, so that the error names the step and the site.

    Args:
        force_field: The force field.
        integrator: The scheme of the steps.
        state: Initial state. One that is already at `last` is only checked.
        last: The step to reach.
        field_limit: Largest |field| allowed.
        workspaces: States that may be overwritten, in turns.
        show: Called with the number of each completed step.

    Raises:
        RunawayFieldError: If a field, force or energy is NaN or infinite, or a field exceeds the
            limit.
    """
    if state.step == last:
        check_values(last, field_limit, field=state.field, momentum=state.momentum)
        check_values(last, field_limit, **_by_name(state.forces, state.energy))

    def advance(state: State, stop: int, checked: _EachCall | _Extremes) -> State:
        while state.step < stop:
            checked.step = state.step + 1
            state = integrator.step(checked, state, out=next(workspaces))
            show(state.step)
        return state

    each_call = _EachCall(force_field, field_limit)
    if state.field.device.type == "cpu":
        return advance(state, last, each_call)
    with _deterministic_sums():
        return _advance_on_gpu(state, last, each_call, advance)


def _advance_on_gpu(
    state: State,
    last: int,
    each_call: _EachCall,
    advance: Callable[[State, int, _EachCall | _Extremes], State],
) -> State:
    """Advance with a check every `CHECK_INTERVAL` steps, repeated with `each_call` if it fails."""
    while state.step < last:
        # A copy, because the workspaces are overwritten and the steps may have to be repeated.
        start, stop = _copied(state), min(last, state.step + CHECK_INTERVAL)
        extremes = _Extremes(each_call.force_field, each_call.field_limit)
        try:
            state = advance(state, stop, extremes)
            passed = extremes.within_limits()
        except Exception:
            passed = False  # a runaway field can make a solver fail: the repetition tells
        if not passed:
            state = advance(start, stop, each_call)
    return state


@contextmanager
def _deterministic_sums() -> Iterator[None]:
    """Let PyTorch add in a fixed order on a GPU, so that a restarted run has the same bits.

    Atomic additions come in another order each time. An operation without a deterministic form
    only warns.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    fills = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=not enabled or warns)
    # No step reads memory that it has not written, so filling every new tensor would be wasted.
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns)
        settings.fill_uninitialized_memory = fills


@dataclass(slots=True)
class _Wrapped:
    """A force field with something done at each call."""

    force_field: ForceField
    field_limit: float
    step: int = 0

    @property
    def lattice(self) -> Lattice:
        return self.force_field.lattice

    @property
    def field_shape(self) -> tuple[int, ...]:
        return self.force_field.field_shape

    @property
    def writes_in_place(self) -> bool:
        return getattr(self.force_field, "writes_in_place", False)


@dataclass(slots=True)
class _EachCall(_Wrapped):
    """Refuses a runaway field before the force field sees it: it could make a solver hang."""

    def __call__(self, field: Tensor, *, out: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        check_values(self.step, self.field_limit, field=field)
        energy, forces = evaluate(self.force_field, field, out)
        check_values(self.step, self.field_limit, **_by_name(forces, energy))
        return energy, forces


@dataclass(slots=True)
class _Extremes(_Wrapped):
    """Collects the largest |field|, |force| and |energy| of all calls on the device."""

    largest: Tensor | None = None

    def __call__(self, field: Tensor, *, out: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        energy, forces = evaluate(self.force_field, field, out)
        # Unlike the maximum of |field|, the two extremes need no array of the field's size.
        checked = (field, *_by_name(forces, energy).values())
        largest = torch.stack([torch.stack(torch.aminmax(x)).abs().amax() for x in checked])
        # `maximum` returns NaN if one of its arguments is NaN.
        self.largest = largest if self.largest is None else self.largest.maximum(largest)
        return energy, forces

    def within_limits(self) -> bool:
        """Whether all values were finite and within the limits. The host waits for the device."""
        if self.largest is None:
            return True
        # In many processes, all must come to the same result.
        combine = getattr(self.force_field, "largest_of_all", None)
        largest = self.largest if combine is None else combine(self.largest)
        field, *others = largest.tolist()
        # Comparisons with NaN are false.
        return field <= self.field_limit and all(value < math.inf for value in others)


def _by_name(forces: Tensor, energy: Tensor | None) -> dict[str, Tensor]:
    """Forces and, where it is known, energy, in one dtype."""
    return {"forces": forces} | ({} if energy is None else {"energy": energy.to(forces)})


def _copied(state: State) -> State:
    """The state with tensors of its own."""
    field, momentum, forces = (x.clone() for x in (state.field, state.momentum, state.forces))
    return replace(state, field=field, momentum=momentum, forces=forces)


def check_values(step: int, field_limit: float, **quantities: Tensor) -> None:
    """Refuse values that are not finite, and a field beyond its limit.

    Args:
        step: The step that the values belong to.
        field_limit: Largest |field| allowed.
        **quantities: The values by name, each [n_replicas, n_sites, ...], or [n_replicas].

    Raises:
        RunawayFieldError: If any value is not finite, or the one named `field` exceeds the limit.
    """
    limits = [field_limit if name == "field" else math.inf for name in quantities]
    if all_within(list(quantities.values()), limits):
        return
    # Something is wrong: find out what and where, no matter how long it takes.
    for (name, values), limit in zip(quantities.items(), limits, strict=True):
        # Written with a negation because every comparison with NaN is false.
        bad = ~(values.detach().abs() <= min(limit, torch.finfo(values.dtype).max))
        if bad.any():
            place = bad.nonzero()[0].tolist()
            site = place[1] if values.ndim > 1 else None
            raise RunawayFieldError(name, step, place[0], site, float(values[tuple(place)]), limit)
