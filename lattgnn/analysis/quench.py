"""Order, correlations and growth of domains in a quench: fields in, one typed result out.

On a lattice of two sublattice colors, order means the checkerboard. On any other lattice it means
the wave at the peak of S(q) in the last frame, after the mean of the field is subtracted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from lattgnn.analysis.coarsening import (
    GrowthFit,
    domain_length,
    growth_exponent,
    structure_factor_length,
)
from lattgnn.analysis.correlations import (
    nearest_neighbor_correlation,
    radial_correlation,
    shortest_side,
)
from lattgnn.analysis.order_parameters import order_parameter, staggered_field
from lattgnn.analysis.structure_factor import (
    checkerboard_wavevector,
    structure_factor,
    wavevectors,
)
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

Array = np.ndarray
# S(q) has a narrow peak on a flat thermal background. Wavenumbers up to half-way to the zone
# boundary of the square lattice contain the peak and little of the background.
PEAK_WAVENUMBER = math.pi / 2
# Domains longer than this fraction of the shortest side feel the finite size of the lattice.
FINITE_SIZE = 1 / 6


@runtime_checkable
class FieldFrames(Protocol):
    """Frames that are read one at a time: an array, or `Trajectory.fields`."""

    def __len__(self) -> int: ...

    def __getitem__(self, frame: int, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Order:
    """The pattern that a field orders into.

    Attributes:
        lattice: The lattice of the field.
        is_checkerboard: Whether the pattern is the checkerboard, not a wave at the peak of S(q).
        center: Wavevector of the pattern, units 1/a. It is the origin for a checkerboard on a
            lattice with a basis, where the staggered field is transformed instead of the field.
    """

    lattice: Lattice
    is_checkerboard: bool
    center: Float[Array, "dim"]

    def pattern_field(
        self, field: Float[Array, "*batch n_sites"]
    ) -> Float[Array, "*batch n_sites"]:
        """The staggered field of a checkerboard; otherwise the field minus its mean.

        Args:
            field: One scalar per site.

        Returns:
            The field whose correlations measure the order, in units of the field.
        """
        if self.is_checkerboard:
            return staggered_field(field, self.lattice)
        return field - field.mean(axis=-1, keepdims=True)

    def structure_factor(
        self, field: Float[Array, "n_components n_replicas n_sites"]
    ) -> Float[Array, "n_replicas *extent"]:
        """S(q) around `center`, summed over components.

        Args:
            field: Components of the field.

        Returns:
            S(q) of each replica, units of field².
        """
        # A checkerboard on a Bravais lattice is a plane wave, so its own S(q) has the peak.
        # Otherwise the sublattices have to be combined first.
        is_plane_wave = self.is_checkerboard and self.lattice.n_sublattices == 1
        waves = field if is_plane_wave else self.pattern_field(field)
        return structure_factor(waves, self.lattice, self.center).sum(axis=0)

    def parameter(
        self, field: Float[Array, "n_components n_replicas n_sites"]
    ) -> Float[Array, "n_replicas"]:
        """Order parameter of the whole lattice.

        Args:
            field: Components of the field.

        Returns:
            The staggered mean of a scalar field, with its sign; the length of the vector of
            staggered means for several components; |m_Q| where there is no checkerboard. Units of
            the field.
        """
        pattern = self.pattern_field(field)
        if not self.is_checkerboard:
            return np.linalg.norm(order_parameter(pattern, self.lattice, self.center), axis=0)
        means = pattern.mean(axis=-1)
        return means[0] if len(means) == 1 else np.linalg.norm(means, axis=0)

    def __str__(self) -> str:
        if self.is_checkerboard:
            return "checkerboard"
        return f"wave at the peak of S(q): {self.lattice.name} of this extent has no checkerboard"


@dataclass(frozen=True, eq=False)
class QuenchAnalysis:
    """Observables of a quench, frame by frame. Lengths are in units of a, times in ħ/t.

    Correlations and S(q) of a vector field are summed over its components.

    Attributes:
        times: Time of each frame.
        order: The pattern of the order.
        order_parameter: Order parameter of the whole lattice [frame, replica], units of the field.
        neighbor_correlation: C(1)/C(0) of nearest neighbors [frame, replica].
        distances: Distance of each shell, starting at 0.
        correlation: C(r) of the order, mean over replicas [frame, shell], units of field².
        fraction: Value of C(r)/C(0) that defines the domain length.
        lengths: Domain length [frame, replica] by definition, "C(r)" or "S(q)". The first is
            defined only for a checkerboard. NaN or infinite where one domain fills the lattice.
        structure_frames: Indices of the frames for which S(q) is kept.
        structure: S(q) of those frames, mean over replicas [frame, *extent], units of field².
        fits: Power law fitted to each length; empty if the quench is too short.
    """

    times: Float[Array, "n_frames"]
    order: Order
    order_parameter: Float[Array, "n_frames n_replicas"]
    neighbor_correlation: Float[Array, "n_frames n_replicas"]
    distances: Float[Array, "n_shells"]
    correlation: Float[Array, "n_frames n_shells"]
    fraction: float
    lengths: dict[str, Float[Array, "n_frames n_replicas"]]
    structure_frames: Int[Array, "n_kept"]
    structure: Float[Array, "n_kept *extent"]
    fits: dict[str, GrowthFit]


def analyze_quench(
    times: Float[Array, "n_frames"],
    fields: FieldFrames,
    lattice: Lattice,
    window: tuple[float, float] | None = None,
    fraction: float = 0.5,
    structure_frames: Sequence[int] | Int[Array, "n_kept"] = (-1,),
) -> QuenchAnalysis:
    """Compute the observables of a quench into an ordered state, frame by frame.

    Args:
        times: Time of each frame, units ħ/t.
        fields: Fields [frame, replica, site] or [frame, replica, site, component], read frame by
            frame.
        lattice: The lattice of the fields.
        window: First and last time of the growth fit. Default: chosen by `growth_window`.
        fraction: Value of C(r)/C(0) that defines the domain length.
        structure_frames: Frames for which S(q) is kept. Default: the last one.

    Returns:
        The observables and the fits.

    Raises:
        InputError: If there are fewer than two frames after t = 0.
    """
    if np.count_nonzero(times > 0) < 2:
        raise InputError(
            f"times must have at least two frames after t = 0, got {times.tolist()}. Simulate more "
            f"steps."
        )
    order = find_order(fields[len(times) - 1], lattice)
    kept = np.arange(len(times))[np.asarray(structure_frames)]
    observed = [_observe(components(fields[n]), order, fraction) for n in range(len(times))]
    lengths = {"S(q)": np.stack([frame.structure_length for frame in observed])}
    if order.is_checkerboard:  # C(r) of a pattern that alternates in sign does not give a length
        lengths = {"C(r)": np.stack([frame.correlation_length for frame in observed])} | lengths
    return QuenchAnalysis(
        times=times,
        order=order,
        order_parameter=np.stack([frame.order_parameter for frame in observed]),
        neighbor_correlation=np.stack([frame.neighbor_correlation for frame in observed]),
        distances=observed[0].distances,
        correlation=np.stack([frame.correlation for frame in observed]),
        fraction=fraction,
        lengths=lengths,
        structure_frames=kept,
        structure=np.stack(
            [order.structure_factor(components(fields[int(n)])).mean(axis=0) for n in kept]
        ),
        fits=_fit_growth(times, lengths, window, lattice),
    )


def find_order(field: Array, lattice: Lattice) -> Order:
    """Choose the pattern of the order: the checkerboard if the lattice has one, else a plane wave.

    Args:
        field: Field of the last frame [replica, site(, component)], whose S(q) gives the
            wavevector.
        lattice: The lattice of the field.

    Returns:
        The pattern.
    """
    if lattice.is_bipartite:
        is_plane_wave = lattice.n_sublattices == 1
        center = checkerboard_wavevector(lattice) if is_plane_wave else np.zeros(lattice.dim)
        return Order(lattice, True, center)
    unknown = Order(lattice, False, np.zeros(lattice.dim))
    structure = unknown.structure_factor(components(field)).mean(axis=0)
    peak = np.unravel_index(structure.argmax(), lattice.extent)
    return Order(lattice, False, wavevectors(lattice)[peak])


def components(field: Array) -> Float[Array, "n_components *batch n_sites"]:
    """Move the components of a field to the front, in float64; a scalar field gets one component.

    Args:
        field: One frame as a trajectory holds it, [replica, site] or [replica, site, component].

    Returns:
        The field [component, replica, site].
    """
    field = np.asarray(field, dtype=np.float64)
    return field[None] if field.ndim == 2 else np.moveaxis(field, -1, 0)


def growth_window(
    times: Float[Array, "n_frames"], lengths: Float[Array, "n_frames n_replicas"], lattice: Lattice
) -> tuple[float, float] | None:
    """Choose the window of the growth fit: the last decade of time before the finite size matters.

    Frames count until a domain is longer than a sixth of the shortest side. Frames with a domain
    shorter than a bond, where no domains have formed yet, are left out.

    Args:
        times: Time of each frame.
        lengths: Domain lengths, units a.
        lattice: The lattice, for its size and the length of its bonds.

    Returns:
        First and last time, or None if fewer than three frames are left.
    """
    small = (np.isfinite(lengths) & (lengths <= FINITE_SIZE * shortest_side(lattice))).all(axis=1)
    # The first frame with a long domain ends the window for good. At t = 0 the field is random, and
    # a length there means nothing.
    free = np.logical_and.accumulate(small | (times == 0)) & (times > 0)
    if free.sum() < 3:
        return None
    last = float(times[free][-1])
    ordered = (lengths > lattice.neighbor_distance).all(axis=1)
    inside = free & ordered & (times >= last / 10)
    return (float(times[inside][0]), last) if inside.sum() >= 3 else None


@dataclass(frozen=True, eq=False)
class _Observables:
    """Observables of one frame; lengths by both definitions."""

    order_parameter: Float[Array, "n_replicas"]
    neighbor_correlation: Float[Array, "n_replicas"]
    distances: Float[Array, "n_shells"]
    correlation: Float[Array, "n_shells"]
    correlation_length: Float[Array, "n_replicas"]
    structure_length: Float[Array, "n_replicas"]


def _observe(
    field: Float[Array, "n_components n_replicas n_sites"], order: Order, fraction: float
) -> _Observables:
    lattice = order.lattice
    pattern = order.pattern_field(field)
    distances, correlation = radial_correlation(pattern, lattice)
    correlation = correlation.sum(axis=0)
    # C(1) has the sign of the field itself; C(0) is the same with and without the signs of a
    # checkerboard.
    neighbors = nearest_neighbor_correlation(
        field if order.is_checkerboard else pattern, lattice, normalized=False
    )
    cutoff = PEAK_WAVENUMBER / lattice.neighbor_distance
    structure = order.structure_factor(field)
    return _Observables(
        order_parameter=order.parameter(field),
        neighbor_correlation=neighbors.sum(axis=0) / correlation[:, 0],
        distances=distances,
        correlation=correlation.mean(axis=0),
        correlation_length=domain_length(distances, correlation, fraction),
        structure_length=structure_factor_length(
            structure, lattice, order.center, max_wavenumber=cutoff
        ),
    )


def _fit_growth(
    times: Array, lengths: dict[str, Array], window: tuple[float, float] | None, lattice: Lattice
) -> dict[str, GrowthFit]:
    """Fit all lengths in one window, which the first of them decides if none is given."""
    if window is None:
        window = growth_window(times, next(iter(lengths.values())), lattice)
    if window is None:
        return {}
    return {name: growth_exponent(times, values, window) for name, values in lengths.items()}
