"""Kinetic temperature of the momenta, and when it has reached that of the bath."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Array = np.ndarray
# The kinetic temperature counts as that of the bath within this number of sampling errors, or
# within this fraction of it, because a finite time step shifts it by O(dt²).
SIGMAS, TOLERANCE = 3.0, 0.02


@dataclass(frozen=True, eq=False)
class Thermalization:
    """The kinetic temperature along a run.

    Attributes:
        temperature: Kinetic temperature [frame, replica, component], in units of the hopping.
        sampling_error: Standard error of the mean over replicas [frame, component] that
            independent Gaussian momenta would have.
        mean: Mean of each component over frames in the last half of the time, and replicas.
        error: Its standard error, see `thermalization`.
        bath: Temperature of the bath for each frame and component; NaN without a bath.
        time: First saved time from which on the temperature is that of the bath; NaN if there is
            none.
    """

    temperature: Float[Array, "n_frames n_replicas n_components"]
    sampling_error: Float[Array, "n_frames n_components"]
    mean: Float[Array, "n_components"]
    error: Float[Array, "n_components"]
    bath: Float[Array, "n_frames n_components"]
    time: float


def kinetic_temperature(
    momentum: Float[Array, "n_components *batch n_sites"], mass: float | Sequence[float]
) -> Float[Array, "*batch n_components"]:
    """Kinetic temperature T = ⟨p²⟩ / m of each component (k_B = 1), the mean being over sites.

    In equilibrium at temperature T every component of every momentum has the variance m T, however
    strong the interactions are.

    Args:
        momentum: Momenta, components first.
        mass: Mass per site, one for all components or one for each.

    Returns:
        The temperature, in units of the hopping.

    Example:
        >>> momentum = np.array([[1.0, -1.0, 1.0, 1.0]])
        >>> print(kinetic_temperature(momentum, mass=5.0))
        [0.2]
    """
    squares = np.square(momentum, dtype=np.float64).mean(axis=-1)
    masses = np.broadcast_to(np.asarray(mass, dtype=np.float64), len(momentum))
    return np.moveaxis(squares, 0, -1) / masses


def thermalization(
    times: Float[Array, "n_frames"],
    temperature: Float[Array, "n_frames n_replicas n_components"],
    n_sites: int,
    bath: Float[Array, "n_frames n_components"] | None = None,
) -> Thermalization:
    """Compare the kinetic temperature with that of the bath.

    N independent Gaussian momenta in each of n replicas give the sampling error T √(2 / (N n)) of
    one frame. The system counts as thermalized from the first frame on after which, in every
    component, T differs from the bath by at most 3 sampling errors or 2 %, to the end of the run. A
    single frame does not count.

    The error of the mean over frames is the standard error over replicas of the means over frames,
    if there are at least three replicas. Otherwise it is the sampling error of one frame, as if the
    frames were the same; this is an upper bound.

    Args:
        times: Time of each frame.
        temperature: Kinetic temperature of each frame, replica and component.
        n_sites: Number of sites.
        bath: Temperature of the bath for each frame and component. None without a bath.

    Returns:
        The comparison.

    Example:
        >>> times = np.arange(5.0)
        >>> temperature = np.array([1.0, 0.3, 0.11, 0.1, 0.1])[:, None, None]
        >>> found = thermalization(times, temperature, n_sites=20_000, bath=np.full((5, 1), 0.1))
        >>> print(found.time, found.mean, found.error)
        3.0 [0.10333333] [0.00103333]
    """
    n_replicas = temperature.shape[1]
    average = temperature.mean(axis=1)
    sampling = average * np.sqrt(2 / (n_sites * n_replicas))
    late = times >= times[-1] / 2
    means = temperature[late].mean(axis=0)
    mean = means.mean(axis=0)
    if n_replicas >= 3:
        error = means.std(axis=0, ddof=1) / np.sqrt(n_replicas)
    else:
        error = mean * np.sqrt(2 / (n_sites * n_replicas))
    wanted = np.full(average.shape, np.nan) if bath is None else bath
    allowed = np.maximum(SIGMAS * sampling, TOLERANCE * wanted)
    agrees = (np.abs(average - wanted) <= allowed).all(axis=1)  # False for NaN
    to_the_end = np.logical_and.accumulate(agrees[::-1])[::-1]
    # One frame agrees by chance or by the way it was made, and says nothing about thermalization.
    known = len(times) > 1 and to_the_end.any()
    time = float(times[np.argmax(to_the_end)]) if known else float("nan")
    return Thermalization(temperature, sampling, mean, error, wanted, time)
