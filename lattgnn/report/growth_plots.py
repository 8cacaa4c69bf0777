"""Pictures of the growth of domains: their length, and its local slope."""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from lattgnn.analysis import GrowthFit, GrowthLaw
from lattgnn.report.style import (
    COLORS,
    COLUMN,
    FAINT,
    INK,
    MARKERS,
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
    plain_log_ticks(axes, "x")
    axes.legend(loc="upper left")
    return figure


def _exponent_text(fit: GrowthFit) -> str:
    text = rf": $\alpha={fit.exponent:.2f}$"
    if np.isfinite(fit.interval).all():
        text += rf" $[{fit.interval[0]:.2f},\,{fit.interval[1]:.2f}]$"
    return text


@styled
def slope_plot(laws: Mapping[str, GrowthLaw], reference_slope: float | None = 0.5) -> Figure:
    """Draw the local slope d ln L / d ln t with its interval, and the fitted exponents.

    Args:
        laws: Results of `find_growth_law` by name. A fitted exponent is drawn as a line over its
            window, its interval as a box.
        reference_slope: Exponent of the gray line. None for no line.
    """
    figure, axes = new_axes(COLUMN, 3.0)
    for color, marker, (name, law) in zip(COLORS, MARKERS, laws.items(), strict=False):
        curve = law.slope
        errors = curve.error if np.isfinite(curve.error).all() else None
        style = {"fmt": marker, "color": color, "markerfacecolor": "white", "elinewidth": 0.8}
        axes.errorbar(curve.times, curve.slope, errors, label=name, linestyle="", **style)
        if law.fit is not None:
            axes.plot(law.fit.window, [law.fit.exponent] * 2, color=color, zorder=3)
            if np.isfinite(law.fit.interval).all():
                box = {"color": color, "alpha": 0.18, "linewidth": 0}
                axes.fill_between(law.fit.window, *law.fit.interval, **box)
    if reference_slope is not None:
        axes.axhline(reference_slope, color=FAINT, linewidth=0.8, linestyle="--")
    axes.set(xscale="log", xlabel=TIME, ylabel=r"local slope $\mathrm{d}\ln L/\mathrm{d}\ln t$")
    low, high = axes.get_ylim()
    # Early intervals may be huge; the axis shows what a growth exponent can be.
    low, high = max(low, -0.5), min(high, 1.5)
    axes.set_ylim(low, high + 0.3 * (high - low))  # space for the legend
    plain_log_ticks(axes, "x")
    axes.legend(loc="upper left", ncols=2)
    return figure
