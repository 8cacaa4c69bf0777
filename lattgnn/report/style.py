"""One style for all pictures: readable in print and with color blindness. No pyplot, no globals."""

import io
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec

import matplotlib as mpl
import numpy as np
from cycler import cycler
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullFormatter

from lattgnn.files import atomic_write_bytes

COLUMN, PAGE = 3.5, 7.1  # widths of one and of two columns of a journal, inches
DPI = 200
# Okabe and Ito's colors, distinct for all common kinds of color blindness. Markers differ as well.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, FAINT = "#222222", "#8a8a8a"
TIME = r"time $t\;(\hbar/t_\mathrm{hop})$"
DIVERGING, SEQUENTIAL, DENSITY = "RdBu_r", "viridis", "magma_r"

STYLE: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10.0,
    "axes.labelsize": 10.5,
    "axes.titlesize": 10.0,
    "legend.fontsize": 9.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "ytick.minor.width": 0.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.8,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "pdf.fonttype": 42,  # fonts that can be edited, not drawings of letters
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.prop_cycle": cycler(color=COLORS),
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a drawing function: `STYLE` applies to its figure, and to nothing else."""

    @wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            # Ticks are created when they are first drawn, which must happen while the style
            # applies.
            figure.draw_without_rendering()
        return figure

    return in_style


def new_axes(width: float = COLUMN, height: float = 2.7) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes.

    Args:
        width: Width in inches.
        height: Height in inches.

    Returns:
        The figure and its axes.
    """
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, figure.add_subplot()


def time_colors(n: int) -> Float[np.ndarray, "n 4"]:
    """Colors from dark (early) to light (late), without the palest end.

    Args:
        n: Number of times.
    """
    return ScalarMappable(Normalize(0, 1), SEQUENTIAL).to_rgba(np.linspace(0.0, 0.88, n))


def figure_png(figure: Figure) -> bytes:
    """Render a figure as PNG.

    Args:
        figure: A figure of a function with `styled`.

    Returns:
        The contents of a PNG file.
    """
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def figure_pdf(figure: Figure) -> bytes:
    """Render a figure as PDF, with embedded fonts and without a date.

    Args:
        figure: A figure of a function with `styled`.

    Returns:
        The contents of a PDF file.
    """
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="pdf", dpi=300, metadata={"CreationDate": None})
    return buffer.getvalue()


def save_figures(figures: Mapping[str, Figure], directory: str | Path) -> None:
    """Write each figure as NAME.png and NAME.pdf.

    Args:
        figures: Figures by name.
        directory: Where to write, created if needed.
    """
    for name, figure in figures.items():
        atomic_write_bytes(Path(directory) / f"{name}.png", figure_png(figure))
        atomic_write_bytes(Path(directory) / f"{name}.pdf", figure_pdf(figure))


class PlainLogFormatter(LogFormatter):
    """Labels such as 0.5, 2 and 10 on a logarithmic axis, instead of powers of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The label of a tick, or "" where matplotlib leaves it out."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def plain_log_ticks(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Label a logarithmic axis of less than two decades with plain numbers.

    Powers of ten alone would leave such an axis with one label or none.

    Args:
        axes: Axes whose limits are final.
        which: The horizontal or the vertical axis.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    if high / low >= 100:
        axis.set_minor_formatter(NullFormatter())
        return
    for set_formatter in (axis.set_major_formatter, axis.set_minor_formatter):
        # Minor ticks are labeled below two decades, all of them below one. Labels side by side need
        # more space than labels on top of one another.
        thresholds = (2, 1) if which == "y" else (2, 0.5)
        set_formatter(PlainLogFormatter(labelOnlyBase=False, minor_thresholds=thresholds))
