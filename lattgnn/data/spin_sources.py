"""Sources of labelled spins: random ones, and quenches by Landau–Lifshitz–Gilbert dynamics.

Symbols: spin S with |S| = 1, damping alpha, kT temperature of the spins (the electrons have their own, in the
solver). Units t = a = k_B = hbar = 1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lattgnn.data.sources import Blocks, Trajectories
from lattgnn.dynamics import ForceField, HeunLLG, Integrator, State, initial_spins


@dataclass(frozen=True)
class RandomSpins(Blocks):
    """Uncorrelated spins, uniform on the sphere: T = ∞.

    Args:
        split: see `Source`.
        n_samples: number of configurations.
        block_size: samples a task.
    """

    makes_spins = True

    def draw(
        self, samples: Int[np.ndarray, " n"], field_shape: tuple[int, ...], seed: int
    ) -> np.ndarray:
        """Normalised Gaussian vectors."""
        vectors = np.random.Generator(np.random.PCG64(seed)).standard_normal(
            (len(samples), *field_shape)
        )
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@dataclass(frozen=True)
class SpinQuench(Trajectories):
    """Exact dynamics after a quench from T = ∞: random spins relax at temperature kT by `HeunLLG`.

    It asks for two exact fields a step; the one at the spins that a step arrives at is the label.

    Args:
        split: see `Source`.
        n_trajectories: independent trajectories, one task each.
        n_steps: time steps of a trajectory.
        n_frames: frames kept, log-spaced in time from step 0 to `n_steps`, no step twice.
        dt: time step.
        kT: temperature of the spins.
        alpha: Gilbert damping.
    """

    dt: float = 0.1
    kT: float = 0.01
    alpha: float = 0.1

    makes_spins = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.integrator  # which refuses what makes no dynamics

    @property
    def integrator(self) -> Integrator:
        """Heun's method by rotations."""
        return HeunLLG(self.dt, self.kT, self.alpha)

    def start(self, force_field: ForceField, seed: int) -> State:
        """Spins uniform on the sphere."""
        return initial_spins(force_field, seed)
