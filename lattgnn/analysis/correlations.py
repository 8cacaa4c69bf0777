"""Pair correlations C(r) = ⟨φ_i φ_{i+r}⟩ by FFT, over the exact shells of a lattice.

The average is over all pairs of sites with that separation. Along an open axis the transform is
padded with zeros and divided by the number of existing pairs, so that nothing wraps around.
"""

import math
from functools import lru_cache, reduce
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from lattgnn.lattice import Lattice


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
        max_distance: Largest r, units a. Default: half the shortest period (or open length), beyond
            which shells are incomplete.

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
        C(1)/C(0), dimensionless, or C(1) in units of field².
    """
    _, values = radial_correlation(field, lattice, max_distance=lattice.neighbor_distance)
    return np.asarray(values[..., 1] / (values[..., 0] if normalized else 1.0))


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


@lru_cache(maxsize=32)
def _pairs(lattice: Lattice, max_distance: float | None) -> _Pairs:
    """The shells of a lattice; cached, because they are the same for all frames of a run."""
    vectors = np.asarray(lattice.primitive_vectors, dtype=np.float64)
    periods = vectors * np.asarray(lattice.extent)[:, None]
    if max_distance is None:
        shifts = [shift for shift in product((-1, 0, 1), repeat=lattice.dim) if any(shift)]
        max_distance = 0.5 * float(np.linalg.norm(np.array(shifts) @ periods, axis=1).min())
    squared, unit = _squared_distances(lattice)
    counts = np.broadcast_to(_pair_counts(lattice)[..., None, None], squared.shape).ravel()
    squared = squared.ravel()
    order = np.argsort(squared, kind="stable")
    order = order[squared[order] * unit <= max_distance**2 * (1 + 1e-9)]
    # Squared distances are integers: a new shell starts wherever the sorted values change.
    starts = np.concatenate([[0], 1 + np.flatnonzero(np.diff(squared[order]))])
    distances = np.sqrt(squared[order][starts].astype(np.float64) * unit)
    return _Pairs(distances, order, starts, np.add.reduceat(counts[order], starts))


def _squared_distances(lattice: Lattice) -> tuple[Shaped[np.ndarray, "*lags_s_t"], float]:
    """Squared distance to the nearest image [*lags, s, t], as integers in a unit that is returned.

    Integers make distances of equal length exactly equal, so that shells are separated without a
    tolerance.
    """
    cell = lattice.cell
    parts = math.lcm(*(x.denominator for site in cell.basis for x in site))
    gram_parts = math.lcm(*(x.denominator for row in cell.gram for x in row))
    gram = [[int(x * gram_parts) for x in row] for row in cell.gram]
    # Python's integers are used where 64 bits could overflow.
    largest = (3 * max(lattice.extent) * parts * lattice.dim) ** 2 * max(
        abs(x) for row in gram for x in row
    )
    dtype = np.int64 if largest < 2**62 else object
    metric = np.array(gram, dtype=dtype)
    basis = np.array([[int(x * parts) for x in site] for site in cell.basis], dtype=dtype)
    period = np.array(lattice.extent, dtype=dtype) * parts
    cells = np.stack(np.meshgrid(*_lags(lattice), indexing="ij"), axis=-1).astype(dtype) * parts
    separation = cells[..., None, None, :] + (basis[None, :] - basis[:, None])
    # Separations of cells reach ±(L − 1) and those of the basis ±1, so the nearest image is one of
    # these.
    images = product(*((-2, -1, 0, 1) if wraps else (0,) for wraps in lattice.periodic))
    vectors = (separation + np.array(image, dtype=dtype) * period for image in images)
    squared = reduce(np.minimum, (((v @ metric) * v).sum(axis=-1) for v in vectors))
    return squared, 1.0 / (parts**2 * gram_parts)
