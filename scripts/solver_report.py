"""Tables and pictures of benchmark_solvers.py."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lattgnn.report.style import COLORS, PAGE, styled

EXACT = "exact diagonalization"
TITLES = {
    "holstein-strong": "Holstein, kT = 0.1, strong fields (std 5.27)",
    "holstein-weak": "Holstein, kT = 0.1, weak fields (std 0.5)",
    "holstein-cold-strong": "Holstein, kT = 0.02, strong fields (std 5.27)",
    "holstein-cold-weak": "Holstein, kT = 0.02, weak fields (std 0.5)",
    "double-exchange": "Double exchange, kT = 0.05, μ = −3.5, random spins",
}


def report(results: dict[str, Any]) -> str:
    """Markdown with one table per case."""
    loads = ", ".join(f"{name} {case['load']:.1f}" for name, case in results["cases"].items())
    on_wall = [name for name, case in results["cases"].items() if case.get("clock") != "CPU"]
    wall = f" (wall times for {', '.join(on_wall)})" if on_wall else ""
    text = f"""\
Made by `python scripts/benchmark_solvers.py` on {results["machine"]}, one thread. Load of the
machine at the end of each case: {loads}. Errors are mean square errors of a component of the force
in units of t², with standard errors over 60 independent fields (10 for double exchange) in float32.
Times are those of one evaluation of the forces, medians of three: CPU times{wall}. Sizes at which a
method needs more than about two seconds are left out.
"""
    return text + "".join(
        f"\n### {TITLES[name]}\n\n{_table(case)}" for name, case in results["cases"].items()
    )


def _table(case: dict[str, Any]) -> str:
    sizes = sorted({row["n_sites"] for row in case["costs"]})
    shown = [n for n in sizes if n in (sizes[0], 10_000, 250_000, sizes[-1])]
    head = ["Method", "MSE of the force", *(f"N = {n:,}, s" for n in shown), "ns per site"]
    lines = [head, ["---"] * len(head)]
    for name in dict.fromkeys(row["method"] for row in case["costs"]):
        own = {row["n_sites"]: row["seconds"] for row in case["costs"] if row["method"] == name}
        error = case["errors"].get(name)
        text = f"{error['mse']:.1e} ± {error['standard_error']:.0e}" if error else "0"
        times = [f"{own[n]:.2g}" if n in own else "" for n in shown]
        largest = max(own)
        lines.append([name, text, *times, f"{1e9 * own[largest] / largest:,.0f} (N = {largest:,})"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@styled
def plot(results: dict[str, Any]) -> Figure:
    """Per case: cost against size on the left, error against cost on the right."""
    cases = results["cases"]
    figure = Figure(figsize=(PAGE, 2.6 * len(cases)), layout="constrained")
    axes = figure.subplots(len(cases), 2, squeeze=False)
    families = ("exact", "domains", "Green", "Chebyshev", "network")
    colors: dict[str, str] = dict(zip(families, COLORS, strict=False))
    for (left, right), (name, case) in zip(axes, cases.items(), strict=True):
        _plot_costs(left, case, colors)
        _plot_errors(right, case, colors)
        left.set_title(TITLES[name], loc="left")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _plot_costs(axes: Axes, case: dict[str, Any], colors: dict[str, str]) -> None:
    seen = set()
    for name in dict.fromkeys(row["method"] for row in case["costs"]):
        family = name.split()[0]
        rows = [row for row in case["costs"] if row["method"] == name]
        label = None if family in seen else _FAMILY_NAMES[family]
        seen.add(family)
        sites, seconds = zip(*((row["n_sites"], row["seconds"]) for row in rows), strict=True)
        axes.loglog(sites, seconds, "-o", markersize=2.5, color=colors[family], label=label)
    axes.set_xlabel("number of sites N")
    axes.set_ylabel("seconds per force")


_FAMILY_NAMES = {
    "exact": EXACT,
    "domains": "domains",
    "Green": "Green's functions",
    "Chebyshev": "Chebyshev",
    "network": "shipped networks",
}


def _plot_errors(axes: Axes, case: dict[str, Any], colors: dict[str, str]) -> None:
    for name, error in case["errors"].items():
        axes.errorbar(
            _cost_per_site(case, name),
            error["mse"],
            yerr=error["standard_error"],
            marker="s" if "tolerance" in name else "o",
            markersize=4,
            color=colors[name.split()[0]],
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.12)  # room for the notes
    for names in _close_points(case):
        _annotate(axes, case, names)
    axes.set_xlabel("ns per site and force, largest lattice")
    axes.set_ylabel("MSE of the force")


def _cost_per_site(case: dict[str, Any], name: str) -> float:
    """Nanoseconds per site on the largest lattice of a method."""
    rows = [row for row in case["costs"] if row["method"] == name]
    largest = max(rows, key=lambda row: row["n_sites"])
    return 1e9 * largest["seconds"] / largest["n_sites"]


def _close_points(case: dict[str, Any]) -> list[list[str]]:
    """Methods in groups that share a note: tolerances of one solver that are nearly one point."""
    groups: list[list[str]] = []
    for name in case["errors"]:
        stem = name.rsplit(maxsplit=1)[0]
        if "tolerance" in name and groups and groups[-1][-1].startswith(stem):
            before = groups[-1][-1]
            cost = _cost_per_site(case, name) / _cost_per_site(case, before)
            error = case["errors"][name]["mse"] / case["errors"][before]["mse"]
            if abs(math.log(cost)) + abs(math.log(error)) < 0.7:
                groups[-1].append(name)
                continue
        groups.append([name])
    return groups


def _annotate(axes: Axes, case: dict[str, Any], names: list[str]) -> None:
    """Write a note: of tolerances below on the left, of all others above on the right."""
    notes = []
    for name in names:
        note = name.split(maxsplit=1)[1].replace("tolerance", "").replace("holstein-square", "")
        notes.append(note.strip(" -"))
    is_tolerance = "tolerance" in names[0]
    axes.annotate(
        notes[0] if len(notes) == 1 else f"{notes[0]} to {notes[-1]}",
        (_cost_per_site(case, names[0]), case["errors"][names[0]]["mse"]),
        textcoords="offset points",
        xytext=(-3, -3) if is_tolerance else (3, 3),
        ha="right" if is_tolerance else "left",
        va="top" if is_tolerance else "bottom",
        fontsize=5,
    )
