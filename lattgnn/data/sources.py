"""What a dataset is made from: sources of labeled fields.

A source is a frozen description that is split into independent tasks: one trajectory, or one batch
of random fields. `label` is a pure function of (source, task, seed), so it does not matter which
process runs it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Hamiltonian

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class LabeledFields:
    """Labeled fields, float64.

    Attributes:
        field: Classical field, [n_frames, n_sites] or [n_frames, n_sites, n_components].
        forces: Electronic force −∂E_electronic/∂field without the elastic part, shaped like field.
        energy: Electronic energy of the whole lattice, [n_frames]; NaN where it is not known.
        step: Time step of the frame in its quench, [n_frames]; −1 if it is random or unknown.
    """

    field: Float[np.ndarray, "n_frames n_sites *components"]
    forces: Float[np.ndarray, "n_frames n_sites *components"]
    energy: Float[np.ndarray, " n_frames"]
    step: Int[np.ndarray, " n_frames"]

    def __len__(self) -> int:
        return len(self.step)

    @classmethod
    def join(cls, parts: Sequence["LabeledFields"]) -> "LabeledFields":
        """Concatenate along the frames."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def check_finite(self, name: str) -> None:
        """Refuse labels that are not numbers. All energies may be NaN, if they are not known.

        Args:
            name: What these labels are, for the message.

        Raises:
            InputError: If a field, a force or an energy is NaN or infinite.
        """
        for quantity in ("field", "forces", "energy"):
            values = getattr(self, quantity)
            if quantity == "energy" and np.isnan(values).all():
                continue
            bad = ~np.isfinite(values.reshape(len(self), -1)).all(axis=1)
            if bad.any():
                raise InputError(
                    f"labels must be finite numbers, but {name} has others in {quantity} of sample "
                    f"{int(bad.argmax())}. Check the model with `lattgnn check`, or the strength "
                    "of the fields."
                )


@dataclass(frozen=True)
class Source(ABC):
    """Where labeled fields come from. Concrete sources are frozen dataclasses of plain values.

    Args:
        split: "train", "val" or "test". A source belongs to one split as a whole, so that
            neighboring snapshots of one trajectory never end up on both sides.

    Raises:
        InputError: If the split has another name or a count is not positive.
    """

    split: Split

    makes_spins: ClassVar[bool | None] = False
    """Whether the fields are classical spins; None if they are whatever field the model has."""

    computes_labels: ClassVar[bool] = True
    """Whether the exact solver makes the labels; False if they are read from elsewhere."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError(f"split must be one of {SPLITS}, got {self.split!r}.")
        for name in ("n_samples", "block_size", "n_trajectories", "n_steps", "n_frames"):
            if getattr(self, name, 1) <= 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)!r}.")

    def check(self, model: Hamiltonian) -> None:
        """Refuse a model with another kind of field than this source; called before any label.

        Args:
            model: The Hamiltonian of the dataset.

        Raises:
            InputError: If the source does not fit the model.
        """
        if self.makes_spins not in (None, model.field_type.is_spin):
            use = "RandomSpins, SpinQuench" if model.field_type.is_spin else "RandomFields, Quench"
            raise InputError(
                f"sources must make fields of {type(model).__name__}, got {type(self).__name__}. "
                f"Use {use}."
            )

    @property
    @abstractmethod
    def n_tasks(self) -> int:
        """Number of independent tasks."""

    @abstractmethod
    def n_frames_of(self, task: int) -> int:
        """Number of frames that `label` returns for this task."""

    def n_solves(self, task: int) -> int:
        """Number of exact solutions that the task costs."""
        return self.n_frames_of(task)

    @abstractmethod
    def label(self, exact: ExactForceField, task: int, seed: int) -> LabeledFields:
        """Make the frames of one task. Equal arguments give equal bits.

        Args:
            exact: The exact force field that makes the labels.
            task: Number of the task, 0 <= task < n_tasks.
            seed: Seed of this task.
        """
