"""Pictures of a quench: domains, their growth, correlations and the structure factor."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection, QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from lattgnn.analysis import GrowthFit
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.report.style import (
    COLORS,
    COLUMN,
    DIVERGING,
    DPI,
    FAINT,
    INK,
    MARKERS,
    PAGE,
    SEQUENTIAL,
    TIME,
    new_axes,
    plain_log_ticks,
    styled,
)

Array = np.ndarray


@styled
def length_plot(
    times: Float[Array, "n_frames"],
    lengths: Mapping[str, Float[Array, "n_frames n_replicas"]],
    fits: Mapping[str, GrowthFit] | None = None,
    reference_slope: float | None = 0.5,
) -> Figure:
    """Draw domain lengths against time, log-log, with fitted power laws and a reference slope.

    Args:
        times: Time of each frame.
        lengths: Length [frame, replica] by name, units a. The mean and its standard error are
            drawn.
        fits: Results of `growth_exponent` by the same names.
        reference_slope: Exponent of the gray guide, 1/2 for domain walls driven by curvature. None
            for no guide.
    """
    figure, axes = new_axes(COLUMN, 3.0)
    fits = {} if fits is None else fits
    for color, marker, (name, values) in zip(COLORS, MARKERS, lengths.items(), strict=False):
        shown = (times > 0) & np.isfinite(values).all(axis=1)
        t, mean, n = times[shown], values[shown].mean(axis=1), values.shape[1]
        error = values[shown].std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else None
        label = name + (_exponent_text(fits[name]) if name in fits else "")
        points = {"fmt": marker, "color": color, "markerfacecolor": "white", "elinewidth": 0.8}
        axes.errorbar(t, mean, error, label=label, **points)
        if name in fits:
            ends = np.array(fits[name].window)
            axes.plot(ends, fits[name](ends), color=INK, linewidth=1.1, zorder=3)
    axes.set(xscale="log", yscale="log", xlabel=TIME, ylabel=r"domain length $L\;(a)$")
    if reference_slope is not None and fits:
        fit = min(fits.values(), key=lambda f: f.prefactor)
        ends = np.array(fit.window)
        middle = np.sqrt(ends.prod())
        guide = 0.6 * float(fit(np.array([middle]))[0]) * (ends / middle) ** reference_slope
        power = Fraction(reference_slope).limit_denominator(10)
        axes.plot(ends, guide, color=FAINT, linewidth=1.0, linestyle="--")
        place = {"xytext": (4, -2), "textcoords": "offset points", "color": FAINT, "va": "top"}
        axes.annotate(rf"$t^{{{power}}}$", (float(middle), float(np.sqrt(guide.prod()))), **place)
    axes.set_ylim(top=axes.get_ylim()[1] * 3)  # space for the legend
    plain_log_ticks(axes)
    axes.legend(loc="upper left")
    return figure


def _exponent_text(fit: GrowthFit) -> str:
    text = rf": $\alpha={fit.exponent:.2f}$"
    if np.isfinite(fit.interval).all():
        text += rf" $[{fit.interval[0]:.2f},\,{fit.interval[1]:.2f}]$"
    return text


@styled
def correlation_plot(
    distances: Float[Array, "n_shells"],
    correlations: Float[Array, "n_times n_shells"],
    times: Float[Array, "n_times"],
    lengths: Float[Array, "n_times"],
    fraction: float = 0.5,
) -> Figure:
    """Draw C(r)/C(0) at several times, against r and against r/L(t).

    With dynamical scaling, the curves of the second panel coincide.

    Args:
        distances: Distance of each shell, units a. Beyond 5 a, averages over rings of width a are
            drawn.
        correlations: C(r) at each time.
        times: Time of each curve.
        lengths: Domain length at each time, units a. NaN leaves the curve out of the scaled panel.
        fraction: Value of C(r)/C(0) that defines L, drawn as a line.
    """
    figure = Figure(figsize=(PAGE, 2.8), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for color, t, values, length in zip(
        _time_colors(len(times)), times, correlations, lengths, strict=True
    ):
        r, ratio = _rings(distances, values / values[0])
        left.plot(r, ratio, color=color, label=rf"${t:.4g}$")
        if np.isfinite(length):
            right.plot(r / length, ratio, color=color)
    for axes in (left, right):
        axes.axhline(0, color=FAINT, linewidth=0.6)
        axes.axhline(fraction, color=FAINT, linewidth=0.6, linestyle=":")
    left.set(xlabel=r"distance $r\;(a)$", ylabel=r"$C(r,t)\,/\,C(0,t)$", xlim=(0, distances[-1]))
    right.set(xlabel=r"scaled distance $r/L(t)$", xlim=(0, 5))
    left.legend(title=r"time $t$", ncols=2, columnspacing=1.0)
    return figure


def _rings(distances: Array, values: Array, first: float = 5.0) -> tuple[Array, Array]:
    """Average C over rings of width a beyond `first`, where shells are dense; nearer ones stay."""
    ring = np.where(
        distances < first, np.arange(len(distances)), len(distances) + np.round(distances)
    )
    ring = np.unique(ring, return_inverse=True)[1]
    counts = np.bincount(ring)
    return np.bincount(ring, distances) / counts, np.bincount(ring, values) / counts


def _time_colors(n: int) -> Float[Array, "n 4"]:
    """Colors from dark (early) to light (late), without the palest end."""
    return ScalarMappable(Normalize(0, 1), SEQUENTIAL).to_rgba(np.linspace(0.0, 0.88, n))


@styled
def structure_factor_map(
    structures: Float[Array, "n_times n_x n_y"],
    lattice: Lattice,
    times: Sequence[float] | Float[Array, "n_times"],
    center: Sequence[float] | Float[Array, "2"],
) -> Figure:
    """Draw S(q) in one zone around the ordering wavevector at several times, on one log scale.

    Args:
        structures: S(q) of `structure_factor` with the same center, mean over replicas, units of
            field².
        lattice: A lattice in two dimensions.
        times: Time of each panel.
        center: Wavevector in the middle, units 1/a.
    """
    figure = Figure(
        figsize=(PAGE, 0.62 * PAGE / max(2, len(times)) + 0.9), dpi=DPI, layout="constrained"
    )
    panels = figure.subplots(1, len(times), squeeze=False, sharey=True)[0]
    top = float(structures.max())
    norm = LogNorm(max(top * 1e-6, float(structures[structures > 0].min())), top)
    middle = np.asarray(center, dtype=np.float64)
    corners = _zone_corners(lattice, middle)
    for axes, values, t in zip(panels, structures, times, strict=True):
        order = _zone_order(lattice, middle)
        mesh = axes.pcolormesh(*corners, values[order], norm=norm, cmap="magma", rasterized=True)
        axes.set(aspect="equal", title=rf"$t={t:.4g}$", xlabel=r"$q_x a$")
        _pi_ticks(axes, corners)
    panels[0].set_ylabel(r"$q_y a$")
    figure.colorbar(mesh, ax=list(panels), label=r"$S(\mathbf{q},t)$", pad=0.015, aspect=22)
    return figure


def _reciprocal(lattice: Lattice) -> Float[Array, "2 2"]:
    return 2 * np.pi * np.linalg.inv(np.asarray(lattice.primitive_vectors, dtype=np.float64)).T


def _zone_start(lattice: Lattice, center: Array) -> list[int]:
    """First index along each axis of the parallelogram of wavevectors around the centre."""
    middle = np.linalg.solve(_reciprocal(lattice).T, center) * lattice.extent
    return [int(np.ceil(m - n / 2)) for m, n in zip(middle, lattice.extent, strict=True)]


def _zone_order(lattice: Lattice, center: Array) -> tuple[Array, ...]:
    starts = _zone_start(lattice, center)
    return np.ix_(*(np.arange(s, s + n) % n for s, n in zip(starts, lattice.extent, strict=True)))


def _zone_corners(lattice: Lattice, center: Array) -> tuple[Array, Array]:
    edges = [
        (s - 0.5 + np.arange(n + 1)) / n
        for s, n in zip(_zone_start(lattice, center), lattice.extent, strict=True)
    ]
    q = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1) @ _reciprocal(lattice)
    return q[..., 0], q[..., 1]


def _pi_ticks(axes: Axes, corners: tuple[Array, Array]) -> None:
    for axis, values in zip((axes.xaxis, axes.yaxis), corners, strict=True):
        first, last = np.ceil((values.min() - 0.1) / np.pi), np.floor((values.max() + 0.1) / np.pi)
        numbers = np.arange(first, last + 1)
        names = {0: "0", 1: r"$\pi$", -1: r"$-\pi$"}
        axis.set_ticks(numbers * np.pi, [names.get(int(k), rf"${int(k)}\pi$") for k in numbers])
    axes.tick_params(color="white", which="both")


@styled
def snapshot_panel(
    fields: Float[Array, "n_times n_sites"],
    lattice: Lattice,
    times: Sequence[float] | Float[Array, "n_times"],
    label: str = r"local order $\phi_i$",
    columns: int = 4,
) -> Figure:
    """Draw domains at several times side by side, on the color scale of the last one.

    Args:
        fields: One scalar per site and time, such as `local_order`.
        lattice: A lattice in two dimensions.
        times: Time of each panel.
        label: Label of the color bar, with the unit.
        columns: Number of panels per row.

    Raises:
        InputError: If the lattice is not two-dimensional.
    """
    if lattice.dim != 2:
        raise InputError(
            f"lattice must have two dimensions for pictures of its field, got {lattice.dim}."
        )
    columns = min(columns, len(times))
    rows = -(-len(times) // columns)
    width, height = np.ptp(lattice.positions, axis=0) + lattice.neighbor_distance
    panel = 0.89 * PAGE / columns * float(np.clip(height / width, 0.4, 2.5))
    figure = Figure(figsize=(PAGE, rows * (panel + 0.22)), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    norm = order_scale(fields[-1])
    for axes, values, t in zip(panels, fields, times, strict=False):
        mesh = draw_field(axes, values, lattice, norm)
        axes.set_title(rf"$t={t:.4g}$", pad=3)
    for axes in panels[len(times) :]:
        axes.remove()
    figure.colorbar(
        mesh, ax=list(panels[: len(times)]), label=label, pad=0.012, aspect=20 * rows, extend="both"
    )
    return figure


def order_scale(values: Float[Array, "n_sites"]) -> Normalize:
    """Make a color scale, symmetric about zero, from the 98th percentile of |values|.

    Args:
        values: Values of the last snapshot. Those of the random start can be far larger.

    Returns:
        The scale.
    """
    limit = float(np.quantile(np.abs(values), 0.98))
    return Normalize(-limit, limit)


def draw_field(
    axes: Axes, values: Float[Array, "n_sites"], lattice: Lattice, norm: Normalize
) -> QuadMesh | EllipseCollection:
    """Draw one scalar per site, as colored unit cells on a Bravais lattice and as discs otherwise.

    Args:
        axes: Where to draw. Its ticks are removed.
        values: The scalars.
        lattice: A lattice in two dimensions.
        norm: The color scale.

    Returns:
        The drawn object, for a color bar.
    """
    axes.set(aspect="equal", xticks=[], yticks=[])
    if lattice.n_sublattices == 1:
        edges = [np.arange(n + 1) - 0.5 for n in lattice.extent]
        xy = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1) @ np.asarray(
            lattice.primitive_vectors
        )
        grid = values.reshape(lattice.extent)
        return axes.pcolormesh(
            xy[..., 0], xy[..., 1], grid, norm=norm, cmap=DIVERGING, rasterized=True
        )
    size = np.full(lattice.n_sites, lattice.neighbor_distance)
    discs = EllipseCollection(
        size,
        size,
        np.zeros_like(size),
        units="xy",
        offsets=lattice.positions,
        offset_transform=axes.transData,
    )
    discs.set(array=values, norm=norm, cmap=DIVERGING, linewidth=0, rasterized=True)
    axes.add_collection(discs)
    low, high = lattice.positions.min(0), lattice.positions.max(0)
    axes.set(xlim=(low[0] - 0.6, high[0] + 0.6), ylim=(low[1] - 0.6, high[1] + 0.6))
    return discs
