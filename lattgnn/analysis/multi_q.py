"""Decomposition of a spin configuration into waves: single-Q, double-Q and triple-Q orders."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Shaped

from lattgnn.analysis.structure_factor import Wavevector, wavevectors
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, space_group

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class MultiQ:
    """The waves of one star: wavevectors that the point group maps to each other.

    Attributes:
        wavevectors: One of Q and −Q for each arm of the star, units 1/a.
        weights: Share of each arm, with −Q, in Σ_i |S_i|². Their sum is at most 1.
        uniform: Share of the mean spin m, |m|² / mean of |S_i|². It belongs to no arm, unless the
            star is q = 0.
        amplitudes: Fourier amplitudes (1/n_cells) Σ_R S_s(R) exp(−i Q·R) of each sublattice s.
    """

    wavevectors: Float[Array, "n_arms dim"]
    weights: Float[Array, "*batch n_arms"]
    uniform: Float[Array, "*batch"]
    amplitudes: Complex[Array, "*batch n_arms n_sublattices 3"]

    @property
    def n_q(self) -> Float[Array, "*batch"]:
        """Effective number of arms, (Σ w)²/Σ w²: 1 for single-Q, 3 for a triple-Q order."""
        square = np.square(self.weights).sum(axis=-1)
        whole = np.square(self.weights.sum(axis=-1))
        return np.asarray(whole / np.where(square > 0, square, 1.0))


def multi_q(
    spins: Shaped[Array, "*batch n_sites 3"], lattice: Lattice, wavevector: Wavevector | None = None
) -> MultiQ:
    """Decompose spins into the waves of one star.

    The weight of an arm is what the wavevectors near it hold, up to half of the way to the next arm
    and to q = 0. Domains and thermal fluctuations broaden the peaks, and remain within their arms.
    The mean spin is counted apart, so the star of a magnetized crystal is that of its waves. Only
    a ferromagnet has the star q = 0.

    Args:
        spins: The spins.
        lattice: The lattice, of any dimension.
        wavevector: A wavevector of the star, units 1/a. Default: the strongest one beside the mean
            spin, of all configurations together. It is q = 0 if the mean spin holds more than
            half of Σ_i |S_i|² and the strongest star less than half of the rest.

    Returns:
        The arms, the one nearest to the given or strongest wavevector first.

    Raises:
        InputError: If the spins do not fit the lattice.

    Example:
        The tetrahedral order is a triple-Q order with orthogonal amplitudes:

        >>> from lattgnn.lattice import triangular
        >>> lattice = triangular(6)
        >>> directions = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
        >>> x, y = lattice.cells.T % 2
        >>> found = multi_q(directions[2 * x + y], lattice)
        >>> print(found.weights.round(3), found.n_q.round(3))
        [0.333 0.333 0.333] 3.0
    """
    if np.shape(spins)[-2:] != (lattice.n_sites, 3):
        raise InputError(
            f"spins must have the shape [..., {lattice.n_sites}, 3] on this lattice, got "
            f"{list(np.shape(spins))}."
        )
    values = np.asarray(spins, dtype=np.float64)
    batch = values.shape[:-2]
    grid = values.reshape(*batch, *lattice.extent, lattice.n_sublattices, 3)
    axes = tuple(range(len(batch), len(batch) + lattice.dim))
    amplitude = np.fft.fftn(grid, axes=axes) / lattice.n_cells
    amplitude = amplitude.reshape(*batch, lattice.n_cells, lattice.n_sublattices, 3)
    power = np.square(np.abs(amplitude)).sum(axis=(-2, -1))
    # |S|² of the mean spin, in the unit of `power`.
    mean = lattice.n_sublattices * np.square(values.mean(axis=-2)).sum(axis=-1)
    if wavevector is None:
        wavevector = _strongest(lattice, power.reshape(-1, lattice.n_cells).sum(axis=0), mean.sum())
    arms, near = _star(lattice, np.asarray(wavevector, dtype=np.float64))
    # Σ_q power is the mean of |S|² summed over sublattices, which is n_sublattices.
    weights = np.stack([power[..., mask].sum(axis=-1) for mask in near], axis=-1)
    return MultiQ(
        wavevectors=wavevectors(lattice).reshape(-1, lattice.dim)[arms],
        weights=weights / lattice.n_sublattices,
        uniform=np.asarray(mean / lattice.n_sublattices),
        amplitudes=amplitude[..., arms, :, :],
    )


def _strongest(lattice: Lattice, power: Array, mean: float) -> Array:
    """The wavevector with the largest power beside the mean spin; zero for a ferromagnet."""
    rest = power.copy()
    rest[0] -= mean  # wavevectors begin with q = 0, which may also hold an order within the cell
    strongest = wavevectors(lattice).reshape(-1, lattice.dim)[rest.argmax()]
    distances = np.stack(list(_arms(lattice, strongest).values()))
    peaks = rest[(distances < 1e-9 / lattice.neighbor_distance).any(axis=0)].sum()
    # Beside the mean spin of a perfect ferromagnet, there are rounding errors only.
    negligible = peaks <= 0.5 * rest.sum() + 1e-12 * power.sum()
    if mean > 0.5 * power.sum() and negligible:
        return np.zeros(lattice.dim)
    return strongest


def _arms(lattice: Lattice, wavevector: Array) -> dict[int, Array]:
    """Arms of the star as indices of wavevectors, with the distance of each wavevector from ±Q."""
    found: dict[int, Array] = {}
    taken: set[int] = set()
    for operation in space_group(lattice.cell).operations:
        image = operation.cartesian @ wavevector
        # Q and −Q are one arm; distances are those to the nearest equivalent wavevector.
        one, other = (_distances(lattice, sign * image) for sign in (1, -1))
        arm, opposite = int(one.argmin()), int(other.argmin())
        if arm not in taken:
            found[arm] = np.minimum(one, other)
        taken |= {arm, opposite}
    return found


def _star(lattice: Lattice, wavevector: Array) -> tuple[list[int], list[Array]]:
    """Arms of the star as indices of wavevectors, and the wavevectors that belong to each."""
    found = _arms(lattice, wavevector)
    arms, distances = list(found), np.stack(list(found.values()))
    zero = _distances(lattice, np.zeros(lattice.dim))
    # How far each arm is from the others and from q = 0, which does not compete with itself.
    rivals = np.stack([*distances, zero])[:, arms]
    spacing = np.where(rivals > 1e-9 / lattice.neighbor_distance, rivals, np.inf).min()
    if not np.isfinite(spacing):  # q = 0 alone
        spacing = 0.0
    near = distances < 0.5 * spacing
    near[np.arange(len(arms)), arms] = True
    return arms, list(near)


def _distances(lattice: Lattice, center: Array) -> Array:
    """Distance of each wavevector from the nearest one equivalent to the center, flat."""
    return np.linalg.norm(wavevectors(lattice, center) - center, axis=-1).ravel()
