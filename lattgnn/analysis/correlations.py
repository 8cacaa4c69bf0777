"""Pair correlations C(r) = ⟨φ_i φ_{i+r}⟩ by FFT, over the shells of a lattice.

The average is over all pairs of sites with that separation. Along an open axis the transform is
padded with zeros and divided by the number of existing pairs, so that nothing wraps around.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.lattice.reduction import (
    LENGTH_TOLERANCE,
    equal_lengths,
    nearest_image,
    shortest_vector,
)


class _Pairs(NamedTuple):
    """All (separation of cells, sublattice, sublattice), sorted and divided into shells.

    Attributes:
        distances: Distance of each shell, units a.
        order: Indices that sort the flattened array of separations.
        starts: Where each shell begins in the sorted array.
        counts: Number of pairs in each shell.
    """

    distances: Float[np.ndarray, "n_shells"]
    order: Int[np.ndarray, "n_kept"]
    starts: Int[np.ndarray, "n_shells"]
    counts: Float[np.ndarray, "n_shells"]


def radial_correlation(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice, max_distance: float | None = None
) -> tuple[Float[np.ndarray, "n_shells"], Float[np.ndarray, "*batch n_shells"]]:
    """Correlation by distance: C(r) = average of φ_i φ_j over the pairs with |r_i − r_j| = r.

    No mean is subtracted: C(0) = ⟨φ²⟩, and C(∞) = m² in an ordered state. Pass the staggered field
    for the correlation of the order, the field itself for that of displacements.

    Args:
        field: The classical field, one scalar per site.
        lattice: The lattice of the field. Along periodic axes, distances are those of the nearest
            image.
        max_distance: Largest r, units a. Default: half of `shortest_side`, beyond which shells are
            incomplete.

    Returns:
        Distance of each shell, starting at 0, and C of shape [*batch, n_shells], units of field².

    Example:
        >>> from lattgnn.lattice import square
        >>> lattice = square(4)
        >>> distances, correlation = radial_correlation(lattice.bipartite_signs, lattice)
        >>> print(distances.round(3), correlation)
        [0.    1.    1.414 2.   ] [ 1. -1.  1.  1.]
    """
    pairs = _pairs(lattice, max_distance)
    values = pair_correlation(field, lattice, normalized=False)
    values = values.reshape(*np.shape(field)[:-1], -1)[..., pairs.order]
    return pairs.distances, np.add.reduceat(values, pairs.starts, axis=-1) / pairs.counts


def nearest_neighbor_correlation(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice, normalized: bool = True
) -> Float[np.ndarray, "*batch"]:
    """Correlation of nearest neighbors: C(1)/C(0), or C(1) itself.

    Args:
        field: The classical field, one scalar per site.
        lattice: The lattice of the field.
        normalized: Divide by C(0) = ⟨φ²⟩, so that a perfect checkerboard gives −1.

    Returns:
        C(1)/C(0), dimensionless, NaN for a field that is zero; or C(1) in units of field².

    Raises:
        InputError: If the lattice has no two sites at the distance of nearest neighbors.
    """
    distances, values = radial_correlation(field, lattice, max_distance=lattice.neighbor_distance)
    if len(distances) < 2:
        raise InputError(
            "the lattice must have two sites at the distance of nearest neighbors, got extent"
            f" {lattice.extent}. Use at least two cells along an axis."
        )
    if not normalized:
        return np.asarray(values[..., 1])
    zero = values[..., 0]
    return np.asarray(np.where(zero > 0, values[..., 1], np.nan) / np.where(zero > 0, zero, 1.0))


def relative_deviation(
    measured: Float[np.ndarray, "n_frames n_replicas"],
    reference: Float[np.ndarray, "n_frames n_replicas"],
) -> Float[np.ndarray, "n_frames"]:
    """Relative deviation of two sets of runs: ⟨measured⟩/⟨reference⟩ − 1, with means over replicas.

    Args:
        measured: An observable of one set, such as C(1) of the learned dynamics.
        reference: The same observable of the other set, such as exact dynamics with the same noise.

    Returns:
        The deviation in each frame, dimensionless.
    """
    return measured.mean(axis=-1) / reference.mean(axis=-1) - 1.0


def pair_correlation(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice, normalized: bool = True
) -> Float[np.ndarray, "*batch_and_lags"]:
    """Correlation by separation: C_st(R) = average over cells x of φ_s(x) φ_t(x + R).

    Args:
        field: The classical field, one scalar per site.
        lattice: The lattice of the field.
        normalized: Divide by the number of pairs; otherwise return the sum over x.

    Returns:
        Array [*batch, *lags, n_sublattices (s), n_sublattices (t)]. Along a periodic axis the L
        lags are 0..L−1 modulo L, along an open one the 2L−1 lags are 0..L−1, −(L−1)..−1.
    """
    field = np.asarray(field, dtype=np.float64)
    axes = tuple(range(-lattice.dim - 1, -1))
    grid = field.reshape(*field.shape[:-1], *lattice.extent, lattice.n_sublattices)
    lags = _lags(lattice)
    amplitude = np.fft.rfftn(grid, s=tuple(map(len, lags)), axes=axes)
    # Wiener–Khinchin: the correlation is the inverse transform of the power spectrum.
    spectrum = amplitude.conj()[..., :, None] * amplitude[..., None, :]
    axes = tuple(range(-lattice.dim - 2, -2))
    values = np.fft.irfftn(spectrum, s=tuple(map(len, lags)), axes=axes)
    return values / _pair_counts(lattice)[..., None, None] if normalized else values


def _lags(lattice: Lattice) -> list[Int[np.ndarray, "n"]]:
    """Separations along each axis in unit cells, in FFT order."""
    return [
        np.arange(n) if wraps else np.concatenate([np.arange(n), np.arange(1 - n, 0)])
        for n, wraps in zip(lattice.extent, lattice.periodic, strict=True)
    ]


def _pair_counts(lattice: Lattice) -> Float[np.ndarray, "*lags"]:
    """Number of pairs of cells with each separation."""
    counts = np.ones((1,) * lattice.dim)
    for axis, lag in enumerate(_lags(lattice)):
        extent = lattice.extent[axis]
        along = np.full(len(lag), extent) if lattice.periodic[axis] else extent - np.abs(lag)
        counts = counts * along.reshape([-1 if a == axis else 1 for a in range(lattice.dim)])
    return counts


def shortest_side(lattice: Lattice) -> float:
    """Length of the shortest period of the lattice, units a.

    It is the shortest sum of whole periods, so that the same torus has the same length in every
    cell. Open axes count like periodic ones.

    Args:
        lattice: The lattice.

    Examples:
        A torus of 4 × 4 squares in a skew cell:

        >>> print(shortest_side(Lattice([[1, 0], [3, 1]], [[0, 0]], [4, 4])))
        4.0
    """
    vectors = np.asarray(lattice.primitive_vectors, dtype=np.float64)
    return shortest_vector(vectors * np.asarray(lattice.extent)[:, None])


@lru_cache(maxsize=32)
def _pairs(lattice: Lattice, max_distance: float | None) -> _Pairs:
    """The shells of a lattice; cached, because they are the same for all frames of a run."""
    if max_distance is None:
        max_distance = 0.5 * shortest_side(lattice)
    squared = _squared_distances(lattice)
    counts = np.broadcast_to(_pair_counts(lattice)[..., None, None], squared.shape).ravel()
    squared = squared.ravel()
    order = np.argsort(squared, kind="stable")
    order = order[squared[order] <= (max_distance * (1 + LENGTH_TOLERANCE)) ** 2]
    starts = equal_lengths(squared[order])
    distances = np.sqrt(squared[order][starts])
    # Within a shell, pairs are sorted by their number and not by the last digit of their distance.
    shell = np.repeat(np.arange(len(starts)), np.diff([*starts, len(order)]))
    order = order[np.lexsort((order, shell))]
    return _Pairs(distances, order, starts, np.add.reduceat(counts[order], starts))


def _squared_distances(lattice: Lattice) -> Float[np.ndarray, "*lags s t"]:
    """Squared distance to the nearest image, for each separation of cells and two sublattices."""
    cell = lattice.cell
    # Everything is computed in the reduced cell, where rounding errors do not grow with the shear.
    back = np.rint(np.linalg.inv(cell.reduction)).astype(np.int64)
    cells = np.stack(np.meshgrid(*_lags(lattice), indexing="ij"), axis=-1)
    basis = np.array(cell.basis, dtype=object)
    steps = (basis[None, :] - basis[:, None]) @ back  # exact fractions
    separation = (cells @ back)[..., None, None, :] + steps.astype(np.float64)
    periods = (np.diag(lattice.extent) @ back)[list(lattice.periodic)]
    vectors = cell.reduction @ np.asarray(lattice.primitive_vectors, dtype=np.float64)
    nearest = nearest_image(separation, periods, vectors)
    gram = np.array(cell.reduced_gram, dtype=np.float64)
    return np.einsum("...i,...i->...", nearest @ gram, nearest)
