"""What benchmark_speed.py found as text and picture: the goals beside it, then all figures."""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lattgnn
from lattgnn.report.style import COLORS, FAINT, PAGE, styled

Row = dict[str, Any]
Results = dict[str, Any]
MAIN = "2,993"  # the network that the goals are about
HEADS = ("direct", "energy")
SMALL, FLAT_FROM = "holstein-square-small", 128
PRETRAINED = Path(lattgnn.__file__).parent / "pretrained"
SHOWN = {"ED": ("s", 3), "domain 5+1": ("^", 4), "domain 10+3": ("D", 4), "GCN float64": ("v", 5)}


def report(results: Results) -> str:
    """Markdown: the machine, goals, then a table for each part that there is."""
    parts = {name: part for name, part in results.items() if name not in ("machine", "versions")}
    packages = ", ".join(
        f"{key} {results['versions'][key]}" for key in ("python", "torch", "lattgnn")
    )
    loads = ", ".join(f"{name} {part['load']:.1f}" for name, part in parts.items())
    text = f"""\
Made by `python scripts/benchmark_speed.py` on {results["machine"]}; {packages}. Load of the machine when
a part began: {loads}. Medians of repeats, taken in turns; minima in brackets. Holstein model, Langevin
dynamics with the papers' parameters, float32; a step is a whole one, with noise, checks and all else that
`simulate` does.
"""
    writers = {
        "steps": _steps,
        "rivals": _rivals,
        "memory": _memory,
        "long": _long,
        "training": _training,
        "production": _production,
    }
    sections = ["## Goals\n\n" + _table(["Goal", "Measured", ""], goals(results))]
    sections += [
        write(results[name]["found"]) for name, write in writers.items() if name in results
    ]
    return text + "".join(f"\n{section}" for section in sections)


def goals(results: Results) -> list[list[str]]:
    """What is to be reached, what was measured, and whether it is met."""
    found = {
        name: part["found"] for name, part in results.items() if name not in ("machine", "versions")
    }
    rows: list[tuple[str, str, bool]] = []
    if "steps" in found:
        rows += _step_goals(
            [row for row in found["steps"] if row["network"] == MAIN and row["cores"] == 1]
        )
    if "rivals" in found:
        rows += _rival_goals(found["rivals"]["rows"], found["rivals"]["mse"])
    if "memory" in found:
        most = max(
            (row for row in found["memory"] if row["network"] == MAIN),
            key=lambda row: row["bytes_a_site"],
        )
        text = f"{most['bytes_a_site']:.0f} ({most['head']}, {most['lattice']} {most['size']})"
        rows.append(
            (f"{MAIN} weights, at most 300 bytes a site", text, most["bytes_a_site"] <= 300)
        )
        large = [row for row in found["memory"] if row["network"] == MAIN and row["size"] == 1024]
        for row in large:
            rows.append(_at_most(f"1024 × 1024, {row['head']}, GB in all", row["peak"] / 1e9, 1.0))
    if "long" in found:
        before, after = found["long"]["bytes"]
        text = f"{before / 2**20:.1f} → {after / 2**20:.1f} MiB"
        rows.append(("memory flat over 100,000 steps (1 MiB)", text, after - before <= 2**20))
    if "training" in found:
        ratio = _training_ratio(found["training"], "with SOAP")
        rows.append(("training at least 3 times as fast as RGCNConv", f"{ratio:.2f}", ratio >= 3))
    if "production" in found:
        rows.append(_at_most("production run, seconds", found["production"]["wall_seconds"], 300))
    return [[goal, measured, "met" if met else "missed"] for goal, measured, met in rows]


def _step_goals(rows: list[Row]) -> list[tuple[str, str, bool]]:
    """Of the squares, which took turns, and of the other lattices beside a square of their size."""
    squares, others = (
        {
            head: {r[key]: r for r in rows if (r["series"], r["head"]) == (series, head)}
            for head in HEADS
        }
        for series, key in (("sizes", "size"), ("lattices", "lattice"))
    )
    direct, energy = (
        {size: r["us"]["median"] for size, r in squares[head].items()} for head in HEADS
    )
    large = [us for size, us in direct.items() if size >= FLAT_FROM] or list(direct.values())
    found = [
        _at_most(
            f"{MAIN} weights, direct head, µs a site and step on any square",
            max(direct.values()),
            0.25,
        ),
        _at_most(
            "energy head over direct head", max(energy[size] / direct[size] for size in direct), 3
        ),
        _at_most(f"slowest over fastest square from {FLAT_FROM}²", max(large) / min(large), 1.15),
    ]
    for head in HEADS:
        found.append(
            _at_most(
                f"{head} head, step over its larger floor",
                max(map(_over_floor, squares[head].values())),
                2.5,
            )
        )
    for name, row in others["direct"].items():
        if name != "square":
            ratio = _a_neighbour(row) / _a_neighbour(others["direct"]["square"])
            found.append(_at_most(f"{name} over square, a neighbour", ratio, 1.5))
    return found


def _at_most(goal: str, value: float, most: float) -> tuple[str, str, bool]:
    return f"{goal}: at most {most:g}", f"{value:.3g}", value <= most


def _over_floor(row: Row) -> float:
    return row["us"]["median"] / max(row["products"]["median"], row["copy"]["median"])


def _a_neighbour(row: Row) -> float:
    return row["us"]["median"] / row["neighbours"]


def _rival_goals(rows: list[Row], mse: dict[str, float]) -> list[tuple[str, str, bool]]:
    """The fastest of some rivals over the small network, on each lattice where they are."""
    domains = [name for name in mse if name.startswith("domain")]
    equal = [name for name in domains if mse[name] <= mse[SMALL]]
    goals = [("domain 10+3", ["domain 10+3"], 150), ("a domain of no larger error", equal, 150)]
    goals += [("GCN float64", ["GCN float64"], 3000)]
    found = []
    for text, rivals, least in goals:
        ratios = {}
        for size in dict.fromkeys(row["size"] for row in rows):
            times = {row["method"]: row["us"]["median"] for row in rows if row["size"] == size}
            if present := [(times[name], name) for name in rivals if name in times]:
                us, name = min(present)
                ratios[f"{us / times[SMALL]:,.0f} ({name}, {size} × {size})"] = us / times[SMALL]
        goal = f"{SMALL} at least {least:,} times as fast as {text}"
        found.append((goal, ", ".join(ratios), bool(ratios) and min(ratios.values()) >= least))
    return found


def _training_ratio(found: Results, kind: str) -> float:
    times = found["us_a_sample"]
    return times[f"RGCNConv, {kind}"]["median"] / times[f"OrbitConv, {kind}"]["median"]


# Tables


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---"] * len(head), *rows])


def _time(us: dict[str, float]) -> str:
    return f"{us['median']:.3g} ({us['min']:.3g})"


def _steps(rows: list[Row]) -> str:
    head = [
        "Lattice",
        "Sites",
        "Weights",
        "Head",
        "Cores",
        "µs a site and step",
        "Products, µs",
        "Copy, µs",
    ]
    head += ["Step over larger floor", "µs a neighbour", "MSE quench, random"]
    lines = []
    for row in rows:
        floors = [_time(row[name]) if name in row else "" for name in ("products", "copy")]
        over = f"{_over_floor(row):.2f}" if "products" in row else ""
        lattice = f"{row['lattice']} {row['size']}"
        line = [
            lattice,
            f"{row['n_sites']:,}",
            f"{row['weights']:,}",
            row["head"],
            str(row["cores"]),
        ]
        known = (
            _accuracy(row["weights"])
            if (row["lattice"], row["head"]) == ("square", "direct")
            else ""
        )
        lines.append([*line, _time(row["us"]), *floors, over, f"{_a_neighbour(row):.3g}", known])
    return f"""\
## Steps

Floors, on one core: the matrix products of one force alone, out of preallocated blocks of the best size and
layout, and a copy of the 12 bytes of field, momentum and force. Random weights; beside them the errors of a
fitted network of this kind on the standard benchmark, in t², where one ships. Bonds reach two shells: 8, 12,
9 and 8 neighbours on square, triangular, honeycomb and kagome.

{_table(head, lines)}"""


def _accuracy(weights: int) -> str:
    """Errors on the standard benchmark, where such a network ships."""
    for name in (SMALL, "holstein-square"):
        record = json.loads((PRETRAINED / f"{name}.json").read_text())
        if record["parameters"] == weights:
            return ", ".join(
                f"{record['test'][f'test/{kind}/mse']:.1e}" for kind in ("quench", "random")
            )
    return ""


def _rivals(found: Results) -> str:
    rows, mse, (size, n_steps, n_frames) = found["rows"], found["mse"], found["quench"]
    lines = []
    for row in rows:
        (own,) = (r["us"] for r in rows if r["size"] == row["size"] and r["method"] == SMALL)
        ratio = f"{row['us']['median'] / own['median']:,.1f}"
        error = (
            "0"
            if row["method"] == "ED"
            else f"{mse[row['method']]:.1e}"
            if row["method"] in mse
            else "–"
        )
        lines.append(
            [f"{row['size']} × {row['size']}", row["method"], _time(row["us"]), ratio, error]
        )
    head = ["Lattice", "Method", "µs a site", f"Over {SMALL}", "MSE of a force"]
    return f"""\
## Rivals

One core. Of the networks that ship a whole step, of the others a force alone: exact diagonalization (ED), ED
of domains (cells of the core + hops of the buffer), and the graph network of arXiv 2603.02039, 10.75 million
random weights. Networks that ship are float32, the others float64 but for the last. Errors in t², against
ED, on {n_frames} frames of a quench of {n_steps} steps on {size} × {size}.

{_table(head, lines)}"""


def _memory(rows: list[Row]) -> str:
    lines = [
        [
            f"{row['lattice']} {row['size']}",
            row["network"],
            row["head"],
            f"{row['bytes_a_site']:.0f}",
            f"{row['peak'] / 1e9:.2f}",
        ]
        for row in rows
    ]
    head = ["Lattice", "Weights", "Head", "Bytes a site", "Peak of the process, GB"]
    return f"""\
## Memory

Peak of a fresh process that makes lattice, network and start and takes five steps. Bytes a site are what it
exceeds the peak after a lattice of 16 × 16 by, less the two frames that are saved.

{_table(head, lines)}"""


def _long(found: Results) -> str:
    used = ", ".join(
        f"{used / 2**20:.1f} MiB after {steps:,} steps"
        for steps, used in zip(found["steps"], found["bytes"], strict=True)
    )
    return f"Memory in use on {found['size']} × {found['size']}: {used}.\n"


def _training(found: Results) -> str:
    n_samples, lines = found["n_samples"], []
    for name, us in found["us_a_sample"].items():
        epoch = n_samples * us["median"] / 1e6
        lines.append([name, _time(us), f"{1e6 / us['median']:,.0f}", f"{epoch:.2f}"])
    deviations = found["deviations"]
    ratios = [_training_ratio(found, kind) for kind in ("gradient", "with SOAP")]
    return f"""\
## Training

The network of 2,993 weights on synthetic fields of 20 × 20, batches of {found["batch"]}, one core, against
the same network of PyG's RGCNConv, one relation an orbit: forces equal to {deviations[0]:.0e}, gradients to
{deviations[1]:.0e} of the largest. An epoch is {n_samples:,} samples, scaled from a part of it. RGCNConv
takes {ratios[0]:.2f} times as long for gradients and {ratios[1]:.2f} times with the optimizer, which costs
both the same.

{_table(["", "µs a sample", "Samples a second", "Seconds an epoch"], lines)}"""


def _production(found: Results) -> str:
    rate = 1e6 * found["wall_seconds"] / (found["size"] ** 2 * found["steps"])
    lines = [[key.replace("_", " "), str(value)] for key, value in found["metrics"].items()]
    return f"""\
## Production

{found["network"]} on {found["size"]} × {found["size"]}, {found["steps"]:,} steps, {found["frames"]} frames
to disk, {found["cores"]} cores: {found["wall_seconds"]:.0f} seconds from start to end, {rate:.3g} µs a site
and step. The length of its domains against time, and its field:

![L(t)](speed_production/domain_length.png)
![Domains](speed_production/snapshots.png)

{_table(["Of the quench", ""], lines)}"""


# Picture


@styled
def plot(results: Results) -> Figure:
    """Left: cost against size, one core. Right: error against cost, on the lattice of the errors."""
    figure = Figure(figsize=(PAGE, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = results["steps"]["found"] if "steps" in results else []
    steps = [row for row in steps if row["series"] == "sizes" and row["cores"] == 1]
    for color, network in zip(COLORS, dict.fromkeys(row["network"] for row in steps), strict=False):
        for head, line in (("direct", "-o"), ("energy", "--o")):
            chosen = [row for row in steps if row["network"] == network and row["head"] == head]
            _line(left, chosen, line, color=color, label=f"{network} weights, {head}")
    chosen = [row for row in steps if (row["network"], row["head"]) == (MAIN, "direct")]
    if chosen:
        floor = [row | {"us": row["products"]} for row in chosen]
        _line(left, floor, "-", color=FAINT, label=f"products of {MAIN}, direct")
    if "rivals" in results:
        rows = results["rivals"]["found"]["rows"]
        for method, (marker, color) in SHOWN.items():
            chosen = [row for row in rows if row["method"] == method]
            _line(left, chosen, f":{marker}", color=COLORS[color], label=method)
        _error_against_cost(right, **results["rivals"]["found"])
    left.set(xscale="log", yscale="log", xlabel="sites", ylabel=r"$\mu$s a site, one core")
    if left.lines:
        left.set_ylim(top=left.get_ylim()[1] * 300)  # room for the legend
        left.legend(fontsize=7, ncols=2, loc="upper left", handlelength=2.6)
    right.set(
        xscale="log",
        yscale="log",
        xlabel=r"$\mu$s a site, one core",
        ylabel=r"MSE of a force ($t^2$)",
    )
    return figure


def _line(axes: Axes, rows: list[Row], form: str, **look: Any) -> None:
    rows = sorted(rows, key=lambda row: row["n_sites"])
    axes.plot([row["n_sites"] for row in rows], [row["us"]["median"] for row in rows], form, **look)


def _error_against_cost(
    axes: Axes, rows: list[Row], mse: dict[str, float], quench: list[int]
) -> None:
    """Networks and domains by their errors; what has none, or none measured, as a line."""
    times = {row["method"]: row["us"]["median"] for row in rows if row["size"] == quench[0]}
    for kind, marker, color in (("holstein", "o", COLORS[0]), ("domain", "^", COLORS[4])):
        names = [name for name in mse if name.startswith(kind) and name in times]
        axes.plot([times[n] for n in names], [mse[n] for n in names], marker, color=color)
        for name in names:
            short = name.removeprefix("holstein-")
            offset = (
                (4, -9) if short == "square" else (4, 3)
            )  # the label of another one is close above
            axes.annotate(
                short, (times[name], mse[name]), offset, textcoords="offset points", fontsize=7
            )
    for method, (_, color) in SHOWN.items():
        if method in times and method not in mse:
            axes.axvline(times[method], color=COLORS[color], linewidth=0.8, linestyle=":")
            place = axes.get_xaxis_transform()
            axes.text(
                times[method], 0.3, method, rotation=90, ha="right", fontsize=7, transform=place
            )
    axes.margins(0.2, 0.1)
