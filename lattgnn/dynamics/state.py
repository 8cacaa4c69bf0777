"""The parts that all dynamics share: states, and the interfaces of force fields and integrators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.dynamics.langevin_kernels import SiteRows
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice


@runtime_checkable
class ForceField(Protocol):
    """Interface of force fields. Exact and learned ones are used alike.

    Three more members are optional. `simulate` calls a method `prepare()` once, before the first
    step, and checks that the integrator suits `hamiltonian.field_type`. It runs the steps from each
    saved frame to the next within `with force_field.warm_start()`, in which calls may use what
    earlier calls have found.
    """

    @property
    def lattice(self) -> Lattice:
        """Lattice of the field."""
        ...

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one configuration: `(n_sites,)` or `(n_sites, n_components)`."""
        ...

    def __call__(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Compute energy and forces.

        Args:
            field: Field, [n_replicas, *field_shape].

        Returns:
            Energy of each replica, [n_replicas], or None if it is unknown, and the forces
            −∂E/∂field, shaped like the field.
        """
        ...


class InPlaceForceField(ForceField, Protocol):
    """A force field that can write to a given tensor, so that a step allocates no memory."""

    #: Whether the force field accepts `out`.
    writes_in_place: bool

    def __call__(self, field: Tensor, *, out: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        """Compute energy and forces, as `ForceField` does.

        Args:
            field: Field, [n_replicas, *field_shape].
            out: Tensor that receives the forces, of the field's shape and dtype.

        Returns:
            Energy of each replica or None, and the forces, which are `out` if it is given.
        """
        ...


@dataclass(frozen=True, eq=False)
class State:
    """Replicas of one lattice at one time, with all that the next step needs.

    This includes the random number generator. It is counter-based, so `(seed, first_replica, step)`
    is its whole state (see `philox.noise`).

    Attributes:
        field: Field, [n_replicas, n_sites] or [n_replicas, n_sites, n_components].
        momentum: Momentum p = m v, shaped like the field. Overdamped and spin dynamics ignore it.
        forces: Forces −∂E/∂field at `field`, kept so that the next step need not compute them
            again.
        energy: Potential energy at `field`, [n_replicas], or None if it is unknown.
        step: Number of steps done, below 2**56.
        seed: Seed of the run, 0 <= seed < 2**64.
        first_replica: Index of row 0 in the generator. Row r has the noise of replica
            `first_replica + r`.
        first_site: Index of the first site in the generator, or the rows of sites that the state
            holds if it is a part of a lattice (`lattgnn.dynamics.domains`).

    Raises:
        InputError: If momentum, forces and energy are not like the field.
    """

    field: Float[Tensor, "replicas n_sites *components"]
    momentum: Float[Tensor, "replicas n_sites *components"]
    forces: Float[Tensor, "replicas n_sites *components"]
    energy: Float[Tensor, " replicas"] | None = None
    step: int = 0
    seed: int = 0
    first_replica: int = 0
    first_site: int | SiteRows = 0

    def __post_init__(self) -> None:
        # Compiled code reads and writes as many numbers as the field has, wherever they may lie.
        for name in ("momentum", "forces"):
            _check_like_field(name, getattr(self, name), self.field)
        if self.energy is not None and self.energy.shape != self.field.shape[:1]:
            raise InputError(
                f"energy must have one number per replica, [{len(self.field)}], got "
                f"{list(self.energy.shape)}. Use None if it is unknown."
            )

    @property
    def n_replicas(self) -> int:
        """Number of replicas in the batch."""
        return self.field.shape[0]

    def replica(self, index: int) -> State:
        """Take one replica out of the batch. It continues with the same noise.

        Args:
            index: Row of the batch. Negative numbers count from the end.

        Returns:
            A state of one replica; its tensors are views of this state.

        Raises:
            InputError: If there is no such row.
        """
        n = self.n_replicas
        if not -n <= index < n:
            raise InputError(
                f"index must be from 0 to {n - 1}, or from {-n} to -1 to count from the end, got "
                f"{index!r}. Use 0 for the first replica."
            )
        index %= n
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
        """Return the tensors that receive the next state: those of `out`, or new ones.

        Args:
            out: A state whose tensors may be overwritten.

        Returns:
            `out`, or a state whose tensors are not initialized.

        Raises:
            InputError: If `out` is this state, or differs from it in shape, dtype or device.
        """
        if out is None:
            field, momentum, forces = (
                torch.empty_like(tensor, memory_format=torch.contiguous_format)
                for tensor in (self.field, self.momentum, self.forces)
            )
            return State(field, momentum, forces)
        # A step reads the old state while it writes the new one, so the two must not share memory.
        one, other = self.field, out.field
        same = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
        if not same or one.data_ptr() == other.data_ptr():
            raise InputError(
                f"out must be another state like {_in_words(one)}, got "
                f"{'this one' if same else _in_words(other)}. Use state.workspace()."
            )
        return out

    def following(
        self, field: Tensor, momentum: Tensor, forces: Tensor, energy: Tensor | None
    ) -> State:
        """Return the state one step later, with the seed and the replicas of this one.

        Args:
            field: New field.
            momentum: New momentum.
            forces: Forces at the new field.
            energy: Energy at the new field, or None.
        """
        place = (self.seed, self.first_replica, self.first_site)
        return State(field, momentum, forces, energy, self.step + 1, *place)


class Integrator(ABC):
    """A scheme for the time steps of a stochastic differential equation.

    Attributes:
        dt: Time step.
        order: Weak order at a fixed time: the error of ⟨f(field(t), momentum(t))⟩ is O(dt^order).
        stationary_order: Order of stationary averages: their error is O(dt^stationary_order).
        n_evaluations: Number of force evaluations per step.
        moves_spins: Whether the scheme moves classical spins on the sphere, not a field in a
            linear space.
    """

    dt: float
    order: ClassVar[int]
    stationary_order: ClassVar[int]
    n_evaluations: ClassVar[int] = 1
    moves_spins: ClassVar[bool] = False

    @abstractmethod
    def step(self, force_field: ForceField, state: State, out: State | None = None) -> State:
        """Do one step of length dt.

        Args:
            force_field: Exact or learned force field.
            state: The state, which is not changed.
            out: A state whose tensors receive the new one (`state.workspace()`, or a state that is
                no longer needed). A step with it allocates no memory and gives the same numbers.

        Returns:
            The new state, with the forces at its field.
        """


def evaluate(
    force_field: ForceField, field: Tensor, out: Tensor | None = None
) -> tuple[Tensor | None, Tensor]:
    """Compute energy and forces, detached: an autograd graph would grow from step to step.

    Args:
        force_field: Exact or learned force field.
        field: Field, [n_replicas, *field_shape].
        out: Tensor like the field. An `InPlaceForceField` writes its forces there; others ignore
            it.

    Returns:
        Energy of each replica or None, and the forces in the dtype of the field.

    Raises:
        InputError: If the forces are not shaped like the field.
    """
    if out is not None and getattr(force_field, "writes_in_place", False):
        energy, forces = cast(InPlaceForceField, force_field)(field, out=out)
    else:
        energy, forces = force_field(field)
    if forces.shape != field.shape:
        shape, got = tuple(field.shape), tuple(forces.shape)
        raise InputError(
            f"forces must have the field's shape {shape}, got {got}. Correct the force field."
        )
    forces = forces if forces is out else forces.detach().to(field.dtype)
    return None if energy is None else energy.detach(), forces


def check_spins(shape: Sequence[int]) -> None:
    """Refuse a field that cannot hold classical spins, three components per site.

    Args:
        shape: Shape of the field, with the axis of replicas.

    Raises:
        InputError: If the shape is not (n_replicas, n_sites, 3).
    """
    if len(shape) != 3 or shape[-1] != 3:
        raise InputError(
            f"the field must be spins [n_sites, 3], got {list(shape[1:])}. Use a model of spins, "
            "or an integrator and an initial state for other fields."
        )


def _in_words(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {tensor.dtype} on {tensor.device}"


def _check_like_field(name: str, tensor: Tensor, field: Tensor) -> None:
    """Refuse a tensor that is not like the field of its state."""
    one, other = field, tensor
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        raise InputError(
            f"{name} must be like the field, {_in_words(field)}, got {_in_words(tensor)}. "
            "Use torch.zeros_like(field)."
        )
