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

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from lattgnn.analysis.order_parameters import order_parameter, staggered_field
from lattgnn.analysis.structure_factor import (
    structure_factor,
    wavevectors,
)
from lattgnn.lattice import Lattice, space_group

Array = np.ndarray
# The fraction of all wavevectors that counts as near to a pattern.
NEAR = 0.2
# The share above which a pattern is called present.
PRESENT = 0.5


@dataclass(frozen=True, eq=False)
class Order:
    """The pattern that a field orders into.

    Attributes:
        lattice: The lattice of the field.
        kind: "checkerboard", "uniform", or "wave".
        center: Wavevector of the pattern, units 1/a. It is the origin for a checkerboard that is
            not a plane wave, as on the honeycomb lattice, where the staggered field is transformed
            instead of the field.
        subtracts_mean: Whether the mean of each replica is subtracted from the field first. A
            uniform displacement is not an order, but a uniform magnetization is.
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
        near = near_wavevectors(self.lattice, self.center, self.n_near)
        if self.has_domains:
            # One mode per wavevector is uniform or staggered, of n_sublattices.
            power, white = self.structure_factor(field), near.sum() / self.lattice.n_sites
        else:
            power, white = bloch_power(field, self), near.mean()
        total = np.square(self.centered(field)).sum(axis=(0, -1))
        # Rounding errors of a uniform field are not a pattern.
        is_uniform = total <= 1e-20 * np.square(field).sum(axis=(0, -1))
        fraction = power[:, near].sum(axis=-1) / np.where(is_uniform, 1.0, total)
        return np.where(is_uniform, 0.0, (fraction - white) / (1 - white))

    @property
    def n_near(self) -> float:
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


def bloch_power(
    field: Float[Array, "n_components n_replicas n_sites"], order: Order
) -> Float[Array, "n_replicas *extent"]:
    """Σ_s |φ_s(q)|² / N, summed over sublattices s and components.

    Unlike S(q), it is periodic in the reciprocal lattice, and Σ_q of it is Σ_i φ_i² with a basis,
    too.

    Args:
        field: Components of the field.
        order: The order, which says whether the mean is subtracted.

    Returns:
        The power at each wavevector, units of field².
    """
    lattice = order.lattice
    centered = order.centered(field)
    grid = centered.reshape(*centered.shape[:-1], *lattice.extent, lattice.n_sublattices)
    amplitude = np.fft.fftn(grid, axes=tuple(range(-lattice.dim - 1, -1)))
    return np.square(np.abs(amplitude)).sum(axis=(0, -1)) / lattice.n_cells


def near_wavevectors(lattice: Lattice, center: Array, n: float) -> Bool[Array, "*extent"]:
    """The n wavevectors nearest to those equivalent to `center` by symmetry.

    Args:
        lattice: The lattice.
        center: A wavevector, units 1/a.
        n: Their number, which is rounded down to whole shells.

    Returns:
        Whether each wavevector is one of them.
    """
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
