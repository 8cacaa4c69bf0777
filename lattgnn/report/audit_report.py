"""The report of an audit: a table for the terminal, a picture, and one page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lattgnn.audit import Audit, Estimate, WindowErrors
from lattgnn.dynamics import Trajectory
from lattgnn.files import atomic_write_text
from lattgnn.report.page import Section, Table, write_report
from lattgnn.report.provenance import provenance_sections, run_warnings
from lattgnn.report.style import (
    COLORS,
    COLUMN,
    FAINT,
    TIME,
    new_axes,
    plain_log_ticks,
    save_figures,
    styled,
)

COLUMNS = ("steps", "patches", "rms error", "95 % interval", "of rms force", "1 − R²", "reference")


def audit_table(audit: Audit) -> str:
    """The errors by window of time as text.

    Args:
        audit: The audit.

    Returns:
        A table, and a line about the reference if its error cannot be neglected.
    """
    rows = [COLUMNS, *_rows(audit)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, "", *([_TANGENT] if audit.tangent else []), reference_text(audit)])


def reference_text(audit: Audit) -> str:
    """One sentence about the error of the reference.

    Args:
        audit: The audit.
    """
    total = audit.total
    solver = str(audit.config["solver"]["class_path"]).rpartition(".")[2]
    if total.reference_mse == 0:
        return f"The reference, {solver} of whole frames, is exact."
    if np.isnan(total.reference_mse):
        return f"The error of the reference, {solver}, was not estimated. Use n_checks above 0."
    found = (
        f"The rms error of the reference, {solver}, is about {np.sqrt(total.reference_mse):.1e}, "
        f"from {total.n_checked} patches that were solved again by a better one."
    )
    bad = [window for window in audit.windows if not window.reference_is_good]
    if not bad:
        return f"{found} It can be neglected."
    where = ", ".join(_steps(window) for window in bad)
    return (
        f"{found} It is NOT well below the error that was measured in steps {where}: the errors "
        "there are uncertain by as much. Use a larger halo or a more accurate solver."
    )


@styled
def audit_plot(audit: Audit) -> Figure:
    """Draw the rms error of the force against time, with its 95 % interval, log-log.

    Args:
        audit: The audit.
    """
    figure, axes = new_axes(COLUMN, 2.7)
    later = [window.last_time for window in audit.windows if window.last_time > 0]
    # The first frame is at time 0, which has no place on a logarithmic axis.
    start = min([*[w.first_time for w in audit.windows if w.first_time > 0], *later, 1.0]) / 2
    # Far below the errors of the run, it would only stretch the axis.
    shows_reference = audit.total.reference_mse > 1e-4 * audit.total.mse.value
    for number, window in enumerate(audit.windows):
        first, last = max(window.first_time, start), max(window.last_time, 1.1 * start)
        middle, rms = np.sqrt(first * last), window.rms
        label = "run" if number == 0 else None
        axes.plot([first, last], [rms.value] * 2, color=COLORS[0], label=label)
        if np.isfinite(rms.low):
            ends = [[rms.value - rms.low], [rms.high - rms.value]]
            style = {"color": COLORS[0], "linewidth": 0.9, "capsize": 2.0}
            axes.errorbar(middle, rms.value, ends, marker="o", **style)
        if shows_reference:
            label = "reference" if number == 0 else None
            error = np.sqrt(window.reference_mse)
            axes.plot([first, last], [error] * 2, color=FAINT, linestyle="--", label=label)
    axes.set(xscale="log", yscale="log", xlabel=TIME, ylabel=r"rms error of the force")
    axes.set_ylim(*_limits(axes.get_ylim(), audit))
    plain_log_ticks(axes)
    plain_log_ticks(axes, "x")
    if shows_reference:
        axes.legend()
    return figure


def _limits(limits: tuple[float, float], audit: Audit) -> tuple[float, float]:
    """Limits of the axis that cut intervals more than 10 times above all errors.

    An interval from few patches can be so wide that nothing else would be seen.
    """
    low, high = limits
    largest = max(window.rms.value for window in audit.windows)
    return (low, min(high, 10 * largest)) if largest > 0 else limits


def write_audit_report(audit: Audit, run: Trajectory, out: str | Path) -> None:
    """Write metrics.json, the picture and report.html.

    Args:
        audit: The audit.
        run: The run.
        out: Folder of the audit.
    """
    out, figure = Path(out), audit_plot(audit)
    save_figures({"errors": figure}, out)
    meaning = f"{_ERRORS} {_TANGENT}" if audit.tangent else _ERRORS
    sections = [
        Section("Errors", meaning, Table(COLUMNS, _rows(audit), reference_text(audit))),
        Section("Errors against time", _PICTURE, figure),
        Section("Worst sites", _WORST, _worst_table(audit)),
    ]
    components = _component_table(audit)
    if components is not None:
        sections.insert(2, Section("Errors of the components", "", components))
    warnings = run_warnings((run,))
    if warnings:
        sections.append(Section("Warnings", "\n\n".join(warnings)))
    sections.append(Section("What was audited", "", Table.of(audit.config)))
    write_report(
        out / "report.html",
        "Audit of the forces",
        [*sections, *provenance_sections((run,))],
        "" if run.path is None else f"lattgnn audit {run.path}",
    )
    text = json.dumps(audit.to_dict(), indent=2, allow_nan=False)
    atomic_write_text(out / "metrics.json", text + "\n")


_ERRORS = (
    "The error is the difference between the force that moved the run and the force by the "
    "reference, on the sites of patches that were drawn at random. It is the rms over sites and "
    "components, in units of t_hop per unit of the field. The interval is that of sampling: in 95 "
    "of 100 audits such an interval contains the error of all sites and frames of the window. "
    "“Of rms force” is the ratio to the rms of the total force, R² that of the total force, and "
    "“reference” the estimated rms error of the reference itself."
)
_TANGENT = (
    "The network gives the part of the effective field perpendicular to the spin alone, so all "
    "errors and forces are those of this part."
)
_PICTURE = "An interval without a cap ends outside the picture; its end is in the table."
_WORST = "The sites with the largest errors among those that were drawn. Forces are electronic."


def _rows(audit: Audit) -> list[tuple[str, ...]]:
    """One row of texts for each window, and one for all frames."""
    rows = [_row(_steps(window), window) for window in audit.windows]
    return [*rows, _row("all frames", audit.total)]


def _row(name: str, window: WindowErrors) -> tuple[str, ...]:
    reference = np.sqrt(window.reference_mse)
    return (
        name,
        str(window.n_patches),
        f"{window.rms.value:.2e}",
        _interval(window.rms),
        f"{window.relative.value:.2%}",
        f"{window.unexplained.value:.1e}",
        "exact" if reference == 0 else "–" if np.isnan(reference) else f"{reference:.0e}",
    )


def _interval(estimate: Estimate) -> str:
    if not np.isfinite([estimate.low, estimate.high]).all():
        return "–"
    return f"[{estimate.low:.2e}, {estimate.high:.2e}]"


def _steps(window: WindowErrors) -> str:
    return f"{window.first_step}–{window.last_step}"


def _worst_table(audit: Audit) -> Table:
    columns = ("step", "replica", "site", "position", "error", "run", "reference")
    rows: list[Sequence[Any]] = []
    for worst in audit.worst:
        forces = _numbers(worst.run), _numbers(worst.reference)
        place = worst.step, worst.replica, worst.site, _numbers(worst.position)
        rows.append((*place, worst.error, *forces))
    return Table(columns, rows)


def _component_table(audit: Audit) -> Table | None:
    """Errors of each component, None for a field with one."""
    n_components = len(audit.total.mse_of_component)
    if not n_components:
        return None
    columns = ("steps", *(f"rms error of component {n}" for n in range(n_components)))
    rows = []
    for window in (*audit.windows, audit.total):
        name = "all frames" if window is audit.total else _steps(window)
        cells = []
        for mse in window.mse_of_component:
            rms = mse.root()
            cells.append(f"{rms.value:.2e} {_interval(rms)}")
        rows.append((name, *cells))
    return Table(columns, rows)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
