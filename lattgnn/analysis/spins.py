"""Observables of classical spins: chirality, topological charge, vorticity, S(q) by component.

Quantities of triangles are in the order of `triangles(lattice)`. The corners 1, 2, 3 of a
triangle are counterclockwise. Spins have unit length.
"""

import math

import numpy as np
from jaxtyping import Float, Int, Shaped

from lattgnn.analysis.coarsening import domain_length
from lattgnn.analysis.correlations import radial_correlation
from lattgnn.analysis.structure_factor import Wavevector, structure_factor
from lattgnn.analysis.triangles import triangles
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

Array = np.ndarray
Spins = Shaped[Array, "*batch n_sites 3"]
# Three spins whose triple product is below this lie in one plane up to rounding errors.
COPLANAR = 1e-14


def scalar_chirality(spins: Spins, lattice: Lattice) -> Float[Array, "*batch n_triangles"]:
    """Scalar chirality of each triangle: χ = S_1 · (S_2 × S_3).

    It is zero for coplanar spins, and ±4/(3√3) for the four directions of the tetrahedral order.

    Args:
        spins: The spins.
        lattice: A lattice in two dimensions.

    Returns:
        χ, between −1 and 1.

    Raises:
        InputError: If the spins do not fit the lattice, or it is not two-dimensional.

    Example:
        >>> from lattgnn.lattice import triangular
        >>> lattice = triangular(4)
        >>> directions = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
        >>> x, y = lattice.cells.T % 2
        >>> chirality = scalar_chirality(directions[2 * x + y], lattice)
        >>> print(f"{abs(chirality).min():.4f} {4 / (3 * np.sqrt(3)):.4f}")
        0.7698 0.7698
    """
    first, second, third = _corners(spins, lattice)
    return (first * np.cross(second, third)).sum(axis=-1)


def vector_chirality(spins: Spins, lattice: Lattice) -> Float[Array, "*batch n_triangles 3"]:
    """Vector chirality of each triangle: κ = 2/(3√3) (S_1×S_2 + S_2×S_3 + S_3×S_1).

    Args:
        spins: The spins.
        lattice: A lattice in two dimensions.

    Returns:
        κ. Its length is 1 for the 120° order, where the two kinds of elementary triangles of the
        triangular lattice have opposite signs.

    Raises:
        InputError: If the spins do not fit the lattice, or it is not two-dimensional.

    Example:
        >>> from lattgnn.lattice import triangular
        >>> lattice = triangular(3)
        >>> angle = 2 * np.pi / 3 * (lattice.cells @ [1, -1])
        >>> spins = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
        >>> print(np.abs(vector_chirality(spins, lattice)[0]).round(12))
        [0. 0. 1.]
    """
    first, second, third = _corners(spins, lattice)
    sums = np.cross(first, second) + np.cross(second, third) + np.cross(third, first)
    return 2 / (3 * math.sqrt(3)) * sums


def charge_density(spins: Spins, lattice: Lattice) -> Float[Array, "*batch n_triangles"]:
    """Topological charge of each triangle: its solid angle on the sphere of spins, over 4π.

        tan(Ω/2) = S_1·(S_2 × S_3) / (1 + S_1·S_2 + S_2·S_3 + S_3·S_1)

    Three spins in one plane have Ω = 0. With periodic boundaries the sum over triangles is an
    integer, unless coplanar spins go all around the sphere or neighbors are exactly antiparallel:
    there Ω jumps between −2π and 2π.

    Args:
        spins: The spins.
        lattice: A lattice in two dimensions.

    Returns:
        Ω/4π, between −1/2 and 1/2.

    Raises:
        InputError: If the spins do not fit the lattice, or it is not two-dimensional.

    Reference:
        B. Berg and M. Lüscher, Nucl. Phys. B 190, 412 (1981).

    Example:
        >>> from lattgnn.lattice import triangular
        >>> spins = np.random.default_rng(0).normal(size=(4, 36, 3))
        >>> spins /= np.linalg.norm(spins, axis=-1, keepdims=True)
        >>> charge = charge_density(spins, triangular(6)).sum(axis=-1)
        >>> bool(np.abs(charge - charge.round()).max() < 1e-12)
        True
    """
    first, second, third = _corners(spins, lattice)
    volume = (first * np.cross(second, third)).sum(axis=-1)
    cosines = 1 + (first * second + second * third + third * first).sum(axis=-1)
    volume = np.where(np.abs(volume) < COPLANAR, 0.0, volume)
    # Where volume = 0 the angle is 0 even if the spins go around the sphere and cosines < 0.
    return np.arctan2(volume, np.where(volume == 0, 1.0, cosines)) / (2 * np.pi)


def topological_charge(spins: Spins, lattice: Lattice) -> Float[Array, "*batch"]:
    """Topological charge of the whole lattice, which counts skyrmions: the sum of `charge_density`.

    Args:
        spins: The spins.
        lattice: A lattice in two dimensions.

    Returns:
        The charge; an integer with periodic boundaries.

    Raises:
        InputError: If the spins do not fit the lattice, or it is not two-dimensional.

    Example:
        >>> from lattgnn.lattice import square
        >>> print(topological_charge(np.tile([0.0, 0.0, 1.0], (16, 1)), square(4)))
        0.0
    """
    return np.asarray(charge_density(spins, lattice).sum(axis=-1))


def vorticity(spins: Spins, lattice: Lattice) -> Int[Array, "*batch n_triangles"]:
    """Winding number of the in-plane direction of the spins around each triangle.

    The angle of (S_x, S_y) changes by less than π from corner to corner.

    Args:
        spins: The spins.
        lattice: A lattice in two dimensions.

    Returns:
        1 for a vortex, −1 for an antivortex, otherwise 0.

    Raises:
        InputError: If the spins do not fit the lattice, or it is not two-dimensional.

    Example:
        A vortex on an open lattice:

        >>> from lattgnn.lattice import square
        >>> lattice = square(4, periodic=False)
        >>> x, y = (lattice.positions - [1.7, 1.4]).T
        >>> spins = np.stack([x, y, 0 * x], axis=-1) / np.hypot(x, y)[:, None]
        >>> int(vorticity(spins, lattice).sum()), int(np.abs(vorticity(spins, lattice)).sum())
        (1, 1)
    """
    directions = [corner[..., 0] + 1j * corner[..., 1] for corner in _corners(spins, lattice)]
    following = [*directions[1:], directions[0]]
    # The phase of the quotient is the change of the angle, in (−π, π].
    turns = sum(np.angle(b * a.conj()) for a, b in zip(directions, following, strict=True))
    return np.rint(np.asarray(turns) / (2 * np.pi)).astype(np.int64)


def spin_structure_factor(
    spins: Spins, lattice: Lattice, center: Wavevector | None = None
) -> Float[Array, "*batch_component_and_extent"]:
    """Structure factor of each spin component: S^c(q) = |Σ_i S_i^c exp(−i q·r_i)|² / N.

    Args:
        spins: The spins, on a lattice of any dimension.
        lattice: The lattice.
        center: Wavevector in the middle of the zone, units 1/a. Default: the origin.

    Returns:
        S^c(q) of shape [*batch, 3, *extent], in the order of `wavevectors(lattice, center)`. The
        sum over components and wavevectors is N on a lattice with one site per cell.

    Raises:
        InputError: If the spins do not fit the lattice.

    Example:
        >>> from lattgnn.lattice import square
        >>> lattice = square(4)
        >>> spins = lattice.bipartite_signs[:, None] * np.array([0.6, 0.0, 0.8])
        >>> print(spin_structure_factor(spins, lattice)[:, 2, 2].round(3))
        [ 5.76  0.   10.24]
    """
    _check(spins, lattice)
    return structure_factor(np.moveaxis(np.asarray(spins), -1, -2), lattice, center)


def chirality_length(
    spins: Spins, lattice: Lattice, fraction: float = 0.5
) -> Float[Array, "*batch"]:
    """Length of the domains of scalar chirality: C(L)/C(0) = fraction.

    C(r) is the correlation of the chirality of cells, each the mean over its triangles. Phases with
    two chiralities, such as the tetrahedral order, have such domains. A rotation of all spins does
    not change the chirality.

    Args:
        spins: The spins.
        lattice: A lattice in two dimensions.
        fraction: Value of C(r)/C(0) that defines the length, between 0 and 1.

    Returns:
        L, units a; NaN where one domain fills the lattice or the chirality is zero.

    Raises:
        InputError: If the spins do not fit the lattice, or fraction is not between 0 and 1.

    Example:
        >>> from lattgnn.lattice import triangular
        >>> spins = np.random.default_rng(0).normal(size=(400, 3))
        >>> spins /= np.linalg.norm(spins, axis=-1, keepdims=True)
        >>> print(f"{chirality_length(spins, triangular(20)):.1f}")
        0.5
    """
    cells = triangles(lattice)
    chirality = cells.cell_means(scalar_chirality(spins, lattice))
    distances, correlation = radial_correlation(chirality, cells.cell_lattice)
    return domain_length(distances, correlation, fraction)


def _corners(spins: Spins, lattice: Lattice) -> tuple[Array, Array, Array]:
    """Spins at the three corners of each triangle, float64 [*batch, n_triangles, 3]."""
    corners = triangles(lattice).corners
    _check(spins, lattice)
    values = np.asarray(spins, dtype=np.float64)
    first, second, third = (values[..., corners[:, k], :] for k in range(3))
    return first, second, third


def _check(spins: Array, lattice: Lattice) -> None:
    if np.shape(spins)[-2:] != (lattice.n_sites, 3):
        raise InputError(
            f"spins must have the shape [..., {lattice.n_sites}, 3] on this lattice, got "
            f"{list(np.shape(spins))}."
        )
