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
from lattgnn.lattice import Lattice, orbits_within
from lattgnn.lattice.reduction import LENGTH_TOLERANCE, nearest_image, shortest_vector

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
    reciprocal = _reciprocal_vectors(lattice)
    fractions = np.stack(
        np.meshgrid(*(np.arange(n) / n for n in lattice.extent), indexing="ij"), axis=-1
    )
    middle = np.linalg.solve(reciprocal.T, np.asarray(center))
    periods = np.eye(lattice.dim, dtype=np.int64)
    q = (middle + nearest_image(fractions - middle, periods, reciprocal)) @ reciprocal
    q.flags.writeable = False
    return q


def wavenumbers(lattice: Lattice, center: Wavevector | None = None) -> Float[np.ndarray, "*extent"]:
    """Distance |q − center| of each of `wavevectors(lattice, center)`, units 1/a."""
    origin = np.zeros(lattice.dim) if center is None else np.asarray(center, dtype=np.float64)
    k = np.linalg.norm(wavevectors(lattice, center) - origin, axis=-1)
    # The center itself is at distance 0, not at the rounding error of its components.
    return np.where(k < LENGTH_TOLERANCE * _spacing(lattice), 0.0, k)


def _spacing(lattice: Lattice) -> float:
    """Smallest distance between two wavevectors, units 1/a."""
    return shortest_vector(_reciprocal_vectors(lattice) / np.array(lattice.extent)[:, None])


def _reciprocal_vectors(lattice: Lattice) -> Float[np.ndarray, "dim dim"]:
    """Reciprocal vectors, one per row: a_a·b_c = 2π δ_ac."""
    vectors = np.asarray(lattice.primitive_vectors, dtype=np.float64)
    return 2 * np.pi * np.linalg.inv(vectors).T


def checkerboard_wavevector(lattice: Lattice) -> Float[np.ndarray, "dim"]:
    """Wavevector of the checkerboard: exp(i Q·(r_i − r_0)) = s_i s_0 with the bipartite signs s.

    The wave changes sign once along every nearest-neighbor bond.

    Args:
        lattice: A bipartite lattice, in any cell.

    Returns:
        The shortest such Q, units 1/a: (π,) for a chain, (π, π) for the square lattice.

    Raises:
        InputError: If the lattice is not bipartite, or its checkerboard is not a single plane wave,
            as on the honeycomb lattice.

    Example:
        The square lattice in a skew cell, and in a cell of two sites:

        >>> skew = Lattice([[1, 0], [3, 1]], [[0, 0]], [4, 4])
        >>> centered = Lattice([[1, 1], [1, -1]], [[0, 0], ["1/2", "1/2"]], [4, 4])
        >>> for lattice in (skew, centered):
        ...     print(np.abs(checkerboard_wavevector(lattice)).round(3))
        [3.142 3.142]
        [3.142 3.142]
    """
    if not lattice.is_bipartite:
        raise InputError(
            f"lattice must be bipartite for a checkerboard wavevector, got {lattice.name!r} of"
            f" extent {lattice.extent}. Use even extents on a lattice without odd loops."
        )
    signs = lattice.bipartite_signs * lattice.bipartite_signs[0]
    steps = lattice.positions - lattice.positions[0]
    bonds = _alternating_bonds(lattice)
    found = []
    for phases in product((np.pi, -np.pi), repeat=len(bonds)):
        q = np.linalg.pinv(bonds) @ np.array(phases)
        if np.abs(np.exp(1j * (steps @ q)) - signs).max() < 1e-6:
            found.append(q)
    if not found:
        raise InputError(
            "lattice must have a checkerboard that is a plane wave, as many lattices with one site"
            f" per unit cell have, got {lattice.name!r} with {lattice.n_sublattices} sublattices."
            " Use staggered_field, whose peak is at q = 0."
        )
    lengths = np.linalg.norm(found, axis=1)
    return found[int(np.argmax(lengths <= lengths.min() * (1 + LENGTH_TOLERANCE)))]


def _alternating_bonds(lattice: Lattice) -> Float[np.ndarray, "n dim"]:
    """The shortest independent vectors between sites of opposite signs."""
    vectors = lattice.cell.reduction @ np.asarray(lattice.primitive_vectors, dtype=np.float64)
    # Where signs do not change along a primitive vector, they change along its sum with a bond.
    cutoff = float(np.linalg.norm(vectors, axis=1).max()) + lattice.neighbor_distance
    bonds = np.zeros((0, lattice.dim))
    for source, destination, offset in (
        bond for orbit in orbits_within(lattice.cell, cutoff) for bond in orbit.bonds
    ):
        start = np.maximum(0, -np.array(offset))
        try:
            start_site = lattice.site_index(start, source)
            end_site = lattice.site_index(start + offset, destination)
        except InputError:  # the bond is longer than an open axis
            continue
        step = lattice.cell.cartesian(lattice.cell.separation(source, destination, offset))
        longer = np.vstack([bonds, step])
        # The rank does not depend on the unit of length.
        independent = np.linalg.matrix_rank(longer / lattice.neighbor_distance) == len(longer)
        alternates = lattice.bipartite_signs[start_site] != lattice.bipartite_signs[end_site]
        if alternates and independent:
            bonds = longer
    return bonds


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
        width: Width of a ring, units 1/a. Default: the smallest distance between wavevectors, 2π/L
            on a square lattice.

    Returns:
        Mean |q − center| of each occupied ring, and the average of S over it.
    """
    distance = wavenumbers(lattice, center).ravel()
    if width is None:
        width = _spacing(lattice)
    # A distance half-way between two rings belongs to the outer one, whatever its last digit.
    ring = np.floor(distance / width * (1 + LENGTH_TOLERANCE) + 0.5).astype(np.int64)
    counts = np.bincount(ring)
    occupied = counts > 0
    # Sorted by ring, each ring is one contiguous segment for reduceat.
    flat = values.reshape(*values.shape[: values.ndim - lattice.dim], -1)
    sums = flat[..., np.argsort(ring, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(counts[occupied])[:-1]])
    averages = np.add.reduceat(sums, starts, axis=-1) / counts[occupied]
    return np.bincount(ring, weights=distance)[occupied] / counts[occupied], averages
