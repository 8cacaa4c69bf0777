"""Colors of sites such that sites of one color are far apart."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Int
from scipy.sparse import csr_array, eye_array

from lattgnn.lattice import Lattice

# Sites whose neighborhoods are found together, which bounds the memory.
_SITES_TOGETHER = 4096


def site_coloring(
    lattice: Lattice, bonds: Int[np.ndarray, "2 n_bonds"], distance: int
) -> Int[np.ndarray, " n_sites"]:
    """Colors whose sites are at least `distance` hops apart, with few colors.

    Two ways are tried, and the one with fewer colors is taken. The greedy one serves any graph.
    In one and two dimensions, cells of one color may also form a lattice of their own, that of
    smallest index. It must have the periods of the finite lattice.

    Args:
        lattice: The lattice.
        bonds: Sites at the ends of the bonds, in both directions; on-site elements do no harm.
        distance: Number of hops.

    Returns:
        Colors from 0 on, without a gap.
    """
    greedy = _greedy_colors(_neighborhoods(np.arange(lattice.n_sites), bonds, distance - 1))
    regular = _sublattice_colors(lattice, bonds, distance, int(greedy.max()) + 1)
    return greedy if regular is None else regular


def _greedy_colors(neighborhoods: Iterator[tuple[int, np.ndarray]]) -> np.ndarray:
    """Site after site, the first color that no site of its neighborhood has yet."""
    colors: dict[int, int] = {}
    for site, near in neighborhoods:
        used = {colors.get(other) for other in near.tolist()}
        colors[site] = next(color for color in range(len(near) + 1) if color not in used)
    return np.array(list(colors.values()))


def _sublattice_colors(
    lattice: Lattice, bonds: np.ndarray, distance: int, most_colors: int
) -> np.ndarray | None:
    """Colors of the cells modulo a sublattice; None if that takes more than `most_colors`.

    The sites of a cell have different colors.
    """
    n, dim = lattice.n_sublattices, lattice.dim
    # In three dimensions there are too many sublattices to try.
    if dim > 2 or not all(lattice.periodic):
        return None
    # Steps between cells that must not lead to the same color: seen from the first cell.
    steps = [np.zeros((0, dim), dtype=np.int64)]
    for site, near in _neighborhoods(np.arange(n), bonds, distance - 1):
        same = near[(near % n == site) & (near != site)]
        steps.append(lattice.cells[same])
    forbidden = np.concatenate(steps)
    periods = np.diag(lattice.extent)
    for index in range(1, most_colors // n + 1):
        for basis in _sublattices(index, dim):
            if _remainders(basis, periods).any() or not _remainders(basis, forbidden).any(1).all():
                continue
            # Each remainder is a color: its digits in the mixed base of the diagonal.
            remainders = _remainders(basis, np.asarray(lattice.cells))
            colors = n * np.ravel_multi_index(tuple(remainders.T), tuple(np.diag(basis)))
            colors += np.arange(lattice.n_sites) % n
            # Bonds may be missing or differ between cells, so all sites are checked.
            return colors if _is_coloring(colors, bonds, distance) else None
    return None


def _sublattices(index: int, dim: int) -> Iterator[np.ndarray]:
    """All sublattices of an index, by their bases in Hermite normal form (upper triangular)."""
    if dim == 1:
        yield np.array([[index]])
        return
    for first in (n for n in range(1, index + 1) if index % n == 0):
        for rest in _sublattices(index // first, dim - 1):
            for others in product(*(range(n) for n in np.diag(rest))):
                basis = np.zeros((dim, dim), dtype=np.int64)
                basis[0] = first, *others
                basis[1:, 1:] = rest
                yield basis


def _remainders(basis: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Cells modulo the sublattice: axis by axis, multiples of its basis vectors are taken off."""
    remainders = cells
    for axis, vector in enumerate(basis):
        remainders = remainders - (remainders[:, axis] // vector[axis])[:, None] * vector
    return remainders


def _is_coloring(colors: np.ndarray, bonds: np.ndarray, distance: int) -> bool:
    for site, near in _neighborhoods(np.arange(len(colors)), bonds, distance - 1):
        if (colors[near] == colors[site]).sum() > 1:  # the site itself is one of them
            return False
    return True


def _neighborhoods(
    sites: np.ndarray, bonds: np.ndarray, n_hops: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Each of some sites, with all sites within `n_hops` hops of it, itself included."""
    n_sites = int(bonds.max()) + 1
    hops: Any = csr_array((np.ones(bonds.shape[1]), tuple(bonds)), shape=(n_sites, n_sites))
    hops = hops + eye_array(n_sites, format="csr")  # staying counts as a hop: within, not exactly
    hops.data[:] = 1
    start: Any = eye_array(n_sites, format="csr")
    for first in range(0, len(sites), _SITES_TOGETHER):
        some = sites[first : first + _SITES_TOGETHER]
        reached = start[some]
        for _ in range(n_hops):
            reached = reached @ hops
            reached.data[:] = 1  # numbers of paths grow exponentially
        for k, site in enumerate(some.tolist()):
            yield site, reached.indices[reached.indptr[k] : reached.indptr[k + 1]]
