"""Gather the observables of a quench into an ordered state from a trajectory."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lattgnn import analysis
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

Array = np.ndarray
# The thermal background of S(q) is flat, the ordering peak narrow: half-way to the zone boundary parts them.
PEAK_WAVENUMBER = math.pi / 2
FINITE_SIZE = 1 / 6  # domains longer than this part of the shortest side feel the boundary


@dataclass(frozen=True, eq=False)
class Order:
    """What a field orders into: the checkerboard, or where there is none the wave at the peak of S(q).

    Attributes:
        lattice: the sites.
        is_checkerboard: whether the lattice, with its boundary, has two colours.
        center: wavevector around which S(q) is looked at, units 1/a.
    """

    lattice: Lattice
    is_checkerboard: bool
    center: Float[Array, "dim"]

    @classmethod
    def of(cls, trajectory: Trajectory) -> "Order":
        """The checkerboard if the lattice has one, else the largest S(q) of the last frame."""
        lattice = trajectory.lattice
        if lattice.is_bipartite:
            plane_wave = lattice.n_sublattices == 1
            center = (
                analysis.checkerboard_wavevector(lattice) if plane_wave else np.zeros(lattice.dim)
            )
            return cls(lattice, True, center)
        order = cls(lattice, False, np.zeros(lattice.dim))
        structure = order.structure(components(trajectory.fields[-1])).mean(axis=0)
        peak = np.unravel_index(structure.argmax(), lattice.extent)
        return cls(lattice, False, analysis.wavevectors(lattice)[peak])

    def of_sites(self, field: Float[Array, "*batch n_sites"]) -> Float[Array, "*batch n_sites"]:
        """The staggered field, or the field less its mean."""
        if self.is_checkerboard:
            return analysis.staggered_field(field, self.lattice)
        return field - field.mean(axis=-1, keepdims=True)

    def structure(
        self, field: Float[Array, "components n_replicas n_sites"]
    ) -> Float[Array, "..."]:
        """S(q) of each replica, summed over components."""
        plane_wave = self.is_checkerboard and self.lattice.n_sublattices == 1
        waves = field if plane_wave else self.of_sites(field)
        return analysis.structure_factor(waves, self.lattice, self.center).sum(axis=0)

    def parameter(
        self, field: Float[Array, "components n_replicas n_sites"]
    ) -> Float[Array, "n_replicas"]:
        """Order parameter of the whole lattice; its sign is kept for the checkerboard of a scalar."""
        if not self.is_checkerboard:
            waves = analysis.order_parameter(self.of_sites(field), self.lattice, self.center)
            return np.linalg.norm(waves, axis=0)
        order = self.of_sites(field).mean(axis=-1)
        return order[0] if len(order) == 1 else np.linalg.norm(order, axis=0)

    def __str__(self) -> str:
        if self.is_checkerboard:
            return "checkerboard"
        return f"wave at the peak of S(q): {self.lattice.name} of this extent has no checkerboard"


def analyze(
    trajectory: Trajectory, window: tuple[float, float] | None = None, fraction: float = 0.5
) -> dict[str, Any]:
    """Observables of a quench into an ordered state, frame by frame.

    On a lattice of two colours order means the checkerboard. On any other it means the wave at the largest
    S(q) of the last frame, the mean of the field taken off: correlations are those of that field, and the
    length from C(r), which tells nothing of an order that alternates, is left out.

    Args:
        trajectory: of a field on any lattice. Correlations and S(q) of a vector are summed over its
            components, and its order parameter is the length of the vector.
        window: first and last time of the growth fit; `growth_window` chooses if not given.
        fraction: level of C(r)/C(0) that defines the domain length.

    Returns:
        times [frame]; order, an `Order`; order_parameter, neighbor_correlation (C(1)/C(0) of the field) and
        lengths["C(r)"], lengths["S(q)"], all [frame, replica]; distances, and correlation [frame, shell], the
        mean over replicas; shown, the frames of the pictures, and structure, S(q) of those; center, their
        wavevector; fits, GrowthFit by name of the length; metrics, the numbers to keep.

    Raises:
        ValueError: too few frames after t = 0.
    """
    lattice = trajectory.lattice
    if np.count_nonzero(trajectory.times > 0) < 2:
        raise InputError(
            f"trajectory must have two frames after t = 0, got times {trajectory.times.tolist()}. Run on."
        )
    order, shown = Order.of(trajectory), picture_frames(trajectory.times)
    cutoff = PEAK_WAVENUMBER / lattice.neighbor_distance
    rows: dict[str, list[Array]] = {name: [] for name in ("m", "c1", "c", "C(r)", "S(q)")}
    structures: dict[int, Array] = {}
    for frame in range(len(trajectory.times)):
        field = components(trajectory.fields[frame])
        local = order.of_sites(field)
        distances, correlation = analysis.radial_correlation(local, lattice)
        correlation = correlation.sum(axis=0)
        structure = order.structure(field)
        raw = field if order.is_checkerboard else local
        neighbors = analysis.nearest_neighbor_correlation(raw, lattice, normalized=False).sum(
            axis=0
        )
        if frame in shown:
            structures[frame] = structure.mean(axis=0)
        rows["m"].append(order.parameter(field))
        rows["c1"].append(neighbors / correlation[:, 0])
        rows["c"].append(correlation.mean(axis=0))
        rows["C(r)"].append(analysis.domain_length(distances, correlation, fraction))
        rows["S(q)"].append(
            analysis.structure_factor_length(
                structure, lattice, order.center, max_wavenumber=cutoff
            )
        )
    series = {name: np.stack(values) for name, values in rows.items()}
    lengths = {
        name: series[name] for name in ("C(r)", "S(q)") if order.is_checkerboard or name == "S(q)"
    }
    result = {
        "times": trajectory.times,
        "order": order,
        "order_parameter": series["m"],
        "neighbor_correlation": series["c1"],
        "distances": distances,
        "correlation": series["c"],
        "fraction": fraction,
        "lengths": lengths,
        "shown": shown,
        "structure": np.stack([structures[frame] for frame in shown]),
        "center": order.center,
        "fits": _fits(trajectory.times, lengths, window, lattice),
    }
    return result | {"metrics": _metrics(trajectory, result)}


def components(field: Array) -> Float[Array, "n_components *batch n_sites"]:
    """A field [*batch, n_sites] or [*batch, n_sites, n_components] with its components first, in float64.

    Args:
        field: frames or replicas as a trajectory holds them: [replica, site(, component)].
    """
    field = np.asarray(field, dtype=np.float64)
    return field[None] if field.ndim == 2 else np.moveaxis(field, -1, 0)


def order_maps(fields: Array, lattice: Lattice) -> Float[Array, "n_frames n_sites"]:
    """Local order for pictures; of a vector its part along the axis that carries most of the last frame's.

    The staggered difference from the neighbours, or where there is no checkerboard the field less its mean.

    Args:
        fields: frames [frame, site(, component)] of one replica.
        lattice: its geometry.
    """
    field = components(fields)
    if lattice.is_bipartite:
        order = analysis.local_order(field, lattice)
    else:
        order = field - field.mean(axis=-1, keepdims=True)
    axis = np.linalg.eigh(order[:, -1] @ order[:, -1].T)[1][:, -1]
    return np.tensordot(axis * np.sign(axis[np.abs(axis).argmax()]), order, axes=1)


def picture_frames(times: Float[Array, "n_frames"], n: int = 8) -> Int[Array, "n_shown"]:
    """Frames spread evenly in log t over the last three decades, the last one included.

    Args:
        times: of all frames.
        n: at most this many.
    """
    last = times[-1]
    positive = times[times > 0]
    if len(positive) == 0:
        return np.array([len(times) - 1])
    wanted = np.geomspace(max(positive[0], last / 1000), last, n)
    return np.unique(np.abs(times[:, None] - wanted).argmin(axis=0))


def shortest_side(lattice: Lattice) -> float:
    """Length of the shortest edge of the lattice, units a."""
    return float((np.linalg.norm(lattice.primitive_vectors, axis=1) * lattice.extent).min())


def growth_window(
    times: Float[Array, "n_frames"], lengths: Float[Array, "n_frames n_replicas"], lattice: Lattice
) -> tuple[float, float] | None:
    """Last decade of time before domains feel the size of the lattice (a sixth of its shortest side).

    Frames whose domains are shorter than a bond are no domains and are left out.

    Args:
        times: of all frames.
        lengths: domain lengths, units a.
        lattice: its size is used.

    Returns:
        First and last time, or None if fewer than three frames are left.
    """
    free = (np.isfinite(lengths) & (lengths <= FINITE_SIZE * shortest_side(lattice))).all(axis=1)
    free = np.logical_and.accumulate(free | (times == 0)) & (times > 0)
    if free.sum() < 3:
        return None
    last = float(times[free][-1])
    ordered = (lengths > lattice.neighbor_distance).all(axis=1)
    inside = free & ordered & (times >= last / 10)
    return (float(times[inside][0]), last) if inside.sum() >= 3 else None


def _fits(
    times: Array, lengths: dict[str, Array], window: tuple[float, float] | None, lattice: Lattice
) -> dict[str, analysis.GrowthFit]:
    first = next(iter(lengths.values()))
    chosen = growth_window(times, first, lattice) if window is None else window
    if chosen is None:
        return {}
    return {
        name: analysis.growth_exponent(times, values, chosen) for name, values in lengths.items()
    }


def _metrics(trajectory: Trajectory, result: dict[str, Any]) -> dict[str, Any]:
    """Numbers worth keeping, in plain JSON types; None where there is none."""
    fits: dict[str, Any] = {}
    keys = {"C(r)": "from_correlation", "S(q)": "from_structure_factor"}
    for name, lengths in result["lengths"].items():
        key, last = keys[name], lengths[-1]
        fits[f"final_length_{key}"] = (
            _number(last.mean()) if (last < shortest_side(trajectory.lattice)).all() else None
        )
        if name in result["fits"]:
            fit = result["fits"][name]
            fits[f"growth_exponent_{key}"] = fit.exponent
            fits[f"growth_interval_{key}"] = [_number(x) for x in fit.interval]
            fits["growth_window"] = list(fit.window)
    return {
        "n_sites": trajectory.lattice.n_sites,
        "n_replicas": trajectory.fields.shape[1],
        "n_frames": len(result["times"]),
        "final_step": int(trajectory.steps[-1]),
        "final_time": float(result["times"][-1]),
        "order": str(result["order"]),
        "ordering_wavevector": result["center"].tolist(),
        "final_order_parameter": float(np.abs(result["order_parameter"][-1]).mean()),
        "final_neighbor_correlation": float(result["neighbor_correlation"][-1].mean()),
        "kinetic_temperature": _kinetic_temperature(trajectory),
        **fits,
    }


def _kinetic_temperature(trajectory: Trajectory) -> float | None:
    """⟨p²⟩/m over the last half of the time, None for a dynamics without momentum."""
    mass = trajectory.config["integrator"]["init_args"].get("mass")
    if mass is None:
        return None
    frames = np.flatnonzero(trajectory.times >= trajectory.times[-1] / 2)
    return float(
        np.mean(
            [np.square(trajectory.momenta[int(frame)], dtype=np.float64).mean() for frame in frames]
        )
        / mass
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
