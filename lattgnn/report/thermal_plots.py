"""Pictures of energy and kinetic temperature along a run."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lattgnn.report.plots import mean_and_band
from lattgnn.report.style import (
    COLORS,
    COLUMN,
    DPI,
    INK,
    MARKERS,
    TIME,
    new_axes,
    plain_log_ticks,
    styled,
)

Array = np.ndarray


@styled
def energy_plot(
    times: Float[Array, "n_frames"], energies: Mapping[str, Float[Array, "n_frames n_replicas"]]
) -> Figure:
    """Draw energies per site over time, one panel each: mean and standard error over replicas.

    Args:
        times: Time of each frame.
        energies: Energy per site [frame, replica] by name, units of the hopping.
    """
    figure = Figure(figsize=(COLUMN, 1.1 + 1.25 * len(energies)), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(energies), 1, sharex=True, squeeze=False)[:, 0]
    shown = times > 0 if (times > 0).any() else np.ones(len(times), dtype=bool)
    for axes, color, (name, values) in zip(panels, COLORS, energies.items(), strict=False):
        mean_and_band(axes, times[shown], values[shown], color, name)
        axes.set(ylabel=f"{name}\n" + r"per site $(t_\mathrm{hop})$")
        axes.margins(x=0.02, y=0.12)
        drawn = values[shown].mean(axis=1)
        if (drawn > 0).all() and drawn.max() > 20 * drawn.min():
            axes.set_yscale("log")
            plain_log_ticks(axes)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4))
    _time_axis(panels[-1], times)
    figure.align_ylabels()
    return figure


@styled
def temperature_plot(
    times: Float[Array, "n_frames"],
    temperature: Float[Array, "n_frames n_components"],
    errors: Float[Array, "n_frames n_components"],
    bath: Float[Array, "n_frames n_components"],
) -> Figure:
    """Draw the kinetic temperature of each component over time, with that of the bath.

    Args:
        times: Time of each frame.
        temperature: Mean over replicas, units of the hopping.
        errors: Its sampling error.
        bath: Temperature of the bath; NaN without a bath.
    """
    figure, axes = new_axes()
    shown = times > 0 if (times > 0).any() else np.ones(len(times), dtype=bool)
    n = temperature.shape[1]
    for k in range(n):
        name = "kinetic temperature" + (f", component {k + 1}" if n > 1 else "")
        color, style = (
            COLORS[k % len(COLORS)],
            {"fmt": MARKERS[k % len(MARKERS)], "elinewidth": 0.8},
        )
        axes.errorbar(
            times[shown], temperature[shown, k], errors[shown, k], label=name, color=color,
            markerfacecolor="white", **style,
        )  # fmt: skip
    if np.isfinite(bath).any():
        curves = np.unique(bath[shown], axis=1)  # components often share their bath
        lines = axes.plot(times[shown], curves, color=INK, linewidth=1.0)
        lines[0].set_label(r"bath $k_BT$")
    if (temperature[shown] > 0).all():
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(low / (high / low) ** 0.3, high * 1.3)  # space for the legend
        plain_log_ticks(axes)
    axes.set(ylabel=r"$T_\mathrm{kin}\;(t_\mathrm{hop}/k_B)$")
    axes.margins(x=0.02)
    _time_axis(axes, times)
    axes.legend(loc="lower left")
    return figure


def _time_axis(axes: Axes, times: Array) -> None:
    """Label the time axis; it is logarithmic if at least two frames have t > 0."""
    is_logarithmic = (times > 0).sum() > 1
    axes.set(xlabel=TIME, xscale="log" if is_logarithmic else "linear")
    if is_logarithmic:
        plain_log_ticks(axes, "x")
