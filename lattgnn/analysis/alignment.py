"""Alignment of spins with their neighbors, which tells magnetic phases apart that coexist."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from lattgnn.analysis.coarsening import domain_length
from lattgnn.analysis.correlations import radial_correlation
from lattgnn.analysis.neighbors import neighbor_mean
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

Array = np.ndarray
# Sites with a mean S_i·S_j beyond ±ALIGNED count as parallel or antiparallel.
ALIGNED = 0.5


def spin_alignment(
    spins: Shaped[Array, "*batch n_sites 3"], lattice: Lattice
) -> Float[Array, "*batch n_sites"]:
    """Alignment of each spin with its neighbors: A_i = mean of S_i·S_j over nearest neighbors j.

    It is 1 in a ferromagnet, −1 in a Néel antiferromagnet, −1/2 in the 120° order and −1/3 in the
    tetrahedral order. Where phases coexist, it shows in which of them a site lies.

    Args:
        spins: Spins of unit length.
        lattice: Their lattice, of any dimension.

    Returns:
        A_i, between −1 and 1.

    Raises:
        InputError: If the spins do not fit the lattice, or a site has no neighbor.

    Example:
        >>> from lattgnn.lattice import square
        >>> lattice = square(4)
        >>> up = np.array([0.0, 0.0, 1.0])
        >>> neel = lattice.bipartite_signs[:, None] * up
        >>> print(spin_alignment(neel, lattice).mean())
        -1.0
    """
    spins = np.asarray(spins, dtype=np.float64)
    if spins.ndim < 2 or spins.shape[-2:] != (lattice.n_sites, 3):
        raise InputError(
            f"spins must have the shape [..., {lattice.n_sites}, 3], got {list(spins.shape)}."
        )
    components = np.moveaxis(spins, -1, 0)
    return (components * neighbor_mean(components, lattice)).sum(axis=0)


@dataclass(frozen=True, eq=False)
class AlignmentShares:
    """How much of a lattice is parallel or antiparallel to its neighbors, and on what scale.

    Attributes:
        parallel: Share of sites with A_i > 1/2, as in a ferromagnet.
        antiparallel: Share of sites with A_i < −1/2, as in an antiferromagnet.
        length: Distance at which the correlation of A_i − mean has fallen to a given fraction, in
            units of a. It is the size of regions of one phase; NaN where A_i is the same on all
            sites, or the correlation stays above the fraction.
    """

    parallel: Float[Array, "*batch"]
    antiparallel: Float[Array, "*batch"]
    length: Float[Array, "*batch"]

    @property
    def intermediate(self) -> Float[Array, "*batch"]:
        """Share of the other sites: boundaries between phases, and disordered regions."""
        return np.asarray(1.0 - self.parallel - self.antiparallel)


def alignment_shares(
    alignment: Float[Array, "*batch n_sites"], lattice: Lattice, fraction: float = 0.5
) -> AlignmentShares:
    """Shares of parallel and antiparallel sites, and the size of their regions.

    Args:
        alignment: A_i of `spin_alignment`.
        lattice: The lattice.
        fraction: Value of C(r)/C(0) that defines the length.

    Returns:
        The shares and the length of each configuration.

    Example:
        >>> from lattgnn.lattice import square
        >>> lattice = square(8)
        >>> up = np.array([0.0, 0.0, 1.0])
        >>> half = lattice.cells[:, :1] < 4
        >>> spins = np.where(half, 1, lattice.bipartite_signs[:, None]) * up
        >>> shares = alignment_shares(spin_alignment(spins, lattice), lattice)
        >>> print(shares.parallel, shares.antiparallel, shares.intermediate)
        0.375 0.375 0.25
    """
    deviation = alignment - alignment.mean(axis=-1, keepdims=True)
    # Rounding errors of a perfect order are no regions.
    deviation = np.where(np.abs(deviation) > 1e-12, deviation, 0.0)
    distances, correlation = radial_correlation(deviation, lattice)
    return AlignmentShares(
        parallel=np.asarray((alignment > ALIGNED).mean(axis=-1)),
        antiparallel=np.asarray((alignment < -ALIGNED).mean(axis=-1)),
        length=domain_length(distances, correlation, fraction),
    )
