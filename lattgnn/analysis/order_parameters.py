"""How much of a field is a charge-density wave: one number for a lattice, one number for a site."""

import numpy as np
from jaxtyping import Complex, Float, Shaped
from scipy.sparse import coo_array

from lattgnn.analysis.structure_factor import Wavevector
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice


def order_parameter(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice, wavevector: Wavevector
) -> Complex[np.ndarray, "*batch"]:
    """Order parameter at any wavevector: m_Q = (1/N) Σ_i exp(−i Q·r_i) φ_i.

    Args:
        field: the classical field, one scalar a site.
        lattice: its geometry; the positions r_i come from here.
        wavevector: Q in Cartesian components, units 1/a (the checkerboard of the square lattice is (π, π)).

    Returns:
        Complex m_Q; its phase says which of the equivalent waves, its modulus how strong.

    Raises:
        ValueError: the wavevector does not fit a periodic axis a whole number of times.
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
                f"wavevector must fit axis {axis} a whole number of times, got {turn:.6g} periods along "
                f"extent {lattice.extent[axis]}. Use one of analysis.wavevectors(lattice)."
            )
    return np.asarray(np.asarray(field) @ np.exp(-1j * (lattice.positions @ q)) / lattice.n_sites)


def checkerboard_order(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice
) -> Float[np.ndarray, "*batch"]:
    """Checkerboard (staggered) order parameter of a bipartite lattice: m = (1/N) Σ_i s_i φ_i.

    On the square lattice s_i = (−1)^(x+y), so m is `order_parameter` at (π, π).

    Args:
        field: the classical field, one scalar a site.
        lattice: its geometry.

    Returns:
        m in the units of the field; its sign tells the two ground states apart.

    Raises:
        ValueError: the lattice, with its boundary, has no two-colouring.
    """
    return np.asarray(staggered_field(field, lattice).mean(axis=-1))


def dimerization(
    displacement: Shaped[np.ndarray, "*batch n_sites dim"], lattice: Lattice
) -> Float[np.ndarray, "*batch dim"]:
    """Order parameter of a dimerised lattice: D = (1/N) Σ_i s_i u_i, the checkerboard of each component.

    Along the axis a for which D_a is not zero, bonds are short and long in turn: their stretch alternates by
    ∓2 D_a. For dimers of another pattern give a component to `order_parameter` at its wavevector.

    Args:
        displacement: cartesian displacement of each site.
        lattice: its geometry.

    Returns:
        D in the units of the displacement; its direction and sign tell the ground states apart.

    Raises:
        ValueError: the lattice, with its boundary, has no two-colouring.
    """
    components = np.moveaxis(np.asarray(displacement), -1, 0)
    return np.moveaxis(checkerboard_order(components, lattice), 0, -1)


def staggered_field(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice
) -> Float[np.ndarray, "*batch n_sites"]:
    """Field with the checkerboard taken out, s_i φ_i: uniform within a domain, opposite across a wall.

    Args:
        field: the classical field, one scalar a site.
        lattice: its geometry.

    Returns:
        s_i φ_i, units of the field.

    Raises:
        ValueError: the lattice, with its boundary, has no two-colouring.
    """
    return np.asarray(field, dtype=np.float64) * lattice.bipartite_signs


def local_order(
    field: Shaped[np.ndarray, "*batch n_sites"], lattice: Lattice
) -> Float[np.ndarray, "*batch n_sites"]:
    """Local checkerboard order: ½ s_i (φ_i − mean of φ over the nearest neighbours of i).

    The difference removes a uniform background and averages the thermal noise of the neighbours; a perfect
    checkerboard of amplitude A gives ±A. Used for pictures of domains.

    Args:
        field: the classical field, one scalar a site.
        lattice: its geometry.

    Returns:
        Local order, units of the field.

    Raises:
        ValueError: the lattice, with its boundary, has no two-colouring.

    Reference: the local order parameter of arXiv 2601.04104, with a factor ½ of ours.
    """
    field = np.asarray(field, dtype=np.float64)
    bonds = lattice.bonds(lattice.neighbor_distance)
    ones = np.ones(len(bonds))
    neighbors = coo_array(
        (ones, (bonds.destination, bonds.source)), shape=(lattice.n_sites,) * 2
    ).tocsr()
    flat = field.reshape(-1, lattice.n_sites)
    mean = (neighbors @ flat.T).T / np.bincount(bonds.destination, minlength=lattice.n_sites)
    return 0.5 * lattice.bipartite_signs * (flat - mean).reshape(field.shape)
