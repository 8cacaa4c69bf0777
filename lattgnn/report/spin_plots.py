"""Pictures of spins: the in-plane direction is the hue, the component along z the brightness."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, PolyCollection, QuadMesh
from matplotlib.figure import Figure

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.report.quench_plots import draw_field, order_scale
from lattgnn.report.style import DPI, PAGE, new_axes, styled, time_colors

Array = np.ndarray
BACKGROUND = "0.8"  # gray, which no spin has: white and black are spins along z


def spin_colors(spins: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """Colors of spins: the angle of (S_x, S_y) is the hue, (1 + S_z)/2 the lightness.

    Spins along +z are white, spins along −z black. Spins in the plane have pure colors: red along
    +x, then yellow, green, cyan, blue and magenta counterclockwise.

    Args:
        spins: Spins of unit length.

    Returns:
        Red, green and blue between 0 and 1.
    """
    spins = np.asarray(spins, dtype=np.float64)
    lightness = 0.5 * (1 + spins[..., 2:].clip(-1, 1))
    chroma = 1 - np.abs(2 * lightness - 1)
    hue = np.arctan2(spins[..., 1:2], spins[..., :1]) / (2 * np.pi)
    # Each primary color is full in a third of the color circle around its own hue, and falls to
    # zero linearly over a sixth on either side.
    from_own = np.abs((hue - np.array([0.0, 1 / 3, 2 / 3]) + 0.5) % 1 - 0.5)
    pure = np.clip(2 - 6 * from_own, 0, 1)
    return lightness + chroma * (pure - 0.5)


@styled
def spin_panel(
    spins: Float[Array, "n_times n_sites 3"],
    lattice: Lattice,
    times: Sequence[float] | Float[Array, "n_times"],
    columns: int | None = None,
) -> Figure:
    """Draw spins at several times side by side, with a key of the colors.

    Args:
        spins: Spins at each time.
        lattice: A lattice in two dimensions.
        times: Time of each panel.
        columns: Number of panels per row. Default: 4, or 2 if the lattice is much wider than high.

    Returns:
        The figure.

    Raises:
        InputError: If the lattice is not two-dimensional.
    """
    if lattice.dim != 2:
        raise InputError(
            f"lattice must have two dimensions for pictures of its spins, got {lattice.dim}."
        )
    width, height = np.ptp(lattice.positions, axis=0) + lattice.neighbor_distance
    if columns is None:
        columns = 2 if width > 1.3 * height else 4
    columns = min(columns, len(times))
    rows = -(-len(times) // columns)
    panel = 0.84 * PAGE / columns * float(np.clip(height / width, 0.4, 2.5))
    figure = Figure(figsize=(PAGE, rows * (panel + 0.3)), dpi=DPI, layout="constrained")
    # The last column holds the key.
    grid = figure.add_gridspec(rows, columns + 1, width_ratios=[1.0] * columns + [0.3])
    for n, (values, t) in enumerate(zip(spins, times, strict=True)):
        axes = figure.add_subplot(grid[n // columns, n % columns])
        draw_spins(axes, values, lattice)
        axes.set_title(rf"$t={t:.4g}$", pad=3)
    draw_color_key(figure.add_subplot(grid[0, columns]))
    return figure


@styled
def alignment_histogram_plot(
    shares: Float[Array, "n_times n_bins"], times: Sequence[float] | Float[Array, "n_times"]
) -> Figure:
    """Draw histograms of the mean S_i·S_j over neighbors, one line for each time.

    Args:
        shares: Share of the sites in each of the equal bins from −1 to 1.
        times: Time of each histogram.
    """
    figure, axes = new_axes()
    edges = np.linspace(-1.0, 1.0, shares.shape[1] + 1)
    for color, t, values in zip(time_colors(len(times)), times, shares, strict=True):
        axes.stairs(values, edges, color=color, label=rf"${t:.4g}$", linewidth=1.2)
    label = r"mean of $S_i\cdot S_j$ over neighbors"
    axes.set(xlabel=label, ylabel="share of sites", xlim=(-1, 1))
    axes.legend(title=r"time $t$")
    return figure


def draw_spins(
    axes: Axes, spins: Float[Array, "n_sites 3"], lattice: Lattice
) -> QuadMesh | PolyCollection | EllipseCollection:
    """Draw the color of each spin in its Wigner–Seitz cell, or as a disc on a lattice with a basis.

    Args:
        axes: Where to draw. Its ticks are removed.
        spins: The spins.
        lattice: A lattice in two dimensions.

    Returns:
        The drawn object, for `recolor`.
    """
    drawn = draw_field(axes, spins[:, 2], lattice, order_scale(np.ones(1)))
    recolor(drawn, spins, lattice)
    axes.set_facecolor(BACKGROUND)
    return drawn


def recolor(
    drawn: QuadMesh | PolyCollection | EllipseCollection,
    spins: Float[Array, "n_sites 3"],
    lattice: Lattice,
) -> None:
    """Give the sites of a picture the colors of other spins.

    Args:
        drawn: What `draw_spins` returned.
        spins: The spins.
        lattice: Their lattice.
    """
    colors = spin_colors(spins)
    if isinstance(drawn, QuadMesh):
        drawn.set_array(colors.reshape(*lattice.extent, 3))
    else:
        drawn.set_array(None)  # colors in place of values with a color scale
        drawn.set_facecolor(colors)  # pyright: ignore[reportArgumentType]


def draw_color_key(axes: Axes) -> None:
    """Draw the colors of all directions: the angle is that in the plane, S_z falls from +1 to −1.

    Args:
        axes: Where to draw.
    """
    n = 201
    x, y = np.meshgrid(*[np.linspace(-1, 1, n)] * 2)
    radius = np.hypot(x, y)
    height = 1 - 2 * radius.clip(max=1)  # white in the middle, pure colors half-way, black outside
    plane = np.sqrt(1 - height**2) / np.where(radius > 0, radius, 1.0)
    colors = spin_colors(np.stack([plane * x, plane * y, height], axis=-1))
    image = np.concatenate([colors, (radius <= 1)[..., None]], axis=-1)
    axes.imshow(image, origin="lower", extent=(-1, 1, -1, 1), interpolation="bilinear")
    axes.set_axis_off()
    place = {"ha": "center", "fontsize": 8}
    axes.text(0, 1.12, r"$S_y$", va="bottom", **place)
    axes.text(1.12, 0, r"$S_x$", va="center", ha="left", fontsize=8)
    axes.text(0, -1.12, "white $S_z=1$\nblack $S_z=-1$", va="top", **place)
