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
        amplitudes: Fourier amplitudes (1/n_cells) Σ_R S_s(R) exp(−i Q·R) of each sublattice s.
    """

    wavevectors: Float[Array, "n_arms dim"]
    weights: Float[Array, "*batch n_arms"]
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

    Args:
        spins: The spins.
        lattice: The lattice, of any dimension.
        wavevector: A wavevector of the star, units 1/a. Default: the strongest one, of all
            configurations together.

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
    if wavevector is None:
        strongest = power.reshape(-1, lattice.n_cells).sum(axis=0).argmax()
        wavevector = wavevectors(lattice).reshape(-1, lattice.dim)[strongest]
    arms, near = _star(lattice, np.asarray(wavevector, dtype=np.float64))
    # Σ_q power is the mean of |S|² summed over sublattices, which is n_sublattices.
    weights = np.stack([power[..., mask].sum(axis=-1) for mask in near], axis=-1)
    return MultiQ(
        wavevectors=wavevectors(lattice).reshape(-1, lattice.dim)[arms],
        weights=weights / lattice.n_sublattices,
        amplitudes=amplitude[..., arms, :, :],
    )


def _star(lattice: Lattice, wavevector: Array) -> tuple[list[int], list[Array]]:
    """Arms of the star as indices of wavevectors, and the wavevectors that belong to each."""
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
    arms, distances = list(found), np.stack(list(found.values()))
    zero = _distances(lattice, np.zeros(lattice.dim))
    # How far each arm is from the others and from q = 0, which is no competitor of itself.
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
