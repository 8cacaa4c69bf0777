"""Sources of labelled fields: what a dataset is made from.

A source is a frozen description, split into independent tasks: one trajectory, or one block of random
fields. `label` is a pure function of (source, task, seed), so it does not matter which process runs it.

Symbols: field Q, mass m, momentum p = m v, friction gamma, kT temperature of the lattice (the electrons
have their own, in the solver). Units t = a = k_B = hbar = 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.dynamics import ForceField, Integrator, LogSpaced, State, VerletLangevin, initial_state
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledFields:
    """Labelled fields, float64.

    Attributes:
        field: the classical field, `[n_frames, n_sites]` or `[n_frames, n_sites, n_components]`.
        forces: electronic force -d(electronic energy)/d(field), like `field` (no elastic part).
        energy: electronic energy of the whole lattice, NaN where it is not known.
        step: time step of the frame in its quench, -1 for a random field or an unknown time.
    """

    field: Float[np.ndarray, "n_frames n_sites *components"]
    forces: Float[np.ndarray, "n_frames n_sites *components"]
    energy: Float[np.ndarray, " n_frames"]
    step: Int[np.ndarray, " n_frames"]

    def __len__(self) -> int:
        return len(self.step)

    @classmethod
    def join(cls, parts: Sequence["LabelledFields"]) -> "LabelledFields":
        """Concatenate along the frames."""
        return cls(
            *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls))
        )


@dataclass(frozen=True)
class Source(ABC):
    """Where labelled fields come from; concrete sources are frozen dataclasses of plain numbers.

    Args:
        split: "train", "val" or "test". A source belongs to one split as a whole, so that neighbouring
            snapshots of one trajectory never end on both sides.
    """

    split: Split

    makes_spins: ClassVar[bool | None] = False
    """Whether it makes classical spins; None: whatever the model has."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError(f"split must be one of {SPLITS}, got {self.split!r}.")
        for name in (
            "n_samples",
            "block_size",
            "n_trajectories",
            "n_steps",
            "n_frames",
            "dt",
            "mass",
        ):
            if getattr(self, name, 1) <= 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)!r}.")

    @property
    @abstractmethod
    def n_tasks(self) -> int:
        """Number of independent pieces."""

    @abstractmethod
    def n_frames_of(self, task: int) -> int:
        """Number of frames that `label` returns for this task."""

    def n_solves(self, task: int) -> int:
        """Number of exact solutions that the task costs."""
        return self.n_frames_of(task)

    @abstractmethod
    def label(self, exact: ExactForceField, task: int, seed: int) -> LabelledFields:
        """Make the frames of one task; the same bits for the same arguments."""


@dataclass(frozen=True)
class Blocks(Source):
    """Independent random fields, labelled block by block.

    Args:
        split: see `Source`.
        n_samples: number of fields.
        block_size: samples a task.
    """

    n_samples: int = 700
    block_size: int = 50

    @property
    def n_tasks(self) -> int:
        """Number of blocks."""
        return -(-self.n_samples // self.block_size)

    def n_frames_of(self, task: int) -> int:
        """Samples in the block; the last one may be smaller."""
        return min(self.block_size, self.n_samples - task * self.block_size)

    @abstractmethod
    def draw(
        self, samples: Int[np.ndarray, " n"], field_shape: tuple[int, ...], seed: int
    ) -> np.ndarray:
        """The fields [n, *field_shape] of these samples."""

    def label(self, exact: ExactForceField, task: int, seed: int) -> LabelledFields:
        """Draw and label one block of fields."""
        samples = task * self.block_size + np.arange(self.n_frames_of(task))
        field = self.draw(samples, exact.field_shape, seed)
        energy, forces = exact.electronic(torch.from_numpy(field))
        return LabelledFields(field, forces.numpy(), energy.numpy(), np.full(len(samples), -1))


@dataclass(frozen=True)
class RandomFields(Blocks):
    """Uncorrelated fields, every component of every site independently N(0, variance).

    Args:
        split: see `Source`.
        n_samples: number of fields.
        block_size: samples a task.
        variances: variance of the field; sample k takes `variances[k % len(variances)]`, so several
            values make a mixture of scales. The default is the initial state of the papers' quench.

    Reference:
        arXiv 2601.04104: Q ~ N(0, 5/0.18) at the start of a quench.
    """

    variances: tuple[float, ...] = (5 / 0.18,)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "variances", tuple(float(v) for v in self.variances))
        if not self.variances or min(self.variances) < 0:
            raise InputError(f"variances must be one or more numbers >= 0, got {self.variances!r}.")

    def draw(
        self, samples: Int[np.ndarray, " n"], field_shape: tuple[int, ...], seed: int
    ) -> np.ndarray:
        """Gaussian fields, each of the variance that is its turn."""
        std = np.sqrt(self.variances)[samples % len(self.variances)]
        noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(
            (len(samples), *field_shape)
        )
        return noise * std.reshape(-1, *[1] * len(field_shape))


@dataclass(frozen=True)
class Trajectories(Source):
    """Exact dynamics from a random start: the field of each step, which the integrator asks for, is a label.

    Args:
        split: see `Source`.
        n_trajectories: independent trajectories, one task each.
        n_steps: time steps of a trajectory.
        n_frames: frames kept, log-spaced in time from step 0 to `n_steps`, no step twice.
    """

    n_trajectories: int = 8
    n_steps: int = 2000
    n_frames: int = 135

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.n_frames <= self.n_steps + 1:
            raise InputError(
                f"n_frames must be between 2 and n_steps + 1 = {self.n_steps + 1}, got {self.n_frames!r}. "
                "Use fewer frames or more steps."
            )

    @property
    def n_tasks(self) -> int:
        """Number of trajectories."""
        return self.n_trajectories

    @property
    def steps(self) -> Int[np.ndarray, " n_frames"]:
        """Steps of the frames, from 0 to `n_steps`."""
        return LogSpaced(self.n_frames).steps(self.n_steps)

    def n_frames_of(self, task: int) -> int:
        """The same for every trajectory."""
        return len(self.steps)

    def n_solves(self, task: int) -> int:
        """The exact solutions of every step, and one at the start."""
        return self.n_steps * self.integrator.n_evaluations + 1

    @property
    @abstractmethod
    def integrator(self) -> Integrator:
        """What a step is."""

    @abstractmethod
    def start(self, force_field: ForceField, seed: int) -> State:
        """The first state."""

    def label(self, exact: ExactForceField, task: int, seed: int) -> LabelledFields:
        """Run one trajectory and keep the labels of its frames."""
        force_field, integrator = _Recorder(exact), self.integrator
        state = self.start(force_field, seed)
        kept = [force_field.frame(state)]
        for last in self.steps[1:]:
            while state.step < last:
                state = integrator.step(force_field, state)
            kept.append(force_field.frame(state))
        return LabelledFields.join(kept)


@dataclass(frozen=True)
class Quench(Trajectories):
    """Exact Langevin dynamics after a quench: a random start relaxes at temperature kT.

    The integrator is the papers' splitting: velocity Verlet, then v <- a v + sqrt((1 - a^2) kT/m) xi with
    a = exp(-gamma dt). It asks for one exact force a step, and that force is the label of the frame.

    Args:
        split: see `Source`.
        n_trajectories: independent trajectories, one task each.
        n_steps: time steps of a trajectory.
        n_frames: frames kept, log-spaced in time from step 0 to `n_steps`, no step twice.
        dt: time step.
        kT: temperature of the lattice.
        gamma: friction; 0 conserves the energy.
        mass: mass of a site.
        field_variance: variance of each component of the field at the start.
        velocity_variance: variance of the velocity v = p/m at the start; the papers have 5/m = 1.

    Reference:
        arXiv 2601.04104: g = 3.5, m = 5, gamma = 0.2, dt = 0.05, kT = 0.1.
    """

    dt: float = 0.05
    kT: float = 0.1
    gamma: float = 0.2
    mass: float = 5.0
    field_variance: float = 5 / 0.18
    velocity_variance: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("kT", "gamma", "field_variance", "velocity_variance"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"{name} must be >= 0, got {getattr(self, name)!r}. Use 0 to switch it off."
                )

    @property
    def integrator(self) -> Integrator:
        """The papers' splitting."""
        return VerletLangevin(self.dt, self.kT, self.gamma, self.mass)

    def start(self, force_field: ForceField, seed: int) -> State:
        """Gaussian fields and velocities."""
        momentum_std = self.mass * self.velocity_variance**0.5
        return initial_state(force_field, seed, 1, self.field_variance**0.5, momentum_std)


class _Recorder:
    """The exact force field, remembering the electronic part of its last answer: the label of that field."""

    def __init__(self, exact: ExactForceField) -> None:
        self.exact = exact
        self.lattice, self.field_shape = exact.lattice, exact.field_shape

    def __call__(self, field: Tensor) -> tuple[Tensor, Tensor]:
        self.field = field
        self.energy, self.forces = self.exact.electronic(field)
        model = self.exact.hamiltonian
        return self.energy + model.classical_energy(field), self.forces + model.classical_forces(
            field
        )

    def frame(self, state: State) -> LabelledFields:
        assert state.field is self.field or torch.equal(state.field, self.field), (
            "the last force is another field's"
        )
        field, forces, energy = (
            x.cpu().numpy().copy() for x in (self.field, self.forces, self.energy)
        )
        return LabelledFields(field, forces, energy, np.array([state.step]))
