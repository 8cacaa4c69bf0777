"""Skyrmions of a spin configuration: how many, how large, and where."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lattgnn.analysis.spins import charge_density
from lattgnn.analysis.triangles import triangles
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

Array = np.ndarray
# A skyrmion of charge ±1 has half of its charge in its core. Cores of bubbles and thermal
# fluctuations have about none.
LEAST_CORE_CHARGE = 0.25


@dataclass(frozen=True, eq=False)
class Skyrmions:
    """The skyrmions of one configuration.

    Attributes:
        centers: The site at which the spin is most opposite to the background.
        radii: Radius of a disc with the area of the core, where spins are opposite to the
            background, units a.
        core_charges: Topological charge inside the core, about half of the whole charge.
    """

    centers: Int[Array, "n"]
    radii: Float[Array, "n"]
    core_charges: Float[Array, "n"]

    def __len__(self) -> int:
        return len(self.centers)


def find_skyrmions(
    spins: Shaped[Array, "n_sites 3"],
    lattice: Lattice,
    background: Float[Array, "3"] | None = None,
) -> Skyrmions:
    """Find skyrmions in a background of parallel spins.

    A core is a connected region in which the component along the background is negative. It counts
    as a skyrmion if it holds a topological charge of at least 1/4. The border of the core is drawn
    by linear interpolation along the sides of the triangles.

    Args:
        spins: The spins of one configuration.
        lattice: A lattice in two dimensions.
        background: Direction of the spins far from skyrmions, of any length. Default: that of the
            mean spin.

    Returns:
        The skyrmions, from the largest to the smallest.

    Raises:
        InputError: If the spins do not fit the lattice, or no background is given and the mean spin
            is zero.

    Example:
        A Belavin–Polyakov skyrmion of radius 5:

        >>> from lattgnn.lattice import square
        >>> lattice = square(64)
        >>> x, y = (lattice.positions - [31.3, 31.6]).T
        >>> spins = np.stack([10 * x, 10 * y, x**2 + y**2 - 25], axis=-1)
        >>> spins /= np.linalg.norm(spins, axis=-1, keepdims=True)
        >>> found = find_skyrmions(spins, lattice)
        >>> print(found.radii.round(2), np.abs(found.core_charges).round(2))
        [5.] [0.5]
    """
    spins = np.asarray(spins, dtype=np.float64)
    charge = charge_density(spins, lattice)
    axis = spins.mean(axis=0) if background is None else np.asarray(background, dtype=np.float64)
    length = float(np.linalg.norm(axis))
    if not length > 1e-9:
        raise InputError(
            "skyrmions need a background, but the mean spin is zero. Use background=[0, 0, 1]."
        )
    along = spins @ (axis / length)
    n_cores, core = _cores(along < 0, lattice)

    found = triangles(lattice)
    heights, labels = along[found.corners], core[found.corners]
    # The core at the corners of each triangle; −1 for corners outside, so the maximum is the core.
    # Two cores are never in one triangle, since its corners would join them.
    label = labels.max(axis=1)
    inside = label >= 0
    fraction = _negative_fraction(heights[inside])
    areas, charges = np.zeros(n_cores), np.zeros(n_cores)
    np.add.at(areas, label[inside], found.areas[inside] * fraction)
    np.add.at(charges, label[inside], charge[inside] * fraction)
    # Sorted by core and then by height, the first site of each core is its center.
    sites = np.flatnonzero(core >= 0)
    sites = sites[np.lexsort((along[sites], core[sites]))]
    centers = sites[np.unique(core[sites], return_index=True)[1]]

    kept = np.flatnonzero(np.abs(charges) >= LEAST_CORE_CHARGE)
    kept = kept[np.argsort(-areas[kept], kind="stable")]
    return Skyrmions(centers[kept], np.sqrt(areas[kept] / np.pi), charges[kept])


def _cores(is_inside: Array, lattice: Lattice) -> tuple[int, Array]:
    """Number of connected regions of the sites inside, and the region of each site or −1."""
    corners = triangles(lattice).corners
    starts, ends = corners.ravel(), np.roll(corners, -1, axis=1).ravel()
    joins = is_inside[starts] & is_inside[ends]
    shape = (lattice.n_sites,) * 2
    graph = coo_array((np.ones(joins.sum()), (starts[joins], ends[joins])), shape=shape)
    labels = connected_components(graph, directed=False)[1]
    # Sites outside are regions of their own. Those inside get the numbers from 0.
    core = np.full(lattice.n_sites, -1)
    regions, core[is_inside] = np.unique(labels[is_inside], return_inverse=True)
    return len(regions), core


def _negative_fraction(heights: Float[Array, "n 3"]) -> Float[Array, "n"]:
    """Fraction of the area of triangles where a linear function of the position is negative."""
    negative = heights < 0
    n_negative = negative.sum(axis=1)
    # The corner that is alone on its side of zero is cut off: the sides that meet there are cut at
    # the fractions a/(a − b) and a/(a − c) of their lengths.
    alone = np.where(n_negative == 1, negative.argmax(axis=1), negative.argmin(axis=1))
    a, b, c = (
        np.take_along_axis(heights, ((alone + k) % 3)[:, None], axis=1)[:, 0] for k in range(3)
    )
    is_cut = (n_negative == 1) | (n_negative == 2)
    cut = np.square(a) / np.where(is_cut, (a - b) * (a - c), 1.0)
    fraction = np.where(n_negative == 1, cut, 1 - cut)
    return np.where(is_cut, fraction, n_negative == 3)
