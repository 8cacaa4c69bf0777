"""Orders with one wavevector: spirals, cones, stripes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.spin_orders.order import SpinOrder, normalized, three_numbers
from lattgnn.spin_orders.wavevectors import exact_wavevector, site_phases


@dataclass(frozen=True)
class Spiral(SpinOrder):
    r"""Spins that rotate about an axis from cell to cell, with one wavevector Q.

        S_i = R_axis(Q·r_i) S_0

    With Q = 0 this is a ferromagnet. Half a reciprocal vector gives stripes or a Néel state, and
    ["1/3", "-1/3"] the 120° order of the triangular lattice. If the spin at the origin is not
    perpendicular to the axis, the spiral is a cone.

    Args:
        wavevector: Fractions of the reciprocal primitive vectors; numbers, or texts such as "1/3".
        axis: Axis of the rotation.
        reference: Spin at the origin; or one spin for each site of cell 0, which are then rotated
            by the phase of their cell, Q·R, in place of that of their position.

    Raises:
        InputError: If the axis or a spin is not a vector with three components, or is zero.

    Examples:
        >>> from lattgnn.lattice import chain, honeycomb
        >>> print(Spiral(["1/4"]).spins(chain(4)).round(3) + 0.0)
        [[ 1.  0.  0.]
         [ 0.  1.  0.]
         [-1.  0.  0.]
         [ 0. -1.  0.]]
        >>> neel = Spiral([0, 0], reference=[[0, 0, 1], [0, 0, -1]])
        >>> neel.spins(honeycomb(2))[:, 2].tolist()
        [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]
    """

    wavevector: Sequence
    axis: Sequence = (0.0, 0.0, 1.0)
    reference: Sequence = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wavevector", exact_wavevector(self.wavevector))
        object.__setattr__(self, "axis", three_numbers("axis", self.axis))
        reference = list(self.reference) if np.iterable(self.reference) else []
        many = bool(reference) and all(np.iterable(spin) for spin in reference)
        given = reference if many else [self.reference]
        spins = tuple(three_numbers("reference", spin) for spin in given)
        object.__setattr__(self, "reference", spins if many else spins[0])
        for name, vector in [("axis", self.axis), *[("reference", spin) for spin in spins]]:
            if not any(vector):
                raise InputError(f"{name} must not be zero, got {vector!r}. Use (0, 0, 1).")

    def spins(self, lattice: Lattice) -> np.ndarray:
        """The spins of unit length, float64 [n_sites, 3]."""
        reference = np.array(self.reference, dtype=np.float64)
        by_sublattice = reference.ndim == 2
        if by_sublattice and len(reference) != lattice.n_sublattices:
            raise InputError(
                f"reference must be one spin, or one for each of the {lattice.n_sublattices} sites"
                f" of a cell of {lattice.name}, got {len(reference)} spins."
            )
        reference /= np.linalg.norm(reference, axis=-1, keepdims=True)
        start = reference[lattice.sublattices] if by_sublattice else reference
        axis = np.array(self.axis) / np.linalg.norm(self.axis)
        angle = site_phases(lattice, tuple(self.wavevector), in_cell=not by_sublattice)[:, None]
        # Rodrigues' formula.
        along = (start @ axis)[..., None] * axis
        spins = along + np.cos(angle) * (start - along) + np.sin(angle) * np.cross(axis, start)
        return normalized(spins)


def stripes(wavevector: Sequence, direction: Sequence = (0.0, 0.0, 1.0)) -> Spiral:
    """Collinear spins whose sign changes from stripe to stripe.

    Args:
        wavevector: Fractions of the reciprocal primitive vectors, each 0 or 1/2; all 1/2 on the
            square lattice gives the Néel state, all 0 the ferromagnet.
        direction: Direction of the spins.

    Raises:
        InputError: If a fraction is not 0 or 1/2, or the direction is zero.

    Examples:
        >>> from lattgnn.lattice import square
        >>> stripes(["1/2", 0]).spins(square(2))[:, 2].tolist()
        [1.0, 1.0, -1.0, -1.0]
    """
    q = exact_wavevector(wavevector)
    if any(x not in (0, Fraction(1, 2)) for x in q):
        raise InputError(
            f"wavevector of stripes must consist of 0 and 1/2, got {[str(x) for x in q]}."
            " Use Spiral for others."
        )
    spin = np.array(three_numbers("direction", direction))
    if not spin.any():
        raise InputError("direction must not be zero. Use [0, 0, 1].")
    # Any axis perpendicular to the spins does; that of the smallest component is never parallel.
    axis = np.cross(spin, np.eye(3)[np.abs(spin).argmin()])
    return Spiral(wavevector, axis.tolist(), spin.tolist())
