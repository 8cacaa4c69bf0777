"""Structure factor S(q) = |Σ_i φ_i exp(−i q·r_i)|² / N on the wavevectors that fit the lattice.

A perfect checkerboard of ±1 on the square lattice has S(π, π) = N and zero elsewhere. Parseval on a
Bravais lattice: Σ_q S(q) = Σ_i φ_i². With a basis, S(q) is not periodic in the reciprocal lattice,
so one zone does not contain the whole sum; the zone around `center` is used.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Float, Shaped

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

Wavevector = Sequence[float] | Float[np.ndarray, "dim"]


def structure_factor(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice, center: Wavevector | None = None
) -> Float[np.ndarray, "*batch_and_extent"]:
    """Structure factor S(q) = |Σ_i φ_i exp(−i q·r_i)|² / N by FFT, with the phases of the basis.

    Args:
        field: The classical field, one scalar per site. No mean is subtracted.
        lattice: The lattice of the field. With open boundaries, the sum is over the existing
            sites.
        center: Wavevector in the middle of the zone, units 1/a. Default: the origin. It matters
            only for a lattice with a basis.

    Returns:
        S of shape [*batch, *extent] in the order of `wavevectors(lattice, center)`, units of
        field².

    Example:
        A checkerboard on 16 sites has all its weight at (π, π).

        >>> from lattgnn.lattice import square
        >>> lattice = square(4)
        >>> S = structure_factor(lattice.bipartite_signs, lattice)
        >>> print(f"{S[2, 2]:.3f}, {S.sum():.3f}", np.abs(wavevectors(lattice)[2, 2]).round(3))
        16.000, 16.000 [3.142 3.142]
    """
    field = np.asarray(field)
    axes = tuple(range(-lattice.dim - 1, -1))
    grid = field.reshape(*field.shape[:-1], *lattice.extent, lattice.n_sublattices)
    amplitude = np.fft.fftn(grid, axes=axes)
    if lattice.n_sublattices > 1:
        # Σ_cells exp(−i q·R) repeats from zone to zone, the position within the cell does not.
        offsets = lattice.positions[: lattice.n_sublattices] - lattice.positions[0]
        amplitude = amplitude * np.exp(-1j * (wavevectors(lattice, center) @ offsets.T))
    return np.abs(amplitude.sum(axis=-1)) ** 2 / lattice.n_sites


def wavevectors(
    lattice: Lattice, center: Wavevector | None = None
) -> Float[np.ndarray, "*extent_and_dim"]:
    """Wavevectors q = Σ_a (n_a / L_a) b_a that fit the lattice, in the zone around `center`.

    Args:
        lattice: The lattice, with extents L_a and reciprocal vectors b_a (a_a·b_c = 2π δ_ac).
        center: Wavevector in the middle of the zone, units 1/a. Default: the origin.

    Returns:
        Array [*extent, dim], units 1/a, in FFT order.
    """
    return _wavevectors(
        lattice, tuple(float(x) for x in center) if center is not None else (0.0,) * lattice.dim
    )


@lru_cache(maxsize=32)
def _wavevectors(
    lattice: Lattice, center: tuple[float, ...]
) -> Float[np.ndarray, "*extent_and_dim"]:
    reciprocal = (
        2 * np.pi * np.linalg.inv(np.asarray(lattice.primitive_vectors, dtype=np.float64)).T
    )
    fractions = np.stack(
        np.meshgrid(*(np.arange(n) / n for n in lattice.extent), indexing="ij"), axis=-1
    )
    middle = np.linalg.solve(reciprocal.T, np.asarray(center))
    # First into the parallelepiped around the center, then to the nearest of the neighboring
    # images. The small margin keeps the first of several images at equal distance.
    q = (fractions - np.round(fractions - middle)) @ reciprocal
    best = q.copy()
    for shift in product((-1, 0, 1), repeat=lattice.dim):
        image = q + np.asarray(shift) @ reciprocal
        closer = (
            np.linalg.norm(image - center, axis=-1) < np.linalg.norm(best - center, axis=-1) - 1e-9
        )
        best[closer] = image[closer]
    best.flags.writeable = False
    return best


def checkerboard_wavevector(lattice: Lattice) -> Float[np.ndarray, "dim"]:
    """Wavevector whose wave changes sign along every primitive vector: exp(i Q·a_c) = −1.

    Args:
        lattice: A bipartite lattice with one site per unit cell, such as chain, square or cubic.

    Returns:
        Q in units 1/a: (π,), (π, π), (π, π, π).

    Raises:
        InputError: If the lattice is not bipartite, or has a basis, where the coloring is not a
            plane wave.
    """
    if lattice.n_sublattices > 1 or not lattice.is_bipartite:
        raise InputError(
            f"lattice must be bipartite with one site per unit cell for a checkerboard wavevector, "
            f"got {lattice.name!r} with {lattice.n_sublattices} sublattices. "
            "Use staggered_field, whose peak is at q = 0."
        )
    vectors = np.asarray(lattice.primitive_vectors, dtype=np.float64)
    return np.linalg.solve(vectors, np.full(lattice.dim, np.pi))


def radial_average(
    values: Float[np.ndarray, "*batch_and_extent"],
    lattice: Lattice,
    center: Wavevector | None = None,
    width: float | None = None,
) -> tuple[Float[np.ndarray, "n_bins"], Float[np.ndarray, "*batch n_bins"]]:
    """Average S(q) over rings of equal |q − center|.

    Args:
        values: S(q) as returned by `structure_factor` with the same center.
        lattice: The lattice of the field.
        center: Middle of the rings, units 1/a. Default: the origin.
        width: Width of a ring, units 1/a. Default: the smallest distance 2π/L between wavevectors.

    Returns:
        Mean |q − center| of each occupied ring, and the average of S over it.
    """
    origin = np.zeros(lattice.dim) if center is None else np.asarray(center, dtype=np.float64)
    distance = np.linalg.norm(wavevectors(lattice, center) - origin, axis=-1).ravel()
    if width is None:
        lengths = np.linalg.norm(np.asarray(lattice.primitive_vectors, dtype=np.float64), axis=1)
        width = 2 * np.pi / float(np.max(lengths * lattice.extent))
    ring = np.round(distance / width).astype(np.int64)
    counts = np.bincount(ring)
    occupied = counts > 0
    # Sorted by ring, each ring is one contiguous segment for reduceat.
    flat = values.reshape(*values.shape[: values.ndim - lattice.dim], -1)
    sums = flat[..., np.argsort(ring, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(counts[occupied])[:-1]])
    averages = np.add.reduceat(sums, starts, axis=-1) / counts[occupied]
    return np.bincount(ring, weights=distance)[occupied] / counts[occupied], averages
