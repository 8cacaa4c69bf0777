"""The report of benchmark_speed.py: a summary, tables and a figure."""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lattgnn
from lattgnn.report.style import COLORS, FAINT, PAGE, styled

Row = dict[str, Any]
Results = dict[str, Any]
MAIN = "2,993"  # the network of the summary
HEADS = ("direct", "energy")
SMALL, FLAT_FROM = "holstein-square-small", 128
PRETRAINED = Path(lattgnn.__file__).parent / "pretrained"
SHOWN = {"ED": ("s", 3), "domain 5+1": ("^", 4), "domain 10+3": ("D", 4), "GCN float64": ("v", 5)}


def report(results: Results) -> str:
    """Markdown with the machine, a summary, and a table for each part that was measured."""
    parts = {name: part for name, part in results.items() if name not in ("machine", "versions")}
    packages = ", ".join(
        f"{key} {results['versions'][key]}" for key in ("python", "torch", "lattgnn")
    )
    loads = ", ".join(f"{name} {part['load']:.1f}" for name, part in parts.items())
    text = f"""\
Made by `python scripts/benchmark_speed.py` on {results["machine"]}; {packages}. Load of the machine
when each part began: {loads}. Medians of several repeats, with minima in brackets; the candidates
take turns. Holstein model, Langevin dynamics with the parameters of the papers, float32. A step
includes the noise, the checks and everything else that `simulate` does.
"""
    writers = {
        "steps": _steps,
        "rivals": _rivals,
        "memory": _memory,
        "long": _long,
        "training": _training,
        "production": _production,
    }
    sections = ["## Summary\n\n" + _table(["Quantity", "Measured"], summary(results))]
    sections += [
        write(results[name]["found"]) for name, write in writers.items() if name in results
    ]
    return text + "".join(f"\n{section}" for section in sections)


def summary(results: Results) -> list[list[str]]:
    """The main numbers of each part that was measured."""
    found = {
        name: part["found"] for name, part in results.items() if name not in ("machine", "versions")
    }
    rows: list[list[str]] = []
    if "steps" in found:
        rows += _step_figures(
            [row for row in found["steps"] if row["network"] == MAIN and row["cores"] == 1]
        )
    if "rivals" in found:
        rows += _rival_figures(found["rivals"]["rows"], found["rivals"]["mse"])
    if "memory" in found:
        own = [row for row in found["memory"] if row["network"] == MAIN]
        most = max(own, key=lambda row: row["bytes_per_site"])
        text = f"{most['bytes_per_site']:.0f} ({most['head']}, {most['lattice']} {most['size']})"
        rows.append([f"{MAIN} weights, bytes per site, largest", text])
        for row in own:
            if row["size"] == 1024:
                rows.append(_figure(f"1024 × 1024, {row['head']}, GB in total", row["peak"] / 1e9))
    if "long" in found:
        before, after = found["long"]["bytes"]
        rows.append(
            ["memory over 100,000 steps", f"{before / 2**20:.1f} → {after / 2**20:.1f} MiB"]
        )
    if "training" in found:
        ratio = _training_ratio(found["training"], "with SOAP")
        rows.append(["training, times as fast as RGCNConv", f"{ratio:.2f}"])
    if "production" in found:
        rows.append(_figure("production run, seconds", found["production"]["wall_seconds"]))
    return rows


def _step_figures(rows: list[Row]) -> list[list[str]]:
    """The main numbers of square lattices, and of other lattices relative to the square."""
    squares, others = {}, {}
    for head in HEADS:
        own = [row for row in rows if row["head"] == head]
        squares[head] = {row["size"]: row for row in own if row["series"] == "sizes"}
        others[head] = {row["lattice"]: row for row in own if row["series"] == "lattices"}
    direct, energy = (
        {size: r["us"]["median"] for size, r in squares[head].items()} for head in HEADS
    )
    large = [us for size, us in direct.items() if size >= FLAT_FROM] or list(direct.values())
    slowest = max(direct.values())
    ratio = max(energy[size] / direct[size] for size in direct)
    found = [
        _figure(f"{MAIN} weights, direct head, µs per site and step, slowest square", slowest),
        _figure("energy head over direct head, largest ratio", ratio),
        _figure(f"slowest over fastest square from {FLAT_FROM}²", max(large) / min(large)),
    ]
    for head in HEADS:
        over = max(map(_over_floor, squares[head].values()))
        found.append(_figure(f"{head} head, step over its larger lower bound", over))
    for name, row in others["direct"].items():
        if name != "square":
            ratio = _per_neighbor(row) / _per_neighbor(others["direct"]["square"])
            found.append(_figure(f"{name} over square, per neighbor", ratio))
    return found


def _figure(quantity: str, value: float) -> list[str]:
    return [quantity, f"{value:.3g}"]


def _over_floor(row: Row) -> float:
    return row["us"]["median"] / max(row["products"]["median"], row["copy"]["median"])


def _per_neighbor(row: Row) -> float:
    return row["us"]["median"] / row["neighbors"]


def _rival_figures(rows: list[Row], mse: dict[str, float]) -> list[list[str]]:
    """Speed of the small network relative to the fastest rival of each group, on each lattice."""
    domains = [name for name in mse if name.startswith("domain")]
    equal = [name for name in domains if mse[name] <= mse[SMALL]]
    groups = {
        "domain 10+3": ["domain 10+3"],
        "a domain of no larger error": equal,
        "GCN float64": ["GCN float64"],
    }
    found = []
    for text, rivals in groups.items():
        ratios = []
        for size in dict.fromkeys(row["size"] for row in rows):
            times = {row["method"]: row["us"]["median"] for row in rows if row["size"] == size}
            if present := [(times[name], name) for name in rivals if name in times]:
                us, name = min(present)
                ratios.append(f"{us / times[SMALL]:,.0f} ({name}, {size} × {size})")
        found.append([f"{SMALL}, times as fast as {text}", ", ".join(ratios)])
    return found


def _training_ratio(found: Results, kind: str) -> float:
    times = found["us_per_sample"]
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
        "µs per site and step",
        "Products, µs",
        "Copy, µs",
    ]
    head += ["Step over larger bound", "µs per neighbor", "MSE quench, random"]
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
        lines.append([*line, _time(row["us"]), *floors, over, f"{_per_neighbor(row):.3g}", known])
    return f"""\
## Steps

There are two lower bounds, on one core: the matrix products of one force evaluation, on
preallocated batches of the best size and layout, and one copy of the 12 bytes of field, momentum
and force. Weights are random. The last column gives the errors on the standard benchmark, in t², of
the trained network of this size, where one ships. Bonds reach two shells: 8, 12, 9 and 8 neighbors
on square, triangular, honeycomb and kagome.

{_table(head, lines)}"""


def _accuracy(weights: int) -> str:
    """Errors on the standard benchmark, if a network with this many weights ships."""
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
    head = ["Lattice", "Method", "µs per site", f"Over {SMALL}", "MSE of a force"]
    return f"""\
## Rivals

One core. The shipped networks take a whole step; the others evaluate the forces once: exact
diagonalization (ED), ED of domains (cells of the core + hops of the buffer), and the graph network
of arXiv 2603.02039 with 10.75 million random weights. Shipped networks run in float32, the others
in float64 unless the name says otherwise. Errors are in t², relative to ED, on {n_frames} frames of
a quench of {n_steps} steps on {size} × {size}.

{_table(head, lines)}"""


def _memory(rows: list[Row]) -> str:
    lines = [
        [
            f"{row['lattice']} {row['size']}",
            row["network"],
            row["head"],
            f"{row['bytes_per_site']:.0f}",
            f"{row['peak'] / 1e9:.2f}",
        ]
        for row in rows
    ]
    head = ["Lattice", "Weights", "Head", "Bytes per site", "Peak of the process, GB"]
    return f"""\
## Memory

Peak memory of a fresh process that creates the lattice, the network and the start and takes five
steps. Bytes per site are the excess over the peak with a lattice of 16 × 16, without the two saved
frames.

{_table(head, lines)}"""


def _long(found: Results) -> str:
    used = ", ".join(
        f"{used / 2**20:.1f} MiB after {steps:,} steps"
        for steps, used in zip(found["steps"], found["bytes"], strict=True)
    )
    return f"Memory in use on {found['size']} × {found['size']}: {used}.\n"


def _training(found: Results) -> str:
    n_samples, lines = found["n_samples"], []
    for name, us in found["us_per_sample"].items():
        epoch = n_samples * us["median"] / 1e6
        lines.append([name, _time(us), f"{1e6 / us['median']:,.0f}", f"{epoch:.2f}"])
    deviations = found["deviations"]
    ratios = [_training_ratio(found, kind) for kind in ("gradient", "with SOAP")]
    return f"""\
## Training

The network of 2,993 weights, on synthetic fields of 20 × 20 in batches of {found["batch"]}, on one
core. For comparison, the same network is built from RGCNConv of PyG, with one relation per orbit:
forces agree to {deviations[0]:.0e} and gradients to {deviations[1]:.0e} of the largest. An epoch
has {n_samples:,} samples; its time is scaled from a part of it. RGCNConv takes {ratios[0]:.2f}
times as long for gradients, and {ratios[1]:.2f} times as long with the optimizer, whose cost is the
same for both.

{_table(["", "µs per sample", "Samples per second", "Seconds per epoch"], lines)}"""


def _production(found: Results) -> str:
    rate = 1e6 * found["wall_seconds"] / (found["size"] ** 2 * found["steps"])
    lines = [[key.replace("_", " "), str(value)] for key, value in found["metrics"].items()]
    pictures = ["![Domains](speed_production/snapshots.png)"]
    # A run without order, such as a very short one, has no length of domains.
    if found["metrics"].get("final_length_from_correlation") is not None:
        pictures.insert(0, "![L(t)](speed_production/domain_length.png)")
    shown = "\n".join(pictures)
    return f"""\
## Production

{found["network"]} on {found["size"]} × {found["size"]}, {found["steps"]:,} steps, {found["frames"]}
frames written to disk, {found["cores"]} cores: {found["wall_seconds"]:.0f} seconds in total,
{rate:.3g} µs per site and step.

{shown}

{_table(["Of the quench", ""], lines)}"""


# Picture


@styled
def plot(results: Results) -> Figure:
    """Left: cost against size. Right: error against cost on one lattice. Both on one core."""
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
    left.set(xscale="log", yscale="log", xlabel="sites", ylabel=r"$\mu$s per site, one core")
    if left.lines:
        left.set_ylim(top=left.get_ylim()[1] * 300)  # room for the legend
        left.legend(fontsize=7, ncols=2, loc="upper left", handlelength=2.6)
    right.set(
        xscale="log",
        yscale="log",
        xlabel=r"$\mu$s per site, one core",
        ylabel=r"MSE of a force ($t^2$)",
    )
    return figure


def _line(axes: Axes, rows: list[Row], form: str, **look: Any) -> None:
    rows = sorted(rows, key=lambda row: row["n_sites"])
    axes.plot([row["n_sites"] for row in rows], [row["us"]["median"] for row in rows], form, **look)


def _error_against_cost(
    axes: Axes, rows: list[Row], mse: dict[str, float], quench: list[int]
) -> None:
    """Error against cost; a method without a measured error is a vertical line."""
    times = {row["method"]: row["us"]["median"] for row in rows if row["size"] == quench[0]}
    for kind, marker, color in (("holstein", "o", COLORS[0]), ("domain", "^", COLORS[4])):
        names = [name for name in mse if name.startswith(kind) and name in times]
        axes.plot([times[n] for n in names], [mse[n] for n in names], marker, color=color)
        for name in names:
            short = name.removeprefix("holstein-")
            # "square" goes below its point: another label is close above it.
            offset = (4, -9) if short == "square" else (4, 3)
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
