"""Order, correlations and growth of domains in a quench: fields in, one typed result out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from lattgnn.analysis.coarsening import domain_length, structure_factor_length
from lattgnn.analysis.correlations import (
    nearest_neighbor_correlation,
    radial_correlation,
    shortest_side,
)
from lattgnn.analysis.growth import GrowthFit
from lattgnn.analysis.growth_law import GrowthLaw, find_growth_law
from lattgnn.analysis.order import PRESENT, Order
from lattgnn.analysis.order_search import candidate_orders, find_order
from lattgnn.lattice import Lattice

Array = np.ndarray
# S(q) has a narrow peak on a flat thermal background. Wavenumbers up to half-way to the zone
# boundary of the square lattice contain the peak and little of the background.
PEAK_WAVENUMBER = math.pi / 2
# Lengths longer than this fraction of the shortest side feel the finite size of the lattice. That
# from S(q) is a period and contains several domains; at half of the side, the peak is two steps of
# the grid of wavevectors wide.
FINITE_SIZE = {"C(r)": 1 / 6, "S(q)": 1 / 2}


@runtime_checkable
class FieldFrames(Protocol):
    """Frames that are read one at a time: an array, or `Trajectory.fields`."""

    def __len__(self) -> int: ...

    def __getitem__(self, frame: int, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class QuenchAnalysis:
    """Observables of a quench, frame by frame. Lengths are in units of a, times in ħ/t.

    Correlations and S(q) of a vector field are summed over its components.

    Attributes:
        times: Time of each frame.
        order: The pattern whose growth is measured.
        candidates: Patterns in the last frame and their shares, largest first.
        share: Share of the pattern in the fluctuations of the field [frame, replica], see
            `lattgnn.analysis.order`.
        order_parameter: Order parameter of the whole lattice [frame, replica], units of the field.
        neighbor_correlation: C(1)/C(0) of nearest neighbors [frame, replica]; NaN for a field
            without fluctuations.
        distances: Distance of each shell, starting at 0.
        correlation: C(r) of the order, mean over replicas [frame, shell], units of field².
        correlation_error: Its standard error over replicas; NaN for one replica.
        fraction: Value of C(r)/C(0) that defines the domain length.
        lengths: Domain length [frame, replica] by definition, "C(r)" or "S(q)". The first is not
            defined for a wave. NaN in frames in which the pattern is not present, infinite where
            one domain fills the lattice.
        structure_frames: Indices of the frames for which S(q) is kept.
        structure: S(q) of those frames, mean over replicas [frame, *extent], units of field².
        growth: Local slope and power law of each length, or why there is no power law.
    """

    times: Float[Array, "n_frames"]
    order: Order
    candidates: list[tuple[Order, float]]
    share: Float[Array, "n_frames n_replicas"]
    order_parameter: Float[Array, "n_frames n_replicas"]
    neighbor_correlation: Float[Array, "n_frames n_replicas"]
    distances: Float[Array, "n_shells"]
    correlation: Float[Array, "n_frames n_shells"]
    correlation_error: Float[Array, "n_frames n_shells"]
    fraction: float
    lengths: dict[str, Float[Array, "n_frames n_replicas"]]
    structure_frames: Int[Array, "n_kept"]
    structure: Float[Array, "n_kept *extent"]
    growth: dict[str, GrowthLaw]

    @property
    def fits(self) -> dict[str, GrowthFit]:
        """The power laws that were found, by length."""
        found = {name: law.fit for name, law in self.growth.items()}
        return {name: fit for name, fit in found.items() if fit is not None}

    @property
    def is_ordered(self) -> bool:
        """Whether the pattern is present in the last frame."""
        return bool(self.share[-1].mean() >= PRESENT)


def analyze_quench(
    times: Float[Array, "n_frames"],
    fields: FieldFrames,
    lattice: Lattice,
    window: tuple[float, float] | None = None,
    fraction: float = 0.5,
    structure_frames: Sequence[int] | Int[Array, "n_kept"] = (-1,),
    subtracts_mean: bool = True,
) -> QuenchAnalysis:
    """Compute the observables of a quench into an ordered state, frame by frame.

    Args:
        times: Time of each frame, units ħ/t.
        fields: Fields [frame, replica, site] or [frame, replica, site, component], read frame by
            frame.
        lattice: The lattice of the fields.
        window: First and last time of the growth fit. Default: chosen by `find_growth_law`.
        fraction: Value of C(r)/C(0) that defines the domain length.
        structure_frames: Frames for which S(q) is kept. Default: the last one.
        subtracts_mean: Whether a uniform field counts as no order: true for displacements, false
            for spins.

    Returns:
        The observables and the fits.

    Raises:
        InputError: If a window is given that does not ascend, or lies outside the run.
    """
    last = components(fields[len(times) - 1])
    order = find_order(last, lattice, subtracts_mean)
    kept = np.arange(len(times))[np.asarray(structure_frames)]
    observed = [_observe(components(fields[n]), order, fraction) for n in range(len(times))]
    stacked = {
        name: np.stack([getattr(frame, name) for frame in observed])
        for name in _Observables.__dataclass_fields__
    }
    lengths = {"S(q)": stacked.pop("structure_length")}
    correlation_length = stacked.pop("correlation_length")
    if order.has_domains:  # C(r) of a wave alternates in sign and gives no length
        lengths = {"C(r)": correlation_length} | lengths
    return QuenchAnalysis(
        times=times,
        order=order,
        candidates=candidate_orders(last, lattice, subtracts_mean),
        distances=stacked.pop("distances")[0],
        **stacked,
        fraction=fraction,
        lengths=lengths,
        structure_frames=kept,
        structure=np.stack(
            [order.structure_factor(components(fields[int(n)])).mean(axis=0) for n in kept]
        ),
        growth={
            name: find_growth_law(times, values, FINITE_SIZE[name] * shortest_side(lattice), window)
            for name, values in lengths.items()
        },
    )


def components(field: Array) -> Float[Array, "n_components *batch n_sites"]:
    """Move the components of a field to the front, in float64; a scalar field gets one component.

    Args:
        field: One frame as a trajectory holds it, [replica, site] or [replica, site, component].

    Returns:
        The field [component, replica, site].
    """
    field = np.asarray(field, dtype=np.float64)
    return field[None] if field.ndim == 2 else np.moveaxis(field, -1, 0)


@dataclass(frozen=True, eq=False)
class _Observables:
    """Observables of one frame; lengths by both definitions."""

    share: Float[Array, "n_replicas"]
    order_parameter: Float[Array, "n_replicas"]
    neighbor_correlation: Float[Array, "n_replicas"]
    distances: Float[Array, "n_shells"]
    correlation: Float[Array, "n_shells"]
    correlation_error: Float[Array, "n_shells"]
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
    neighbors = nearest_neighbor_correlation(order.centered(field), lattice, normalized=False)
    share, zero = order.share(field), correlation[:, 0]
    n = len(share)
    error = correlation.std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else np.nan * correlation[0]
    with np.errstate(invalid="ignore", divide="ignore"):  # C(0) = 0 of a uniform field
        ratio = np.where(zero > 0, neighbors.sum(axis=0) / zero, np.nan)
        from_correlation = domain_length(distances, correlation, fraction)
    cutoff = PEAK_WAVENUMBER / lattice.neighbor_distance
    structure = order.structure_factor(field)
    from_structure = structure_factor_length(
        structure, lattice, order.center, max_wavenumber=cutoff
    )
    # There is no length of an order that is not there, and C(r) of a single domain has no crossing.
    present = bool(share.mean() >= PRESENT)
    single = np.where(np.isnan(from_correlation), np.inf, from_correlation)
    return _Observables(
        share=share,
        order_parameter=order.parameter(field),
        neighbor_correlation=ratio,
        distances=distances,
        correlation=correlation.mean(axis=0),
        correlation_error=error,
        correlation_length=single if present else np.full(n, np.nan),
        structure_length=from_structure if present else np.full(n, np.nan),
    )
