"""What every kind of dynamics shares: the state, its noise, and what a force field and an integrator are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from lattgnn.dynamics.philox import INITIAL_FIELD, INITIAL_MOMENTUM, noise
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice


@runtime_checkable
class ForceField(Protocol):
    """An exact or a learned force field; dynamics treats both alike.

    It may have a method `prepare()`, which `simulate` calls once before the first step.
    """

    @property
    def lattice(self) -> Lattice:
        """The lattice that the field lives on."""
        ...

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one configuration: `(n_sites,)` or `(n_sites, n_components)`."""
        ...

    def __call__(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Energy of each configuration (None if not known) and forces −∂E/∂field, shaped like the field."""
        ...


class InPlaceForceField(ForceField, Protocol):
    """A force field that can write its forces where it is told to, so that a step allocates nothing large."""

    #: Whether `out` may be given.
    writes_in_place: bool

    def __call__(self, field: Tensor, *, out: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        """As without `out`; with it the forces are `out` itself, shaped like the field and in its dtype."""
        ...


@dataclass(frozen=True, eq=False)
class State:
    """Replicas of one lattice at one instant; everything that a step needs, the random generator included.

    The generator is counter-based: its whole state is `(seed, first_replica, step)`, see `philox.noise`.

    Attributes:
        field: [replicas, n_sites] or [replicas, n_sites, n_components].
        momentum: p = m v, like `field`; overdamped dynamics and spins carry it along untouched.
        forces: −∂E/∂field at `field`, kept so that a step costs one evaluation of the force field.
        energy: [replicas], potential energy at `field`, or None if the force field has none.
        step: number of steps done.
        seed: seed of the run, 0 <= seed < 2**64; `step` stays below 2**56.
        first_replica: index of row 0 in the generator; row r has the noise of replica `first_replica + r`.
    """

    field: Float[Tensor, "replicas n_sites *components"]
    momentum: Float[Tensor, "replicas n_sites *components"]
    forces: Float[Tensor, "replicas n_sites *components"]
    energy: Float[Tensor, " replicas"] | None = None
    step: int = 0
    seed: int = 0
    first_replica: int = 0

    @property
    def n_replicas(self) -> int:
        """Number of replicas in the batch."""
        return self.field.shape[0]

    def replica(self, index: int) -> State:
        """One replica as a batch of its own; its noise stays what it was in the batch.

        Args:
            index: row of the batch, 0 <= index < n_replicas.
        """
        row = slice(index, index + 1)
        energy = None if self.energy is None else self.energy[row]
        return replace(
            self,
            field=self.field[row],
            momentum=self.momentum[row],
            forces=self.forces[row],
            energy=energy,
            first_replica=self.first_replica + index,
        )

    def workspace(self, out: State | None = None) -> State:
        """Tensors that the next state may be written to: those of `out` if it is given, or new ones.

        Args:
            out: a state whose tensors may be overwritten.

        Raises:
            ValueError: if `out` is this state, or of another shape, dtype or device.
        """
        if out is None:
            field, momentum, forces = (
                torch.empty_like(tensor, memory_format=torch.contiguous_format)
                for tensor in (self.field, self.momentum, self.forces)
            )
            return State(field, momentum, forces)
        one, other = self.field, out.field
        same = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
        if not same or one.data_ptr() == other.data_ptr():
            raise InputError(
                f"out must be another state like {list(one.shape)} {one.dtype} on {one.device}, got "
                f"{'this one' if same else f'{list(other.shape)} {other.dtype} on {other.device}'}. "
                "Use state.workspace()."
            )
        return out

    def following(
        self, field: Tensor, momentum: Tensor, forces: Tensor, energy: Tensor | None
    ) -> State:
        """The state one step after this one."""
        return State(field, momentum, forces, energy, self.step + 1, self.seed, self.first_replica)


class Integrator(ABC):
    """One step of a stochastic differential equation.

    Attributes:
        dt: time step.
        order: weak order at a fixed time: the error of ⟨f(field(t), momentum(t))⟩ is O(dt^order).
        stationary_order: the error of stationary averages is O(dt^stationary_order).
        n_evaluations: calls of the force field in a step.
        moves_spins: whether it moves classical spins on the sphere rather than a field in a linear space.
    """

    dt: float
    order: ClassVar[int]
    stationary_order: ClassVar[int]
    n_evaluations: ClassVar[int] = 1
    moves_spins: ClassVar[bool] = False

    @abstractmethod
    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """The state one `dt` later; its forces are those at its field.

        Args:
            force_field: exact or learned.
            state: left as it is.
            out: a state whose tensors are overwritten with the new one (`state.workspace()`, or a state that is
                no longer needed), so that nothing large is allocated; the numbers are the same without it.
        """


def evaluate(
    force_field: ForceField, field: Tensor, out: Tensor | None = None
) -> tuple[Tensor | None, Tensor]:
    """Energy and forces in the field's dtype, without an autograd graph that would grow from step to step.

    Args:
        force_field: exact or learned.
        field: where.
        out: a tensor like the field that an `InPlaceForceField` fills with the forces; others ignore it.
    """
    if out is not None and getattr(force_field, "writes_in_place", False):
        energy, forces = cast(InPlaceForceField, force_field)(field, out=out)
    else:
        energy, forces = force_field(field)
    return None if energy is None else energy.detach(), forces.detach().to(field.dtype)


def thermal_momentum_std(mass: float, kT: float) -> float:
    """Standard deviation sqrt(m kT) of one momentum component in equilibrium.

    Args:
        mass: mass of a site.
        kT: temperature in units of the hopping.
    """
    return math.sqrt(mass * kT)


def initial_state(
    force_field: ForceField,
    seed: int,
    n_replicas: int = 1,
    field_std: float = 0.0,
    momentum_std: float = 0.0,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> State:
    """Gaussian start: field ~ N(0, field_std²), momentum ~ N(0, momentum_std²), each site for itself.

    The quench of the Holstein papers is `field_std=(5 / 0.18) ** 0.5`, `momentum_std=(5 * mass) ** 0.5`
    (velocities of variance 5/m); thermal momenta are `momentum_std=thermal_momentum_std(mass, kT)`.

    Args:
        force_field: evaluated once, for the forces of the start.
        seed: seed of the start and of all the noise that follows.
        n_replicas: independent replicas.
        field_std: standard deviation of the field.
        momentum_std: standard deviation of p = m v.
        dtype: of field, momentum and forces; the draws are the same for all.
        device: where the state lives.

    Raises:
        ValueError: if there is no replica, or a force field answers in another shape.
    """
    shape = _batch_shape(force_field, n_replicas)
    start = (noise(seed, 0, shape, INITIAL_FIELD) * field_std).to(device=device, dtype=dtype)
    momentum = (noise(seed, 0, shape, INITIAL_MOMENTUM) * momentum_std).to(
        device=device, dtype=dtype
    )
    return _evaluated(force_field, start, momentum, seed)


def initial_spins(
    force_field: ForceField,
    seed: int,
    n_replicas: int = 1,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> State:
    """Start of spins: each uniform on the sphere for itself, T = ∞, without momentum.

    Args:
        force_field: evaluated once, for the effective fields of the start.
        seed: seed of the start and of all the noise that follows.
        n_replicas: independent replicas.
        dtype: of spins and fields; the draws are the same for all.
        device: where the state lives.

    Raises:
        ValueError: if there is no replica, or the field of a site has not three components.
    """
    shape = _batch_shape(force_field, n_replicas)
    if len(shape) != 3 or shape[-1] != 3:
        raise InputError(f"spins must be [n_sites, 3], got {list(shape[1:])}. Use initial_state.")
    start = normalize(noise(seed, 0, shape, INITIAL_FIELD), dim=-1).to(device=device, dtype=dtype)
    return _evaluated(force_field, start, torch.zeros_like(start), seed)


def _batch_shape(force_field: ForceField, n_replicas: int) -> tuple[int, ...]:
    if n_replicas < 1:
        raise InputError(f"n_replicas must be at least 1, got {n_replicas!r}. Use 1.")
    return (n_replicas, *force_field.field_shape)


def _evaluated(force_field: ForceField, field: Tensor, momentum: Tensor, seed: int) -> State:
    """The state of a start, with the forces there."""
    energy, forces = evaluate(force_field, field)
    if forces.shape != field.shape:
        shape, got = tuple(field.shape), tuple(forces.shape)
        raise InputError(
            f"forces must have the field's shape {shape}, got {got}. Mend the force field."
        )
    return State(field, momentum, forces, energy, seed=seed)
