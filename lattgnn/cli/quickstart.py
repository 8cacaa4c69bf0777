"""`lattgnn quickstart`: a complete example, run by the verbs that a user would type.

Every stage is one or two `lattgnn` commands with a configuration file, which stays in the output
directory. Finished stages are skipped, so rerunning the command resumes an interrupted quickstart.
"""

import copy
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lattgnn import cli
from lattgnn.cli.parser import Parser
from lattgnn.errors import InputError
from lattgnn.files import atomic_write_text

SETTINGS, TIMES, METRICS = "settings.yaml", "times.json", "metrics.json"


def main(argv: Sequence[str]) -> None:
    """Run the stages that are not finished yet, and print the table.

    Args:
        argv: The verb and its options.
    """
    parser = Parser(
        prog="lattgnn quickstart",
        description="Run a complete example in minutes: exact data, fit, test, quench, report.",
    )
    parser.add_argument(
        "--out", type=str, default="runs/quickstart", help="directory for all results"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of data, fit and dynamics")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="toy sizes: takes seconds, but the results have no physical meaning",
    )
    options = parser.parse_args(list(argv[1:]))
    out = Path(options.out)
    print_table(quickstart(out, options.seed, options.fast), out)


def quickstart(out: Path, seed: int = 0, fast: bool = False) -> dict[str, Any]:
    """Run all stages that are not finished yet.

    Args:
        out: Directory for data, checkpoints, trajectories, report.html and metrics.json.
        seed: Seed of data, fit and dynamics.
        fast: Use toy sizes.

    Returns:
        The contents of metrics.json.

    Raises:
        InputError: If `out` holds a quickstart with other settings.
        SystemExit: If a stage fails; it has printed its error.
    """
    if not 0 <= seed < 2**32 - 1:
        raise InputError(f"seed must be from 0 to 2**32 - 2, got {seed!r}. Use 0.")
    sections = settings(fast)
    write_configurations(out, sections, seed)
    todo, news = stages(out), False
    for number, stage in enumerate(todo, start=1):
        done = stage.finished()
        _say(f"[{number}/{len(todo) + 1}] {stage.name}" + (": already finished" if done else ""))
        if not done:
            news = True
            with _clock(out, stage.name):
                for command in stage.commands:
                    _run(command)
    _say(f"[{len(todo) + 1}/{len(todo) + 1}] report")
    if news or not (out / METRICS).exists():
        from lattgnn.cli.quickstart_report import (
            write_quickstart_report,  # matplotlib, once it is needed
        )

        with _clock(out, "report"):
            metrics = write_quickstart_report(out, read_times(out), **sections["analyze"])
        metrics |= {"times": read_times(out)}
        atomic_write_text(out / METRICS, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return json.loads((out / METRICS).read_text(encoding="utf-8"))


def settings(fast: bool = False) -> dict[str, Any]:
    """Read quickstart.yaml: one section per verb.

    Args:
        fast: Merge in the toy sizes.

    Returns:
        The settings by verb.
    """
    sections = yaml.safe_load(
        (files("lattgnn.cli") / "quickstart.yaml").read_text(encoding="utf-8")
    )
    toys = sections.pop("fast")
    return _merged(sections, toys) if fast else sections


def write_configurations(out: Path, sections: dict[str, Any], seed: int) -> None:
    """Write the configuration of each verb and the settings, which later calls must repeat.

    Args:
        out: The directory; created if needed.
        sections: What `settings` returned.
        seed: Seed of data, fit and dynamics.

    Raises:
        InputError: If `out` holds other settings.
    """
    text = yaml.safe_dump({"seed": seed, **copy.deepcopy(sections)}, sort_keys=False)
    stored = out / SETTINGS
    if stored.exists() and stored.read_text(encoding="utf-8") != text:
        raise InputError(
            f"out must be a new directory or hold the same quickstart, got {str(out)!r}, made with "
            f"other "
            f"settings (seed, --fast or version; see {stored}). Use another --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_text(stored, text)
    data = sections["generate"] | {
        "seed": seed,
        "root": str(out / "datasets"),
        "name": "quickstart",
    }
    fit = {"seed_everything": seed, "run_dir": str(out / "fit"), "data": data} | sections["fit"]
    fit["report"] = False  # its curves are part of the report of the quickstart
    exact, quench = sections["compare"], sections["quench"]
    learned = {"checkpoint": str(out / "fit" / "best.ckpt")}
    # Exact and learned dynamics share their start and their noise; the quench has another seed.
    for name, config, run_seed in (
        ("exact", exact, seed),
        ("learned", exact | {"force_field": learned}, seed),
        ("quench", quench | {"force_field": learned}, seed + 1),
    ):
        initial = {"seed": run_seed} | config["initial"]
        _write_yaml(out / f"{name}.yaml", config | {"initial": initial, "out": str(out / name)})
    _write_yaml(out / "generate.yaml", data)
    _write_yaml(out / "fit.yaml", fit)


@dataclass(frozen=True)
class Stage:
    """One stage: `lattgnn` commands, and a function that tells whether they are finished."""

    name: str
    commands: Sequence[Sequence[str]]
    finished: Callable[[], bool]


def stages(out: Path) -> list[Stage]:
    """List the stages before the report.

    Args:
        out: Directory of the quickstart.

    Returns:
        The stages in order.
    """

    def command(verb: str, config: str) -> tuple[str, ...]:
        return (verb, f"--config={out / config}.yaml")

    def exists(*patterns: str) -> Callable[[], bool]:
        return lambda: all(any(out.glob(pattern)) for pattern in patterns)

    return [
        Stage("data", [command("generate", "generate")], exists("datasets/*/manifest.json")),
        Stage("fit", [command("fit", "fit")], exists("fit/fit.json")),
        Stage(
            "test",
            [command("test", "fit"), command("predict", "fit")],
            exists("fit/test-*.json", "fit/predictions.npz"),
        ),
        Stage("exact dynamics", [command("simulate", "exact")], lambda: _complete(out / "exact")),
        Stage(
            "learned dynamics", [command("simulate", "learned")], lambda: _complete(out / "learned")
        ),
        Stage("quench", [command("simulate", "quench")], lambda: _complete(out / "quench")),
    ]


def read_times(out: Path) -> dict[str, dict[str, float]]:
    """Read the seconds of each stage in its last run.

    Args:
        out: Directory of the quickstart.

    Returns:
        Wall-clock and CPU seconds by stage; CPU time includes started processes.
    """
    path = out / TIMES
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def print_table(metrics: dict[str, Any], out: Path) -> None:
    """Print results and times: as a table on a terminal, otherwise as plain text.

    Args:
        metrics: Contents of metrics.json.
        out: Directory of the quickstart.
    """
    from rich.console import Console
    from rich.table import Table

    from lattgnn.cli.quickstart_report import COLUMNS, summary_rows

    console = Console()
    rows = []
    for name, result, *seconds in summary_rows(metrics):
        times = ["" if x is None else f"{x:.1f}" for x in seconds]
        rows.append((name, result, *times))
    if console.is_terminal:
        table = Table(title="lattgnn quickstart", title_justify="left")
        for column in COLUMNS:
            table.add_column(column, justify="right" if column in COLUMNS[2:] else "left")
        for row in rows:
            table.add_row(*row, end_section=row is rows[-2])
        console.print(table, highlight=False)
    else:
        widths = [max(map(len, cells)) for cells in zip(COLUMNS, *rows, strict=True)]
        for name, result, *seconds in (COLUMNS, *rows):
            left = f"{name:<{widths[0]}}  {result:<{widths[1]}}"
            print(
                left,
                *(f"{x:>{width}}" for x, width in zip(seconds, widths[2:], strict=True)),
                sep="  ",
            )
    print(f"{out / 'report.html'}\n{out / METRICS}")


def _complete(path: Path) -> bool:
    from lattgnn.dynamics import Trajectory

    try:
        return path.exists() and Trajectory.open(path).complete
    except InputError:  # interrupted before its first frame, or damaged: `simulate` decides
        return False


def _run(command: Sequence[str]) -> None:
    """Run a `lattgnn` command in this process, without its output on stdout."""
    _say("    lattgnn " + " ".join(command))
    with redirect_stdout(io.StringIO()):
        code = cli.main(list(command))
    if code != 0:
        raise SystemExit(code)


@contextmanager
def _clock(out: Path, stage: str) -> Iterator[None]:
    """Record the seconds that the block takes, if it succeeds."""
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    yield
    seconds = {"wall": time.perf_counter() - wall, "cpu": sum(os.times()[:4]) - cpu}
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    atomic_write_text(out / TIMES, json.dumps(read_times(out) | {stage: rounded}, indent=2) + "\n")


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Update `base` with `changes`; nested dictionaries are updated key by key."""
    merged = dict(base)
    for key, value in changes.items():
        both_nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both_nested else value
    return merged


def _write_yaml(path: Path, config: dict[str, Any]) -> None:
    # A copy without shared parts, for which YAML would write anchors.
    plain = json.loads(json.dumps(config))
    atomic_write_text(path, yaml.safe_dump(plain, sort_keys=False))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
