"""A number against a scanned parameter, with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from lattgnn.report.style import COLORS, FAINT, MARKERS, new_axes, styled

Array = np.ndarray


@dataclass(frozen=True)
class ScanCurve:
    """A number against a scanned parameter.

    Attributes:
        x: Values of the parameter.
        y: The number.
        low: Lower end of its 95 % interval, NaN where there is none.
        high: Upper end.
    """

    x: Float[Array, " n"]
    y: Float[Array, " n"]
    low: Float[Array, " n"]
    high: Float[Array, " n"]


@styled
def scan_plot(
    curves: Mapping[str, ScanCurve], label: str, x_label: str, guide: float | None = None
) -> Figure:
    """Draw a number against a scanned parameter, with intervals.

    Args:
        curves: Curves by name, one for each choice of the other parameters. One without points
            keeps its color and is not drawn.
        label: Label of the vertical axis.
        x_label: The parameter.
        guide: Exponent of a power law that is drawn as a gray line.
    """
    figure, axes = new_axes()
    for (name, curve), color, marker in zip(
        curves.items(), cycle(COLORS), cycle(MARKERS), strict=False
    ):
        if not len(curve.x):
            continue
        bars = np.stack([curve.y - curve.low, curve.high - curve.y])
        style = {"color": color, "markerfacecolor": "white", "elinewidth": 0.8, "capsize": 2}
        bars = np.where(np.isfinite(bars), np.maximum(bars, 0), 0)
        axes.errorbar(curve.x, curve.y, bars, fmt=f"{marker}-", label=name or None, **style)
    axes.set(xlabel=x_label, ylabel=label)
    if guide is not None:
        power = Fraction(guide).limit_denominator(10)
        line = {"color": FAINT, "linewidth": 0.8, "linestyle": "--"}
        axes.axhline(guide, label=rf"$t^{{{power}}}$", **line)
        # An interval of few replicas may be huge; the axis shows what a growth exponent can be.
        low, high = axes.get_ylim()
        axes.set_ylim(min(0.0, max(low, -0.5)), min(high, 1.5))
    values = np.concatenate([curve.x for curve in curves.values()])
    if values.min() > 0 and values.max() >= 10 * values.min():
        axes.set_xscale("log")
        ticks = _apart(np.unique(values))
        axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
        axes.set_xticks([], minor=True)
    if guide is not None or any(curves):
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _apart(values: Array) -> list[float]:
    """Those of the scanned values whose labels do not overlap on a logarithmic axis."""
    closest = (values[-1] / values[0]) ** 0.1  # a tenth of the axis
    kept = [float(values[0])]
    for value in values[1:]:
        if value >= closest * kept[-1]:
            kept.append(float(value))
    return kept
