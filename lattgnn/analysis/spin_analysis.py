"""Magnetic order along a run of spins in two dimensions: fields in, one typed result out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lattgnn.analysis.alignment import alignment_shares, spin_alignment
from lattgnn.analysis.coarsening import domain_length
from lattgnn.analysis.correlations import radial_correlation, shortest_side
from lattgnn.analysis.growth_law import GrowthLaw, find_growth_law
from lattgnn.analysis.multi_q import multi_q
from lattgnn.analysis.order import PRESENT, Order
from lattgnn.analysis.quench import FINITE_SIZE, FieldFrames
from lattgnn.analysis.skyrmions import find_skyrmions
from lattgnn.analysis.spins import (
    charge_density,
    scalar_chirality,
    spin_structure_factor,
    vector_chirality,
    vorticity,
)
from lattgnn.analysis.triangles import triangles
from lattgnn.lattice import Lattice

Array = np.ndarray
# Below this mean spin there is no background in which single skyrmions could be counted.
LEAST_BACKGROUND = 0.05
ALIGNMENT_BINS = 20  # between −1 and 1


@dataclass(frozen=True, eq=False)
class SpinAnalysis:
    """Magnetic observables of a run, frame by frame. Lengths are in units of a.

    Attributes:
        times: Time of each frame, units ħ/t.
        lattice: The lattice of the spins.
        magnetization: Length of the mean spin [frame, replica].
        scalar_chirality: Mean of χ = S_1·(S_2×S_3) over triangles [frame, replica].
        chirality_strength: Root of the mean of χ² [frame, replica]. It is large where the order is
            chiral, even if domains of both signs cancel in the mean.
        vector_chirality: Length of the mean of κ over triangles of one kind, mean over kinds
            [frame, replica]; of elementary triangles only where there are some. 1 for the 120°
            order.
        vector_chirality_strength: Root of the mean of κ² over the same triangles [frame, replica].
            It is near 1 where the order is that of 120°, even if its plane turns from place to
            place.
        topological_charge: Charge of the whole lattice [frame, replica].
        vortices: Number of vortices and antivortices of the in-plane direction, per site
            [frame, replica].
        skyrmions: Number of skyrmions in the background of the mean spin [frame, replica]; NaN
            where the mean spin is shorter than 0.05.
        skyrmion_radius: Mean radius of their cores [frame, replica]; NaN where there are none.
        wavevectors: Star of wavevectors that is strongest in the last frame, one of Q and −Q for
            each arm, units 1/a.
        arm_weights: Share of each arm in Σ|S|² [frame, replica, arm].
        chirality_length: Length of chirality domains [frame, replica]: NaN in frames without
            chiral order, infinite where one domain fills the lattice.
        chirality_growth: Power law of this length, or why there is none.
        parallel_share: Share of sites with a mean S_i·S_j over neighbors above 1/2
            [frame, replica].
        antiparallel_share: Share of those with a mean below −1/2 [frame, replica].
        alignment_length: Size of regions of equal alignment [frame, replica]; NaN where it is the
            same on all sites.
        structure_frames: Indices of the frames for which S(q) and the histogram are kept.
        structure: S(q) of each spin component in those frames, mean over replicas.
        alignment_histogram: Share of sites by mean S_i·S_j over neighbors, in 20 bins from −1 to 1
            [kept frame, bin], mean over replicas.
    """

    times: Float[Array, "n_frames"]
    lattice: Lattice
    magnetization: Float[Array, "n_frames n_replicas"]
    scalar_chirality: Float[Array, "n_frames n_replicas"]
    chirality_strength: Float[Array, "n_frames n_replicas"]
    vector_chirality: Float[Array, "n_frames n_replicas"]
    vector_chirality_strength: Float[Array, "n_frames n_replicas"]
    topological_charge: Float[Array, "n_frames n_replicas"]
    vortices: Float[Array, "n_frames n_replicas"]
    skyrmions: Float[Array, "n_frames n_replicas"]
    skyrmion_radius: Float[Array, "n_frames n_replicas"]
    wavevectors: Float[Array, "n_arms dim"]
    arm_weights: Float[Array, "n_frames n_replicas n_arms"]
    chirality_length: Float[Array, "n_frames n_replicas"]
    chirality_growth: GrowthLaw
    parallel_share: Float[Array, "n_frames n_replicas"]
    antiparallel_share: Float[Array, "n_frames n_replicas"]
    alignment_length: Float[Array, "n_frames n_replicas"]
    structure_frames: Int[Array, "n_kept"]
    structure: Float[Array, "n_kept 3 *extent"]
    alignment_histogram: Float[Array, "n_kept n_bins"]

    @property
    def n_q(self) -> Float[Array, "n_frames n_replicas"]:
        """Effective number of arms: 1 for a single-Q order, 3 for an equal triple-Q order."""
        whole, square = self.arm_weights.sum(axis=-1), np.square(self.arm_weights).sum(axis=-1)
        return np.asarray(np.square(whole) / np.where(square > 0, square, 1.0))

    @property
    def charge_per_cell(self) -> Float[Array, "n_frames n_replicas"]:
        """Topological charge per unit cell of the lattice."""
        return self.topological_charge / self.lattice.n_cells

    @property
    def intermediate_share(self) -> Float[Array, "n_frames n_replicas"]:
        """Share of sites that are neither parallel nor antiparallel to their neighbors."""
        return 1.0 - self.parallel_share - self.antiparallel_share


def analyze_spins(
    times: Float[Array, "n_frames"],
    fields: FieldFrames,
    lattice: Lattice,
    window: tuple[float, float] | None = None,
    fraction: float = 0.5,
    structure_frames: Sequence[int] | Int[Array, "n_kept"] = (-1,),
) -> SpinAnalysis:
    """Compute the magnetic observables of a run of spins, frame by frame.

    Args:
        times: Time of each frame, units ħ/t.
        fields: Spins [frame, replica, site, 3], read frame by frame.
        lattice: A lattice in two dimensions.
        window: First and last time of the growth fit. Default: chosen by `find_growth_law`.
        fraction: Value of C(r)/C(0) that defines the length of chirality domains.
        structure_frames: Frames for which S(q) and the histogram are kept. Default: the last one.

    Returns:
        The observables and the growth law of chirality domains.

    Raises:
        InputError: If the fields are not spins, or the lattice is not two-dimensional.

    Example:
        >>> from lattgnn.lattice import triangular
        >>> from lattgnn.spin_orders import tetrahedral
        >>> lattice = triangular(4)
        >>> result = analyze_spins(np.zeros(1), tetrahedral().spins(lattice)[None, None], lattice)
        >>> print(result.scalar_chirality[0].round(4), result.n_q[0].round(2))
        [0.7698] [3.]
    """
    star = multi_q(_spins(fields, len(times) - 1), lattice).wavevectors
    kept = np.arange(len(times))[np.asarray(structure_frames)]
    observed = [_observe(_spins(fields, n), lattice, star[0], fraction) for n in range(len(times))]
    stacked = {name: np.stack([frame[name] for frame in observed]) for name in observed[0]}
    largest = FINITE_SIZE["C(r)"] * shortest_side(lattice)
    structures = [spin_structure_factor(_spins(fields, int(n)), lattice).mean(axis=0) for n in kept]
    return SpinAnalysis(
        times=times,
        lattice=lattice,
        **stacked,
        wavevectors=star,
        chirality_growth=find_growth_law(times, stacked["chirality_length"], largest, window),
        structure_frames=kept,
        structure=np.stack(structures),
        alignment_histogram=np.stack([_histogram(_spins(fields, int(n)), lattice) for n in kept]),
    )


def _spins(fields: FieldFrames, frame: int) -> Float[Array, "n_replicas n_sites 3"]:
    return np.asarray(fields[frame], dtype=np.float64)


def _observe(
    spins: Float[Array, "n_replicas n_sites 3"],
    lattice: Lattice,
    wavevector: Array,
    fraction: float,
) -> dict[str, Float[Array, "n_replicas *arms"]]:
    """The observables of one frame, by name."""
    chirality = scalar_chirality(spins, lattice)
    magnetization = np.linalg.norm(spins.mean(axis=1), axis=-1)
    number, radius = _count_skyrmions(spins, lattice, magnetization)
    order, strength = _vector_order(spins, lattice)
    aligned = alignment_shares(spin_alignment(spins, lattice), lattice, fraction)
    return {
        "magnetization": magnetization,
        "scalar_chirality": chirality.mean(axis=-1),
        "chirality_strength": np.sqrt(np.square(chirality).mean(axis=-1)),
        "vector_chirality": order,
        "vector_chirality_strength": strength,
        "topological_charge": charge_density(spins, lattice).sum(axis=-1),
        "vortices": np.abs(vorticity(spins, lattice)).sum(axis=-1) / lattice.n_sites,
        "skyrmions": number,
        "skyrmion_radius": radius,
        "arm_weights": multi_q(spins, lattice, wavevector).weights,
        "chirality_length": _domain_length(chirality, lattice, fraction),
        "parallel_share": aligned.parallel,
        "antiparallel_share": aligned.antiparallel,
        "alignment_length": aligned.length,
    }


def _histogram(spins: Array, lattice: Lattice) -> Float[Array, "n_bins"]:
    """Share of the sites in each bin of their alignment."""
    # Rounding may carry a perfect order across the ends of the range.
    values = spin_alignment(spins, lattice).clip(-1.0, 1.0)
    return np.histogram(values, ALIGNMENT_BINS, (-1.0, 1.0))[0] / values.size


def _vector_order(spins: Array, lattice: Lattice) -> tuple[Array, Array]:
    """|⟨κ⟩| of the triangles of each kind, mean over kinds; and the root of ⟨κ²⟩ [replica].

    In the 120° order of the triangular lattice, κ has opposite signs on its two kinds of triangles,
    which would cancel in a common mean.
    """
    found, chirality = triangles(lattice), vector_chirality(spins, lattice)
    counted = found.elementary if found.elementary.any() else np.ones(len(found), dtype=bool)
    kinds = np.unique(found.kinds[counted])
    means = [chirality[:, found.kinds == kind].mean(axis=1) for kind in kinds]
    square = np.square(chirality[:, counted]).sum(axis=-1)
    return np.linalg.norm(means, axis=-1).mean(axis=0), np.sqrt(square.mean(axis=1))


def _count_skyrmions(spins: Array, lattice: Lattice, magnetization: Array) -> tuple[Array, Array]:
    """Number of skyrmions in each replica, and the mean radius of their cores."""
    number = np.full(len(spins), np.nan)
    radius = np.full(len(spins), np.nan)
    for replica in np.flatnonzero(magnetization >= LEAST_BACKGROUND):
        found = find_skyrmions(spins[replica], lattice)
        number[replica] = len(found)
        if len(found):
            radius[replica] = found.radii.mean()
    return number, radius


def _domain_length(chirality: Array, lattice: Lattice, fraction: float) -> Array:
    """Length of chirality domains; NaN without chiral order, infinite for a single domain.

    The chiralities of different triangles are uncorrelated in random spins, so those of cells are
    white noise, and the share of the order is that of `lattgnn.analysis.order`.
    """
    cells = triangles(lattice)
    values = cells.cell_means(chirality)
    order = Order(cells.cell_lattice, "uniform", np.zeros(lattice.dim), subtracts_mean=False)
    if not order.share(values[None]).mean() >= PRESENT:
        return np.full(len(values), np.nan)
    distances, correlation = radial_correlation(values, cells.cell_lattice)
    length = domain_length(distances, correlation, fraction)
    return np.where(np.isnan(length), np.inf, length)
