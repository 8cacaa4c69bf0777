"""Means over the nearest neighbors of each site."""

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_array

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice


def neighbor_mean(
    values: Float[np.ndarray, "*batch n_sites"], lattice: Lattice
) -> Float[np.ndarray, "*batch n_sites"]:
    """Mean of a scalar over the nearest neighbors of each site.

    Args:
        values: One number per site.
        lattice: The lattice.

    Returns:
        The mean over the neighbors of each site, in the unit of the values.

    Raises:
        InputError: If a site has no neighbor.

    Example:
        >>> from lattgnn.lattice import chain
        >>> print(neighbor_mean(np.array([0.0, 1.0, 4.0, 9.0]), chain(4)))
        [5. 2. 5. 2.]
    """
    bonds = lattice.bonds(lattice.neighbor_distance)
    counts = np.bincount(bonds.destination, minlength=lattice.n_sites)
    if not counts.all():
        raise InputError(
            f"each site must have a neighbor, got none for site {int(counts.argmin())} of extent"
            f" {lattice.extent}. Use at least two cells along an axis."
        )
    ones = np.ones(len(bonds))
    neighbors = coo_array(
        (ones, (bonds.destination, bonds.source)), shape=(lattice.n_sites,) * 2
    ).tocsr()
    flat = values.reshape(-1, lattice.n_sites)
    return ((neighbors @ flat.T).T / counts).reshape(values.shape)
