"""Sources of independent random fields and spins."""

from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int

from lattgnn.data.sources import LabeledFields, Source
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField


@dataclass(frozen=True)
class RandomSamples(Source):
    """Independent random fields, labeled in batches.

    Args:
        split: See `Source`.
        n_samples: Number of fields.
        block_size: Number of fields per task.
    """

    n_samples: int = 700
    block_size: int = 50

    @property
    def n_tasks(self) -> int:
        """Number of batches."""
        return -(-self.n_samples // self.block_size)  # rounded up

    def n_frames_of(self, task: int) -> int:
        """Fields in the batch; the last one may be smaller."""
        return min(self.block_size, self.n_samples - task * self.block_size)

    @abstractmethod
    def draw(self, samples: Int[np.ndarray, " n"], exact: ExactForceField, seed: int) -> np.ndarray:
        """The fields with these sample numbers, [n, *exact.field_shape]."""

    def label(self, exact: ExactForceField, task: int, seed: int) -> LabeledFields:
        """Draw and label one batch of fields."""
        samples = task * self.block_size + np.arange(self.n_frames_of(task))
        field = self.draw(samples, exact, seed)
        energy, forces = exact.electronic(torch.from_numpy(field))
        return LabeledFields(field, forces.numpy(), energy.numpy(), np.full(len(samples), -1))


@dataclass(frozen=True)
class RandomFields(RandomSamples):
    """Uncorrelated fields: every component on every site is drawn from N(0, variance).

    Args:
        split: See `Source`.
        n_samples: Number of fields.
        block_size: Number of fields per task.
        variances: Variance of the field, in units of the field squared. Sample k takes
            `variances[k % len(variances)]`, so several values make a mixture of scales. The default
            is the start of the papers' quench.

    Raises:
        InputError: If there is no variance or one is negative.

    Reference:
        arXiv 2601.04104: Q ~ N(0, 5/0.18) at the start of a quench.
    """

    variances: tuple[float, ...] = (5 / 0.18,)

    def __post_init__(self) -> None:
        super().__post_init__()
        # A YAML file gives a list of numbers; the frozen source must be hashable.
        object.__setattr__(self, "variances", tuple(float(v) for v in self.variances))
        if not self.variances or min(self.variances) < 0:
            raise InputError(f"variances must be one or more numbers >= 0, got {self.variances!r}.")

    def draw(self, samples: Int[np.ndarray, " n"], exact: ExactForceField, seed: int) -> np.ndarray:
        """Gaussian fields; the variances take turns."""
        std = np.sqrt(self.variances)[samples % len(self.variances)]
        generator = np.random.Generator(np.random.PCG64(seed))
        noise = generator.standard_normal((len(samples), *exact.field_shape))
        return noise * std.reshape(-1, *[1] * len(exact.field_shape))


@dataclass(frozen=True)
class RandomSpins(RandomSamples):
    """Uncorrelated spins, by default uniform on the sphere: infinite temperature.

    Args:
        split: See `Source`.
        n_samples: Number of configurations.
        block_size: Number of configurations per task.
        uniform_angles: Whether to draw the polar angle θ uniformly from [0, π] and the azimuth from
            [0, 2π). There are then more spins near the z axis than on the sphere: the mean square
            of S_z is 1/2 instead of 1/3. The snapshots published with ecnn4klm are of this kind.
    """

    uniform_angles: bool = field(default=False, metadata={"describe": "changed"})

    makes_spins = True

    def draw(self, samples: Int[np.ndarray, " n"], exact: ExactForceField, seed: int) -> np.ndarray:
        """Normalized Gaussian vectors, which are uniform on the sphere, or uniform angles."""
        generator = np.random.Generator(np.random.PCG64(seed))
        if self.uniform_angles:
            shape = (len(samples), exact.field_shape[0])
            theta = generator.uniform(0.0, np.pi, shape)
            phi = generator.uniform(0.0, 2 * np.pi, shape)
            across = np.sin(theta)
            return np.stack([across * np.cos(phi), across * np.sin(phi), np.cos(theta)], axis=-1)
        vectors = generator.standard_normal((len(samples), *exact.field_shape))
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
