"""Which order a field has: the checkerboard, a uniform order, or a wave; or none.

White noise has the same power at every wavevector. A pattern with the wavevector Q has its power
near Q and near the wavevectors that are equivalent to Q by symmetry. The fifth of all wavevectors
that lie nearest to them holds a fifth of the power of white noise, and all power of a pattern with
large domains. The share of a pattern is what this fifth holds beyond white noise:

    share = (f − f₀) / (1 − f₀)

with f its fraction of the power Σ_i |φ_i − ⟨φ⟩|², and f₀ (about 1/5) that of white noise. A pattern
is called present where its share is at least one half. On the square lattice this happens where the
domain length from C(r) is about one bond length, or where the variance of a perfect pattern equals
that of the noise on top of it.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from lattgnn.analysis.order_parameters import order_parameter, staggered_field
from lattgnn.analysis.structure_factor import (
    checkerboard_wavevector,
    structure_factor,
    wavevectors,
)
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, space_group

Array = np.ndarray
# The fraction of all wavevectors that counts as near to a pattern.
NEAR = 0.2
# The share above which a pattern is called present.
PRESENT = 0.5
# Domains of many sizes have power at wavenumbers k = |q − Q| with a spread of more than this
# fraction of their mean (1/2 for a Gaussian peak in two dimensions); a modulation has less.
MODULATED = 0.2


@dataclass(frozen=True, eq=False)
class Order:
    """The pattern that a field orders into.

    Attributes:
        lattice: The lattice of the field.
        kind: "checkerboard", "uniform", or "wave".
        center: Wavevector of the pattern, units 1/a. It is the origin for a checkerboard that is no
            plane wave, as on the honeycomb lattice, where the staggered field is transformed
            instead of the field.
        subtracts_mean: Whether the mean of each replica is subtracted from the field first. A
            uniform displacement is no order, a uniform magnetization is.
    """

    lattice: Lattice
    kind: Literal["checkerboard", "uniform", "wave"]
    center: Float[Array, "dim"]
    subtracts_mean: bool = True

    @property
    def is_checkerboard(self) -> bool:
        """Whether the pattern is the checkerboard."""
        return self.kind == "checkerboard"

    @property
    def has_domains(self) -> bool:
        """Whether C(r) of `pattern_field` keeps its sign in a domain, which gives a length."""
        return self.kind != "wave"

    def centered(self, field: Float[Array, "*batch n_sites"]) -> Float[Array, "*batch n_sites"]:
        """The field, minus the mean over its sites if `subtracts_mean`.

        Args:
            field: One scalar per site.

        Returns:
            The field whose patterns are looked for, in units of the field.
        """
        return field - field.mean(axis=-1, keepdims=True) if self.subtracts_mean else field

    def pattern_field(
        self, field: Float[Array, "*batch n_sites"]
    ) -> Float[Array, "*batch n_sites"]:
        """The staggered field of a checkerboard, otherwise the field, both `centered`.

        Args:
            field: One scalar per site.

        Returns:
            The field whose correlations measure the order, in units of the field.
        """
        centered = self.centered(field)
        return staggered_field(centered, self.lattice) if self.is_checkerboard else centered

    def structure_factor(
        self, field: Float[Array, "n_components n_replicas n_sites"]
    ) -> Float[Array, "n_replicas *extent"]:
        """S(q) around `center`, summed over components.

        Args:
            field: Components of the field.

        Returns:
            S(q) of each replica, units of field².
        """
        # If the checkerboard is a plane wave, the field's own S(q) has the peak. Otherwise the
        # sublattices have to be combined first.
        is_plane_wave = self.is_checkerboard and self.center.any()
        waves = self.centered(field) if is_plane_wave else self.pattern_field(field)
        return structure_factor(waves, self.lattice, self.center).sum(axis=0)

    def parameter(
        self, field: Float[Array, "n_components n_replicas n_sites"]
    ) -> Float[Array, "n_replicas"]:
        """Order parameter of the whole lattice.

        Args:
            field: Components of the field.

        Returns:
            For a checkerboard or a uniform order the mean of `pattern_field`: of a scalar field
            with its sign, of several components the length of the vector of means. For a wave
            |m_Q|. Units of the field.
        """
        pattern = self.pattern_field(field)
        if self.kind == "wave":
            return np.linalg.norm(order_parameter(pattern, self.lattice, self.center), axis=0)
        means = pattern.mean(axis=-1)
        return means[0] if len(means) == 1 else np.linalg.norm(means, axis=0)

    def share(
        self, field: Float[Array, "n_components n_replicas n_sites"]
    ) -> Float[Array, "n_replicas"]:
        """Share of the pattern in the fluctuations of the field, see the module's docstring.

        Args:
            field: Components of the field.

        Returns:
            About 0 for white noise, 1 for a pattern with large domains; 0 for a uniform field.
        """
        near = _near(self.lattice, self.center, self._n_near)
        if self.has_domains:
            # One mode per wavevector is uniform or staggered, of n_sublattices.
            power, white = self.structure_factor(field), near.sum() / self.lattice.n_sites
        else:
            power, white = _bloch_power(field, self), near.mean()
        total = np.square(self.centered(field)).sum(axis=(0, -1))
        # Rounding errors of a uniform field are no pattern.
        is_uniform = total <= 1e-20 * np.square(field).sum(axis=(0, -1))
        fraction = power[:, near].sum(axis=-1) / np.where(is_uniform, 1.0, total)
        return np.where(is_uniform, 0.0, (fraction - white) / (1 - white))

    @property
    def _n_near(self) -> float:
        """Number of wavevectors that hold a fifth of the power of white noise."""
        lattice = self.lattice
        # At most the whole zone, which holds 1/n_sublattices of it.
        return min(
            NEAR * (lattice.n_sites if self.has_domains else lattice.n_cells), lattice.n_cells
        )

    def __str__(self) -> str:
        if self.kind != "wave":
            return {"checkerboard": "checkerboard", "uniform": "uniform"}[self.kind]
        turns = np.round(self.center / np.pi, 3) + 0.0  # no negative zero
        return f"wave with Q = ({', '.join(f'{x:g}' for x in turns)}) π/a"


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
    power = _bloch_power(field, uniform).mean(axis=0)
    known = [order for order in known if not _is_modulated(order, power)]
    peak = np.unravel_index(power.argmax(), lattice.extent)
    found = [(order, float(order.share(field).mean())) for order in known]
    # Power near a known pattern belongs to it. With a basis, it may also be in another mode at the
    # same wavevector; this is so if the pattern is not present.
    covered = [
        share >= PRESENT or lattice.n_sublattices == 1
        for order, share in found
        if _near(lattice, order.center, order._n_near)[peak]
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


def _bloch_power(
    field: Float[Array, "n_components n_replicas n_sites"], order: Order
) -> Float[Array, "n_replicas *extent"]:
    """Σ_s |φ_s(q)|² / N, summed over sublattices s and components.

    Unlike S(q), it is periodic in the reciprocal lattice, and Σ_q of it is Σ_i φ_i² with a basis,
    too.
    """
    lattice = order.lattice
    centered = order.centered(field)
    grid = centered.reshape(*centered.shape[:-1], *lattice.extent, lattice.n_sublattices)
    amplitude = np.fft.fftn(grid, axes=tuple(range(-lattice.dim - 1, -1)))
    return np.square(np.abs(amplitude)).sum(axis=(0, -1)) / lattice.n_cells


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
    weights = power * _near(order.lattice, order.center, order._n_near)
    if weights.sum() <= PRESENT * power.sum():
        return False  # there is no pattern that could be modulated
    mean = (weights * k).sum() / weights.sum()
    spread = math.sqrt((weights * (k - mean) ** 2).sum() / weights.sum())
    # A lattice with two domains has one period, or √2 along a diagonal; that is no modulation.
    period = k[k > 1e-9 * k.max()].min() if k.max() > 0 else math.inf
    return bool(mean > 1.5 * period and spread < MODULATED * mean)


def _checkerboard_center(lattice: Lattice) -> Float[Array, "dim"]:
    """Wavevector of a checkerboard that is a plane wave, else the origin."""
    try:
        return checkerboard_wavevector(lattice)
    except InputError:
        return np.zeros(lattice.dim)


def _near(lattice: Lattice, center: Array, n: float) -> Bool[Array, "*extent"]:
    """The n wavevectors nearest to those equivalent to `center` by symmetry."""
    distances = []
    for operation in space_group(lattice.cell).operations:
        image = operation.cartesian @ center
        distances.append(np.linalg.norm(wavevectors(lattice, image) - image, axis=-1))
    # Rounded, so that wavevectors at equal distance are in or out together; n is rounded down to
    # whole shells, but the pattern itself is always among them.
    distance = np.round(np.min(distances, axis=0) * lattice.neighbor_distance, 9)
    shells, counts = np.unique(distance, return_counts=True)
    last = max(1, int((np.cumsum(counts) <= n).sum()))
    return distance <= shells[last - 1]
