"""Strength of the charge-density wave in a field: one number per lattice, or one per site."""

import numpy as np
from jaxtyping import Complex, Float, Shaped

from lattgnn.analysis.neighbors import neighbor_mean
from lattgnn.analysis.structure_factor import Wavevector
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice


def order_parameter(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice, wavevector: Wavevector
) -> Complex[np.ndarray, "*batch"]:
    """Order parameter at any wavevector: m_Q = (1/N) Σ_i exp(−i Q·r_i) φ_i.

    Args:
        field: The classical field, one scalar per site.
        lattice: The lattice of the field, with the positions r_i.
        wavevector: Cartesian components of Q, units 1/a. The checkerboard of the square lattice is
            (π, π).

    Returns:
        Complex m_Q, units of the field. Its modulus is the strength of the wave, its phase tells
        equivalent waves apart.

    Raises:
        InputError: If the wave does not fit a periodic axis a whole number of times.

    Example:
        >>> from lattgnn.lattice import square
        >>> lattice = square(4)
        >>> m = order_parameter(0.5 * lattice.bipartite_signs, lattice, (np.pi, np.pi))
        >>> print(f"{m.real:.3f}")
        0.500
    """
    q = np.asarray(wavevector, dtype=np.float64)
    if q.shape != (lattice.dim,):
        raise InputError(
            f"wavevector must have {lattice.dim} components, got {tuple(wavevector)!r}."
        )
    turns = (
        np.asarray(lattice.primitive_vectors, dtype=np.float64) @ q / (2 * np.pi) * lattice.extent
    )
    for axis, turn in enumerate(turns):
        if lattice.periodic[axis] and abs(turn - round(turn)) > 1e-9 * max(1.0, abs(turn)):
            raise InputError(
                f"wavevector must fit axis {axis} a whole number of times, got {turn:.6g} periods "
                f"along extent {lattice.extent[axis]}. Use one of analysis.wavevectors(lattice)."
            )
    return np.asarray(np.asarray(field) @ np.exp(-1j * (lattice.positions @ q)) / lattice.n_sites)


def checkerboard_order(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice
) -> Float[np.ndarray, "*batch"]:
    """Checkerboard (staggered) order parameter of a bipartite lattice: m = (1/N) Σ_i s_i φ_i.

    On the square lattice s_i = (−1)^(x+y), so m is `order_parameter` at (π, π).

    Args:
        field: The classical field, one scalar per site.
        lattice: The lattice of the field.

    Returns:
        m in the units of the field; its sign tells the two ground states apart.

    Raises:
        InputError: If the lattice, with its boundary conditions, has no two-coloring.
    """
    return np.asarray(staggered_field(field, lattice).mean(axis=-1))


def dimerization(
    displacement: Shaped[np.ndarray, "*batch n_sites dim"], lattice: Lattice
) -> Float[np.ndarray, "*batch dim"]:
    """Order parameter of a dimerized lattice: D = (1/N) Σ_i s_i u_i, staggered in each component.

    Along an axis a with D_a ≠ 0, bonds are alternately short and long: their lengths change by ∓2
    D_a. For another pattern of dimers, pass a component to `order_parameter` at the wavevector of
    the pattern.

    Args:
        displacement: Cartesian displacement of each site.
        lattice: The lattice of the field.

    Returns:
        D in the units of the displacement; its direction and sign tell the ground states apart.

    Raises:
        InputError: If the lattice, with its boundary conditions, has no two-coloring.
    """
    components = np.moveaxis(np.asarray(displacement), -1, 0)
    return np.moveaxis(checkerboard_order(components, lattice), 0, -1)


def staggered_field(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice
) -> Float[np.ndarray, "*batch n_sites"]:
    """Staggered field s_i φ_i: uniform within a checkerboard domain, opposite across a domain wall.

    Args:
        field: The classical field, one scalar per site.
        lattice: The lattice of the field.

    Returns:
        s_i φ_i, units of the field.

    Raises:
        InputError: If the lattice, with its boundary conditions, has no two-coloring.
    """
    return np.asarray(field, dtype=np.float64) * lattice.bipartite_signs


def local_order(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice
) -> Float[np.ndarray, "*batch n_sites"]:
    """Local checkerboard order: ½ s_i (φ_i − mean of φ over the nearest neighbors of i).

    The difference removes a uniform background, and the mean reduces thermal noise. A perfect
    checkerboard of amplitude A gives ±A. Pictures of domains show it.

    Args:
        field: The classical field, one scalar per site.
        lattice: The lattice of the field.

    Returns:
        Local order, units of the field.

    Raises:
        InputError: If the lattice, with its boundary conditions, has no two-coloring, or a site has
            no neighbor.

    Reference:
        The local order parameter of arXiv 2601.04104, times ½.
    """
    field = np.asarray(field, dtype=np.float64)
    return 0.5 * lattice.bipartite_signs * (field - neighbor_mean(field, lattice))
