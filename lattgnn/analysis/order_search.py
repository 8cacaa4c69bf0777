"""The search for the pattern that a field has, see `lattgnn.analysis.order`."""

import math
from itertools import product

import numpy as np
from jaxtyping import Float

from lattgnn.analysis.order import PRESENT, Order, bloch_power, near_wavevectors
from lattgnn.analysis.structure_factor import checkerboard_wavevector, wavevectors
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

Array = np.ndarray
# Domains of many sizes have power at wavenumbers k = |q − Q| with a spread of more than this
# fraction of their mean (1/2 for a Gaussian peak in two dimensions); a modulation has less.
MODULATED = 0.2


def candidate_orders(
    field: Float[Array, "n_components n_replicas n_sites"],
    lattice: Lattice,
    subtracts_mean: bool = True,
) -> list[tuple[Order, float]]:
    """Patterns that a field may have, with their shares (mean over replicas), largest first.

    They are the checkerboard, if the lattice has one, the uniform order, and the wave at the
    largest power, if it is not near one of these. Of a modulated pattern, whose power near the
    checkerboard or near q = 0 has one distance to it and not a range of distances, only the wave is
    in the list.

    Args:
        field: Components of the field.
        lattice: The lattice of the field.
        subtracts_mean: Whether a uniform field counts as no order, as for displacements.

    Returns:
        Pairs of a pattern and its share.

    Example:
        >>> from lattgnn.lattice import square
        >>> lattice = square(8)
        >>> field = 1.0 * lattice.bipartite_signs[None, None]
        >>> for order, share in candidate_orders(field, lattice):
        ...     print(order, round(share, 3))
        checkerboard 1.0
        uniform -0.164
    """
    uniform = Order(lattice, "uniform", np.zeros(lattice.dim), subtracts_mean)
    known = [uniform]
    if lattice.is_bipartite:
        known.insert(
            0, Order(lattice, "checkerboard", _checkerboard_center(lattice), subtracts_mean)
        )
    power = bloch_power(field, uniform).mean(axis=0)
    known = [order for order in known if not _is_modulated(order, power)]
    peak = np.unravel_index(power.argmax(), lattice.extent)
    found = [(order, float(order.share(field).mean())) for order in known]
    # Power near a known pattern belongs to it. With a basis, it may also be in another mode at the
    # same wavevector; this is so if the pattern is not present.
    covered = [
        share >= PRESENT or lattice.n_sublattices == 1
        for order, share in found
        if near_wavevectors(lattice, order.center, order.n_near)[peak]
    ]
    if not any(covered):
        center = _strongest_image(field, lattice, wavevectors(lattice)[peak])
        wave = Order(lattice, "wave", center, subtracts_mean)
        found.append((wave, float(wave.share(field).mean())))
    return sorted(found, key=lambda pair: -pair[1])


def find_order(
    field: Float[Array, "n_components n_replicas n_sites"],
    lattice: Lattice,
    subtracts_mean: bool = True,
) -> Order:
    """The pattern whose growth is measured: the one with the largest share, if it is present.

    If none is, it is the checkerboard where the lattice has one, else the wave at the largest S(q).

    Args:
        field: Components of the last frame.
        lattice: The lattice of the field.
        subtracts_mean: Whether a uniform field counts as no order, as for displacements.

    Returns:
        The pattern.

    Example:
        >>> from lattgnn.lattice import square
        >>> lattice = square(8)
        >>> stripes = np.cos(np.pi * lattice.positions[:, 0])[None, None]
        >>> print(find_order(stripes, lattice))
        wave with Q = (1, 0) π/a
    """
    found = candidate_orders(field, lattice, subtracts_mean)
    if found[0][1] >= PRESENT:
        return found[0][0]
    by_kind = {order.kind: order for order, _ in found}
    return by_kind.get("checkerboard") or by_kind.get("wave") or found[0][0]


def _strongest_image(field: Array, lattice: Lattice, q: Array) -> Float[Array, "dim"]:
    """The wavevector q + G with the largest S, of ±q and the nearest reciprocal vectors G.

    S(q) repeats from zone to zone on a Bravais lattice only. Of equal ones, it is the shortest,
    with its first component positive: ±q are the same wave of a real field.
    """
    reciprocal = 2 * np.pi * np.linalg.inv(np.asarray(lattice.primitive_vectors, dtype=float)).T
    images = [
        sign * q + np.array(shift) @ reciprocal
        for shift in product((-1, 0, 1), repeat=lattice.dim)
        for sign in (1, -1)
    ]
    scale = lattice.neighbor_distance
    images.sort(key=lambda image: tuple(np.round([image @ image * scale**2, *(-image * scale)], 9)))
    strengths = []
    for image in images:
        wave = np.exp(-1j * (lattice.positions @ image))
        strengths.append(np.square(np.abs(field @ wave)).sum())
    # The first one that is as strong as the strongest up to rounding.
    return images[int(np.argmax(np.array(strengths) > (1 - 1e-9) * max(strengths)))]


def _is_modulated(order: Order, power: Float[Array, "*extent"]) -> bool:
    """Whether the power near a pattern lies on a thin ring around it."""
    k = np.linalg.norm(wavevectors(order.lattice, order.center) - order.center, axis=-1)
    weights = power * near_wavevectors(order.lattice, order.center, order.n_near)
    if weights.sum() <= PRESENT * power.sum():
        return False  # there is no pattern that could be modulated
    mean = (weights * k).sum() / weights.sum()
    spread = math.sqrt((weights * (k - mean) ** 2).sum() / weights.sum())
    # A lattice with two domains has one period, or √2 along a diagonal; that is not a modulation.
    period = k[k > 1e-9 * k.max()].min() if k.max() > 0 else math.inf
    return bool(mean > 1.5 * period and spread < MODULATED * mean)


def _checkerboard_center(lattice: Lattice) -> Float[Array, "dim"]:
    """Wavevector of a checkerboard that is a plane wave, else the origin."""
    try:
        return checkerboard_wavevector(lattice)
    except InputError:
        return np.zeros(lattice.dim)
