"""Pictures of accuracy: forces, losses, errors by window, learned dynamics, energy errors."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from textwrap import fill

import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lattgnn.report.style import (
    COLORS,
    COLUMN,
    DENSITY,
    DPI,
    FAINT,
    MARKERS,
    TIME,
    new_axes,
    plain_log_ticks,
    styled,
)

Array = np.ndarray


@styled
def parity_plot(
    reference: Float[Array, "*shape"],
    predicted: Float[Array, "*shape"],
    quantity: str = "F",
    unit: str = "t",
) -> Figure:
    """Draw predicted against exact values as a density on a log scale, with MSE and 1 − R².

    Args:
        reference: Exact values.
        predicted: Values of the network, in the same unit.
        quantity: Symbol of the quantity, in mathtext.
        unit: Unit of both, in mathtext. "" for a dimensionless quantity.
    """
    x, y = np.ravel(reference), np.ravel(predicted)
    error = y - x
    mse, r2 = float(np.mean(error**2)), 1.0 - float(np.mean(error**2) / np.var(x))
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.04 * (high - low)
    span = (low - margin, high + margin)
    figure, axes = new_axes(COLUMN, 3.0)
    counts, edges, _ = np.histogram2d(x, y, bins=120, range=(span, span))
    density = np.ma.masked_equal(counts.T, 0)
    mesh = axes.pcolormesh(
        edges, edges, density, norm=LogNorm(1, max(2, counts.max())), cmap=DENSITY
    )
    mesh.set_rasterized(True)
    axes.plot(span, span, color=FAINT, linewidth=0.7, zorder=0)
    bracket = rf"$\;({unit})$" if unit else ""
    axes.set(xlim=span, ylim=span, aspect="equal")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set(xlabel=rf"exact ${quantity}${bracket}", ylabel=rf"learned ${quantity}${bracket}")
    unit_squared = rf"\,{unit}^2" if unit else ""
    axes.text(
        0.05,
        0.95,
        f"MSE $={_scientific(mse)}{unit_squared}$\n$1-R^2={_scientific(1 - r2)}$\n{x.size:,} "
        f"values",
        transform=axes.transAxes,
        va="top",
        fontsize=9,
        linespacing=1.4,
    )
    figure.colorbar(mesh, cax=axes.inset_axes((1.03, 0, 0.05, 1)), label="values per bin")
    return figure


def _scientific(value: float) -> str:
    """A number of two digits as mathtext: 0.12, or 1.2 × 10⁻⁴."""
    if 0.01 <= abs(value) < 100:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return rf"{mantissa}\times10^{{{int(exponent)}}}"


@styled
def loss_curves(
    epochs: Real[Array, "n"] | Sequence[float | int],
    losses: Mapping[str, Real[Array, "n"] | Sequence[float | int]],
    label: str = r"force error, MSE $(t^2)$",
    x_label: str = "epoch",
) -> Figure:
    """Draw losses over the training on a logarithmic scale.

    Args:
        epochs: Epoch or step of each value.
        losses: Curves by name. A NaN, as of an epoch without validation, is skipped without a gap.
        label: Label of the vertical axis, with its unit.
        x_label: Label of the horizontal axis.
    """
    figure, axes = new_axes()
    for color, (name, values) in zip(COLORS, losses.items(), strict=False):
        kept = np.isfinite(np.asarray(values, dtype=np.float64))
        axes.plot(np.asarray(epochs)[kept], np.asarray(values)[kept], color=color, label=name)
    axes.set(yscale="log", xlabel=x_label, ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.margins(x=0.02)
    plain_log_ticks(axes)
    axes.legend()
    return figure


@styled
def window_errors(
    windows: Sequence[str],
    errors: Mapping[str, Sequence[float | int]],
    label: str = r"force error, MSE $(t^2)$",
) -> Figure:
    """Draw the error in each time window, one group of bars per window, on a logarithmic scale.

    Args:
        windows: Names of the windows, such as "0–40".
        errors: One value per window for each model, by name.
        label: Label of the vertical axis, with its unit.
    """
    figure, axes = new_axes(max(COLUMN, 0.75 * len(windows)), 2.7)
    width = 0.75 / len(errors)
    where = np.arange(len(windows))
    for k, (name, values) in enumerate(errors.items()):
        axes.bar(
            where + (k - (len(errors) - 1) / 2) * width,
            values,
            0.92 * width,
            color=COLORS[k],
            label=name,
        )
    finite = np.concatenate([np.asarray(v, dtype=np.float64) for v in errors.values()])
    finite = finite[np.isfinite(finite) & (finite > 0)]
    axes.set(yscale="log", ylabel=label, ylim=(finite.min() / 3, finite.max() * 3))
    plain_log_ticks(axes)
    axes.set_xticks(where, windows)
    axes.tick_params(axis="x", length=0, which="both")
    axes.set_xlabel("step of the quench")
    if len(errors) > 1:
        axes.legend(ncols=2, loc="upper right")
    return figure


@styled
def dynamics_comparison(
    times: Float[Array, "n_frames"],
    exact: Float[Array, "n_frames n_replicas"],
    learned: Float[Array, "n_frames n_replicas"],
    label: str = r"$C(1)/C(0)$",
    tolerance: float | None = 0.01,
) -> Figure:
    """Draw an observable of exact and learned dynamics with the same noise, and their deviation.

    Args:
        times: Time of each frame. t = 0 is left out on the logarithmic axis.
        exact: The observable with exact forces.
        learned: The observable with learned forces.
        label: Symbol of the observable.
        tolerance: Relative deviation that is shaded in the lower panel. None for no shade.
    """
    later = times > 0
    times, exact, learned = times[later], exact[later], learned[later]
    figure = Figure(figsize=(COLUMN, 3.4), dpi=DPI, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    mean_and_band(top, times, exact, COLORS[0], "exact diagonalization")
    top.plot(
        times, learned.mean(1), MARKERS[0], color=COLORS[1], markerfacecolor="none", label="learned"
    )
    top.set(xscale="log", ylabel=label)
    top.legend()
    deviation = 100 * (learned.mean(1) / exact.mean(1) - 1)
    if tolerance is not None:
        bottom.axhspan(-100 * tolerance, 100 * tolerance, color=FAINT, alpha=0.18, linewidth=0)
    bottom.axhline(0, color=FAINT, linewidth=0.7)
    bottom.plot(times, deviation, color=COLORS[1])
    bottom.set(xlabel=TIME, ylabel="deviation (%)")
    largest = max(float(np.abs(deviation).max()), 100 * (tolerance or 0.0))
    bottom.set_ylim(-1.3 * largest, 1.3 * largest)
    plain_log_ticks(bottom, "x")  # the axis of both panels
    figure.align_ylabels()
    return figure


@styled
def energy_errors(
    times: Float[Array, "n_frames"], errors: Mapping[str, Float[Array, "n_frames"]]
) -> Figure:
    """Draw the error of the conserved energy per site at γ = 0, on a logarithmic scale.

    Args:
        times: Time of each frame.
        errors: Root mean square over replicas of (E(t) − E(0)) / N, units t, by name of the force
            field.
    """
    figure, axes = new_axes()
    for color, (name, values) in zip(COLORS, errors.items(), strict=False):
        # An error of zero, as at t = 0, leaves a gap.
        axes.plot(times, np.where(values > 0, values, np.nan), color=color, label=name)
    axes.set(yscale="log", xlabel=TIME, ylabel=r"rms energy error per site $(t_\mathrm{hop})$")
    axes.margins(x=0.02)
    plain_log_ticks(axes)
    axes.legend()
    return figure


@styled
def time_series(
    times: Float[Array, "n_frames"],
    series: Mapping[str, Float[Array, "n_frames n_replicas"]],
    label: str,
    log_time: bool = True,
) -> Figure:
    """Draw observables over time: means over replicas with their standard errors.

    Args:
        times: Time of each frame.
        series: Values [frame, replica] by name.
        label: Label of the vertical axis, with its unit.
        log_time: Use a logarithmic time axis, without t = 0.
    """
    figure, axes = new_axes()
    log_time = log_time and (times > 0).sum() > 1
    shown = times > 0 if log_time else np.ones(len(times), dtype=bool)
    for color, (name, values) in zip(COLORS, series.items(), strict=False):
        mean_and_band(axes, times[shown], values[shown], color, name)
    axes.set(xlabel=TIME, ylabel=label, xscale="log" if log_time else "linear")
    axes.margins(x=0.02)
    if log_time:
        plain_log_ticks(axes, "x")
    axes.legend()
    return figure


@styled
def curves_plot(
    curves: Mapping[str, tuple[Float[Array, "n"], Float[Array, "n n_replicas"]]],
    label: str,
    is_logarithmic: bool = False,
) -> Figure:
    """Draw one observable of several systems over time, each with its own times.

    Args:
        curves: Times and values [frame, replica] by name of the system; "" for a single one.
        label: Label of the vertical axis, with its unit.
        is_logarithmic: Whether the vertical axis is logarithmic, if all values are positive.
    """
    names = [fill(name, 60) for name in curves]
    # Space for the legend below: a name may list many parameters.
    figure, axes = new_axes(height=2.7 + 0.16 * sum(name.count("\n") + 1 for name in names))
    for color, name, (times, values) in zip(cycle(COLORS), names, curves.values(), strict=False):
        shown = times > 0
        mean_and_band(axes, times[shown], values[shown], color, name)
    positive = all((values[times > 0] > 0).all() for times, values in curves.values())
    axes.set(xlabel=TIME, ylabel=label, xscale="log")
    axes.margins(x=0.02, y=0.12)
    if is_logarithmic and positive:
        axes.set_yscale("log")
        plain_log_ticks(axes)
    plain_log_ticks(axes, "x")
    if any(names):  # a single system has no name
        figure.legend(loc="outside lower left")
    return figure


def mean_and_band(
    axes: Axes,
    times: Float[Array, "n_frames"],
    values: Float[Array, "n_frames n_replicas"],
    color: str,
    name: str,
) -> None:
    """Draw the mean over replicas as a line, its standard error as a band (none for one replica).

    Args:
        axes: Where to draw.
        times: Time of each frame.
        values: The values.
        color: Color of both.
        name: Label of the line.
    """
    mean, n = values.mean(axis=1), values.shape[1]
    axes.plot(times, mean, color=color, label=name)
    if n > 1:
        error = values.std(axis=1, ddof=1) / np.sqrt(n)
        axes.fill_between(times, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
