"""Sources of spins: thermal equilibrium, and perfect magnetic orders with noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from lattgnn.data.quenches import Trajectories
from lattgnn.data.random_fields import RandomSamples
from lattgnn.dynamics import ForceField, OverdampedSpins, State, initial_spins
from lattgnn.errors import InputError, check_number
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.spin_orders import SpinOrder


@dataclass(frozen=True)
class ThermalSpins(Trajectories):
    """Spins in thermal equilibrium, drawn along exact trajectories after they have thermalized.

    Each trajectory starts from random spins. Its first `n_equilibration` steps are left out, and
    the frames are spread evenly over the others.

    Args:
        split: See `Source`.
        n_trajectories: Independent trajectories, one task each.
        n_steps: Time steps of a trajectory.
        n_frames: Frames to keep, no step twice.
        integrator: What a step is; its kT is the temperature of the spins. The default is
            `OverdampedSpins(dt=0.1, kT=0.05)`, which reaches equilibrium in the fewest steps. Its
            error of thermal averages is below 1 % while dt kT is below about 0.15.
        n_equilibration: Steps before the first frame.

    Raises:
        InputError: If there are more frames than steps after n_equilibration; see also
            `Trajectories`.
    """

    n_equilibration: int = 500

    makes_spins = True
    standard_integrator = OverdampedSpins(dt=0.1, kT=0.05)

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.n_steps - self.n_frames + 1
        if not 0 <= self.n_equilibration <= most:
            raise InputError(
                f"n_equilibration must be between 0 and n_steps - n_frames + 1 = {most}, got "
                f"{self.n_equilibration!r}. Use more steps."
            )

    @property
    def steps(self) -> Int[np.ndarray, " n_frames"]:
        """Steps of the frames, from `n_equilibration` to `n_steps`."""
        steps = np.linspace(self.n_equilibration, self.n_steps, self.n_frames)
        return steps.round().astype(np.int64)

    def start(self, force_field: ForceField, seed: int) -> State:
        """Spins uniform on the sphere."""
        return initial_spins(force_field, seed)


@dataclass(frozen=True)
class PerturbedOrders(RandomSamples):
    """Perfect magnetic orders with noise, so that a network knows ordered states.

        S_i = R (S_i⁰ + strength ξ_i), normalized

    with a rotation R of all spins and standard normal vectors ξ_i. Samples take the orders in turn,
    then the strengths.

    Args:
        split: See `Source`.
        orders: Orders of `lattgnn.spin_orders` that fit on the lattice of the dataset.
        n_samples: Number of configurations.
        block_size: Number of configurations per task.
        strengths: Standard deviations of the noise of each spin component; 0 keeps the order
            perfect.
        rotates: Whether R is a random rotation, uniform over all, or none. Without spin–orbit
            coupling no orientation is special.

    Raises:
        InputError: If there is no order or no strength, or a strength is negative.
    """

    orders: Sequence[SpinOrder] = ()
    strengths: tuple[float, ...] = (0.03, 0.1, 0.3)
    rotates: bool = True

    makes_spins = True

    def __post_init__(self) -> None:
        super().__post_init__()
        # A YAML file gives lists; the frozen source must be hashable.
        object.__setattr__(self, "orders", tuple(self.orders))
        object.__setattr__(self, "strengths", tuple(float(x) for x in self.strengths))
        if not self.orders or not self.strengths:
            raise InputError("orders and strengths must hold at least one each, got none.")
        for strength in self.strengths:
            check_number("strengths", strength, 0)

    def check(self, model: Hamiltonian) -> None:
        """Refuse other fields than spins, and orders that do not fit on the lattice.

        Args:
            model: The Hamiltonian of the dataset.

        Raises:
            InputError: If the model has no spins, or an order does not fit.
        """
        super().check(model)
        for order in self.orders:
            order.spins(model.lattice)

    def draw(
        self, samples: Int[np.ndarray, " n"], exact: ExactForceField, seed: int
    ) -> Float[np.ndarray, "n n_sites 3"]:
        """Orders with noise; orders and strengths take turns."""
        generator = np.random.Generator(np.random.PCG64(seed))
        perfect = np.stack([order.spins(exact.lattice) for order in self.orders])
        turn, which = np.divmod(samples, len(self.orders))
        strengths = np.array(self.strengths)[turn % len(self.strengths)]
        spins = perfect[which]
        spins = spins + strengths[:, None, None] * generator.standard_normal(spins.shape)
        if self.rotates:
            # The direction of a Gaussian vector in four dimensions is a uniform rotation.
            rotations = Rotation.from_quat(generator.standard_normal((len(spins), 4)))
            matrices = rotations.as_matrix()
            spins = spins @ matrices.swapaxes(-1, -2)
        return spins / np.linalg.norm(spins, axis=-1, keepdims=True)
