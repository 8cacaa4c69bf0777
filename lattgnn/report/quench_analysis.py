"""Gather the observables of a quench into a checkerboard state from a trajectory."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lattgnn import analysis
from lattgnn.dynamics import Trajectory
from lattgnn.lattice import Lattice

Array = np.ndarray
# The thermal background of S(q) is flat, the ordering peak narrow: half-way to the zone boundary parts them.
PEAK_WAVENUMBER = math.pi / 2
FINITE_SIZE = 1 / 6  # domains longer than this part of the shortest side feel the boundary


def analyze(
    trajectory: Trajectory, window: tuple[float, float] | None = None, fraction: float = 0.5
) -> dict[str, Any]:
    """Observables of a quench into a checkerboard state, frame by frame.

    Args:
        trajectory: of a field on a bipartite lattice. Correlations and S(q) of a vector are summed over its
            components, and its order parameter is the length of the vector.
        window: first and last time of the growth fit; `growth_window` chooses if not given.
        fraction: level of C(r)/C(0) that defines the domain length.

    Returns:
        times [frame]; order_parameter, neighbor_correlation (C(1)/C(0) of the raw field) and lengths["C(r)"],
        lengths["S(q)"], all [frame, replica]; distances, and correlation [frame, shell], the mean over
        replicas; shown, the frames of the pictures, and structure, S(q) of those; center, their wavevector;
        fits, GrowthFit by name of the length; metrics, the numbers to keep.

    Raises:
        ValueError: a lattice that is not bipartite, or too few frames after t = 0.
    """
    lattice = trajectory.lattice
    if np.count_nonzero(trajectory.times > 0) < 2:
        raise ValueError(
            f"trajectory must have two frames after t = 0, got times {trajectory.times.tolist()}. Run on."
        )
    plane_wave = lattice.n_sublattices == 1
    center = analysis.checkerboard_wavevector(lattice) if plane_wave else np.zeros(lattice.dim)
    shown = picture_frames(trajectory.times)
    cutoff = PEAK_WAVENUMBER / lattice.neighbor_distance
    rows: dict[str, list[Array]] = {name: [] for name in ("m", "c1", "c", "from_c", "from_s")}
    structures: dict[int, Array] = {}
    for frame in range(len(trajectory.times)):
        field = components(trajectory.fields[frame])
        staggered = analysis.staggered_field(field, lattice)
        distances, correlation = analysis.radial_correlation(staggered, lattice)
        correlation = correlation.sum(axis=0)
        structure = analysis.structure_factor(field if plane_wave else staggered, lattice, center).sum(axis=0)
        order = staggered.mean(axis=-1)
        neighbors = analysis.nearest_neighbor_correlation(field, lattice, normalized=False).sum(axis=0)
        if frame in shown:
            structures[frame] = structure.mean(axis=0)
        rows["m"].append(order[0] if len(order) == 1 else np.linalg.norm(order, axis=0))
        rows["c1"].append(neighbors / correlation[:, 0])
        rows["c"].append(correlation.mean(axis=0))
        rows["from_c"].append(analysis.domain_length(distances, correlation, fraction))
        rows["from_s"].append(
            analysis.structure_factor_length(structure, lattice, center, max_wavenumber=cutoff)
        )
    series = {name: np.stack(values) for name, values in rows.items()}
    lengths = {"C(r)": series["from_c"], "S(q)": series["from_s"]}
    fits = _fits(trajectory.times, lengths, window, lattice)
    result = {
        "times": trajectory.times,
        "order_parameter": series["m"],
        "neighbor_correlation": series["c1"],
        "distances": distances,
        "correlation": series["c"],
        "fraction": fraction,
        "lengths": lengths,
        "shown": shown,
        "structure": np.stack([structures[frame] for frame in shown]),
        "center": center,
        "fits": fits,
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

    Args:
        fields: frames [frame, site(, component)] of one replica.
        lattice: its geometry.
    """
    order = analysis.local_order(components(fields), lattice)
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
    chosen = growth_window(times, lengths["C(r)"], lattice) if window is None else window
    if chosen is None:
        return {}
    return {name: analysis.growth_exponent(times, values, chosen) for name, values in lengths.items()}


def _metrics(trajectory: Trajectory, result: dict[str, Any]) -> dict[str, Any]:
    """Numbers worth keeping, in plain JSON types; None where there is none."""
    fits: dict[str, Any] = {}
    for name, key in (("C(r)", "from_correlation"), ("S(q)", "from_structure_factor")):
        last = result["lengths"][name][-1]
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
        np.mean([np.square(trajectory.momenta[int(frame)], dtype=np.float64).mean() for frame in frames])
        / mass
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
