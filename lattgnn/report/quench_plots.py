"""Pictures of a quench: domains and correlations."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, PolyCollection, QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.report.cells import Polygons, draw_polygons, is_rectangular, wigner_seitz_cells
from lattgnn.report.style import DIVERGING, DPI, FAINT, PAGE, styled, time_colors

Array = np.ndarray


@styled
def correlation_plot(
    distances: Float[Array, "n_shells"],
    correlations: Float[Array, "n_times n_shells"],
    times: Float[Array, "n_times"],
    lengths: Float[Array, "n_times"],
    fraction: float = 0.5,
    errors: Float[Array, "n_times n_shells"] | None = None,
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
        errors: Standard errors of the correlations, drawn as bands where they are finite.
    """
    figure = Figure(figsize=(PAGE, 2.8), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    if errors is None:
        errors = np.full(correlations.shape, np.nan)
    for color, t, values, length, error in zip(
        time_colors(len(times)), times, correlations, lengths, errors, strict=True
    ):
        r, ratio = _rings(distances, values / values[0])
        if np.isfinite(error).all():
            half = _rings(distances, error / values[0])[1]  # errors of near shells are alike
            half[r == 0] = 0  # C(0)/C(0) is 1 in every replica
            left.fill_between(r, ratio - half, ratio + half, color=color, alpha=0.2, linewidth=0)
        left.plot(r, ratio, color=color, label=rf"${t:.4g}$")
        if np.isfinite(length):
            right.plot(r / length, ratio, color=color)
    for axes in (left, right):
        axes.axhline(0, color=FAINT, linewidth=0.6)
        axes.axhline(fraction, color=FAINT, linewidth=0.6, linestyle=":")
    # Beyond a few domain lengths there is nothing to see but a line at zero.
    reach = 6 * np.nanmax(lengths) if np.isfinite(lengths).any() else np.inf
    left.set(
        xlabel=r"distance $r\;(a)$",
        ylabel=r"$C(r,t)\,/\,C(0,t)$",
        xlim=(0, min(float(distances[-1]), float(reach))),
    )
    right.set(xlabel=r"scaled distance $r/L(t)$", xlim=(0, 5))
    # Beside the panels, because curves of late times fill the left one.
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, title=r"time $t$", loc="outside right upper")
    return figure


def _rings(distances: Array, values: Array, first: float = 5.0) -> tuple[Array, Array]:
    """Average C over rings of width a beyond `first`, where shells are dense; nearer ones stay."""
    ring = np.where(
        distances < first, np.arange(len(distances)), len(distances) + np.round(distances)
    )
    ring = np.unique(ring, return_inverse=True)[1]
    counts = np.bincount(ring)
    return np.bincount(ring, distances) / counts, np.bincount(ring, values) / counts


@styled
def snapshot_panel(
    fields: Float[Array, "n_times n_values"],
    lattice: Lattice,
    times: Sequence[float] | Float[Array, "n_times"],
    label: str = r"local order $\phi_i$",
    columns: int = 4,
    polygons: Polygons | None = None,
) -> Figure:
    """Draw domains at several times side by side, on the color scale of the last one.

    Args:
        fields: One scalar per site (or polygon) and time, such as `local_order`.
        lattice: A lattice in two dimensions.
        times: Time of each panel.
        label: Label of the color bar, with the unit.
        columns: Number of panels per row.
        polygons: Corners of what each scalar belongs to, such as triangles. Default: the sites.

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
    # At least as high as the label of the color bar is long.
    figure_height = max(2.3, rows * (panel + 0.22))
    figure = Figure(figsize=(PAGE, figure_height), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    norm = order_scale(fields[-1])
    for axes, values, t in zip(panels, fields, times, strict=False):
        if polygons is None:
            mesh = draw_field(axes, values, lattice, norm)
        else:
            axes.set(aspect="equal", xticks=[], yticks=[])
            mesh = draw_polygons(axes, polygons, values, norm)
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
) -> QuadMesh | PolyCollection | EllipseCollection:
    """Draw one scalar per site, as Wigner–Seitz cells on a Bravais lattice and as discs otherwise.

    Args:
        axes: Where to draw. Its ticks are removed.
        values: The scalars.
        lattice: A lattice in two dimensions.
        norm: The color scale.

    Returns:
        The drawn object, for a color bar.
    """
    axes.set(aspect="equal", xticks=[], yticks=[])
    if lattice.n_sublattices == 1 and not is_rectangular(lattice):
        return draw_polygons(axes, wigner_seitz_cells(lattice), values, norm)
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
