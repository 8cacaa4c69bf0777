"""Pictures of the structure factor: maps of one zone, and cuts along lines of high symmetry."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from lattgnn.analysis import Cut
from lattgnn.lattice import Lattice
from lattgnn.report.style import (
    COLUMN,
    DPI,
    FAINT,
    PAGE,
    new_axes,
    plain_log_ticks,
    styled,
    time_colors,
)

Array = np.ndarray
# S(q) below this fraction of its peak is a rounding error in float64.
ROUNDING = 1e-12


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
    # A uniform field has no S(q) away from q = 0; any scale will do where nothing is drawn.
    positive = structures[structures > 0]
    low, top = (positive.min(), positive.max()) if len(positive) else (1e-6, 1.0)
    norm = LogNorm(max(float(top) * 1e-6, float(low)), float(top))
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
def cut_plot(
    cuts: Sequence[Cut],
    errors: Sequence[Float[Array, "n_points"]],
    times: Sequence[float] | Float[Array, "n_times"],
) -> Figure:
    """Draw S(q) along a path of high symmetry at several times, on a logarithmic scale.

    Args:
        cuts: One cut per time, of the mean over replicas.
        errors: Standard error of each value over replicas; NaN for one replica.
        times: Time of each cut.
    """
    figure, axes = new_axes(COLUMN, 3.0)
    for color, cut, error, t in zip(time_colors(len(cuts)), cuts, errors, times, strict=True):
        label = rf"${t:.4g}$"
        # Values this far below the peak are rounding errors: S(0) of a field without its mean, and
        # all of S(q) but the peaks of a perfect order, of which S(0) can be one. They leave a gap,
        # and the dots show a peak between two gaps.
        shown = cut.structure > ROUNDING * cut.structure.max()
        x, y = cut.position, np.where(shown, cut.structure, np.nan)
        dots = {"marker": "o", "markersize": 2.0, "clip_on": False}
        axes.plot(x, y, color=color, label=label, linewidth=1.0, **dots)
        if np.isfinite(error).all():
            # On a logarithmic scale the lower end of an error bar must stay positive.
            low, high = np.maximum(y - error, 0.05 * y), y + error
            axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    path, corners = cuts[0].path, cuts[0].corners
    for corner in corners[1:-1]:
        axes.axvline(corner, color=FAINT, linewidth=0.6)
    names = [r"$\Gamma$" if name == "Γ" else rf"$\mathrm{{{name}}}$" for name in path.names]
    axes.set_xticks(corners, names)
    axes.tick_params(axis="x", length=0, which="both")
    axes.set(
        xlim=(corners[0], corners[-1]),
        ylabel=r"$S(\mathbf{q},t)$ (field$^2$)",
        xlabel=r"wavevector $\mathbf{q}$",
    )
    if all(np.any(cut.structure > 0) for cut in cuts):
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.3)  # space for the legend
        plain_log_ticks(axes)
    # An opaque ground hides the vertical lines behind the legend.
    opaque = {"frameon": True, "framealpha": 1.0, "facecolor": "white", "edgecolor": "none"}
    axes.legend(title=r"time $t$", ncols=3, loc="upper center", **opaque)
    return figure
