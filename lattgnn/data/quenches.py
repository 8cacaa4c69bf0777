"""Sources of labeled trajectories: exact dynamics after a quench, by any integrator.

Symbols: field Q, spin S with |S| = 1, mass m, momentum p = m v, temperature kT of the field. The
electrons have a temperature of their own, in the solver. Units t = a = k_B = ħ = 1.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lattgnn.data.sources import LabeledFields, Source
from lattgnn.dynamics import (
    ForceField,
    HeunLLG,
    Integrator,
    LogSpaced,
    State,
    VerletLangevin,
    initial_spins,
    initial_state,
)
from lattgnn.dynamics.runaway import FIELD_LIMIT, RunawayFieldError, check_values
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.serialize import describe


@dataclass(frozen=True)
class Trajectories(Source):
    """Exact dynamics from a random start. The exact force of each step is the label of its field.

    Args:
        split: See `Source`.
        n_trajectories: Independent trajectories, one task each.
        n_steps: Time steps of a trajectory.
        n_frames: Frames to keep, log-spaced in time from step 0 to `n_steps`, no step twice.
        integrator: What a step is; None takes `standard_integrator`.

    Raises:
        InputError: If there are too many frames or the integrator moves another kind of field.
    """

    n_trajectories: int = 8
    n_steps: int = 2000
    n_frames: int = 135
    integrator: Integrator | None = None

    standard_integrator: ClassVar[Integrator]
    """The integrator of the papers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.n_frames <= self.n_steps + 1:
            raise InputError(
                f"n_frames must be between 2 and n_steps + 1 = {self.n_steps + 1}, got "
                f"{self.n_frames!r}. Use fewer frames or more steps."
            )
        if self.integrator is None:
            object.__setattr__(self, "integrator", self.standard_integrator)
        if self.stepper.moves_spins != self.makes_spins:
            raise InputError(
                f"integrator must move the field of {type(self).__name__}, got "
                f"{type(self.stepper).__name__}. Use {type(self.standard_integrator).__name__}."
            )

    @property
    def stepper(self) -> Integrator:
        """The integrator, given or standard."""
        return self.integrator or self.standard_integrator

    @property
    def n_tasks(self) -> int:
        """Number of trajectories."""
        return self.n_trajectories

    @property
    def steps(self) -> Int[np.ndarray, " n_frames"]:
        """Steps of the frames, from 0 to `n_steps`."""
        return LogSpaced(self.n_frames).steps(self.n_steps)

    def n_frames_of(self, task: int) -> int:
        """The same number for every trajectory."""
        return len(self.steps)

    def n_solves(self, task: int) -> int:
        """The exact solutions of every step, and one at the start."""
        return self.n_steps * self.stepper.n_evaluations + 1

    @abstractmethod
    def start(self, force_field: ForceField, seed: int) -> State:
        """The first state."""

    def label(self, exact: ExactForceField, task: int, seed: int) -> LabeledFields:
        """Run one trajectory and keep the labels of its frames.

        Raises:
            RunawayFieldError: If the field or the forces run away, as in `simulate`.
        """
        try:
            return self._run(_Recorder(exact), seed)
        except RunawayFieldError as error:
            quantity = f"{error.quantity} of {self.split} trajectory {task}"
            where = error.step, error.replica, error.site
            raise RunawayFieldError(quantity, *where, error.value, error.limit) from None

    def _run(self, force_field: "_Recorder", seed: int) -> LabeledFields:
        """The labels of the frames of one trajectory."""
        state = self.start(force_field, seed)
        kept = []
        for last in self.steps:
            while state.step < last:
                force_field.step = state.step + 1
                state = self.stepper.step(force_field, state)
            kept.append(force_field.frame(state))
        return LabeledFields.join(kept)


@dataclass(frozen=True)
class Quench(Trajectories):
    """Exact dynamics after a quench: a random start relaxes at the temperature of the integrator.

    Args:
        split: See `Source`.
        n_trajectories: Independent trajectories, one task each.
        n_steps: Time steps of a trajectory.
        n_frames: Frames to keep, log-spaced in time from step 0 to `n_steps`, no step twice.
        integrator: What a step is. The default is that of the papers,
            `VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)`, which needs one exact force per
            step.
        field_variance: Variance of each component of the field at the start.
        velocity_variance: Variance of each component of the velocity p/m at the start; the papers
            have 5/m = 1. Only integrators with a mass use it.

    Raises:
        InputError: If a variance is negative; see also `Trajectories`.

    Reference:
        arXiv 2601.04104: g = 3.5, m = 5, gamma = 0.2, dt = 0.05, kT = 0.1.
    """

    field_variance: float = 5 / 0.18
    velocity_variance: float = 1.0

    standard_integrator = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("field_variance", "velocity_variance"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"{name} must be >= 0, got {getattr(self, name)!r}. Use 0 to switch it off."
                )

    def start(self, force_field: ForceField, seed: int) -> State:
        """Gaussian fields and velocities."""
        mass = getattr(self.stepper, "mass", 0.0)  # overdamped dynamics has no momentum
        momentum_std = mass * self.velocity_variance**0.5
        return initial_state(force_field, seed, 1, self.field_variance**0.5, momentum_std)


@dataclass(frozen=True)
class SpinQuench(Trajectories):
    """Exact dynamics after a quench from infinite temperature: random spins relax.

    Args:
        split: See `Source`.
        n_trajectories: Independent trajectories, one task each.
        n_steps: Time steps of a trajectory.
        n_frames: Frames to keep, log-spaced in time from step 0 to `n_steps`, no step twice.
        integrator: What a step is. The default is `HeunLLG(dt=0.1, kT=0.01, alpha=0.1)`, which
            needs two exact effective fields per step; that of the final spins is the label.

    Raises:
        InputError: See `Trajectories`.
    """

    makes_spins = True
    standard_integrator = HeunLLG(dt=0.1, kT=0.01, alpha=0.1)

    def start(self, force_field: ForceField, seed: int) -> State:
        """Spins uniform on the sphere."""
        return initial_spins(force_field, seed)


def source_identity(source: Source) -> dict[str, Any]:
    """What identifies a source in the name of a dataset.

    It is the description of the source, except that the arguments of its standard kind of
    integrator are listed beside the source's own. Datasets were named this way before the
    integrator could be chosen, and they keep their names.
    """
    found = describe(source)
    if isinstance(source, Trajectories) and type(source.stepper) is type(
        source.standard_integrator
    ):
        integrator = found["init_args"].pop("integrator")
        found["init_args"] |= integrator["init_args"]
    return found


class _Recorder:
    """The exact force field, which remembers the electronic part of its last answer as a label.

    It refuses fields and forces that run away, before they become labels.
    """

    def __init__(self, exact: ExactForceField) -> None:
        self.exact = exact
        self.step = 0
        self.lattice, self.field_shape = exact.lattice, exact.field_shape

    def __call__(self, field: Tensor) -> tuple[Tensor, Tensor]:
        check_values(self.step, FIELD_LIMIT, field=field)
        self.field = field
        self.energy, self.forces = self.exact.electronic(field)
        model = self.exact.hamiltonian
        energy = self.energy + model.classical_energy(field)
        forces = self.forces + model.classical_forces(field)
        check_values(self.step, FIELD_LIMIT, forces=forces)
        return energy, forces

    def frame(self, state: State) -> LabeledFields:
        """The label of a state, whose field must be the last one that was evaluated."""
        same = state.field is self.field or torch.equal(state.field, self.field)
        assert same, "the integrator must end a step with the force at its new field"
        # Copies, because an integrator may overwrite its tensors in the next step.
        field, forces, energy = (
            x.cpu().numpy().copy() for x in (self.field, self.forces, self.energy)
        )
        return LabeledFields(field, forces, energy, np.array([state.step]))
