"""`lattgnn quickstart`: the whole road, by the verbs that a user would type.

Every stage is one or two commands of `lattgnn`, with a configuration file that the quickstart
leaves in its folder. A stage that is finished is not done again, so the same command continues a
killed quickstart.
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
    """Run the quickstart, or what is left of it, and print its table; `argv` is the verb and its options."""
    parser = Parser(
        prog="lattgnn quickstart", description="Exact data, fit, test, quench, report: minutes."
    )
    parser.add_argument(
        "--out", type=str, default="runs/quickstart", help="folder for everything it makes"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of data, fit and dynamics")
    parser.add_argument(
        "--fast", action="store_true", help="toy sizes: seconds, but figures without meaning"
    )
    asked = parser.parse_args(list(argv[1:]))
    out = Path(asked.out)
    print_table(quickstart(out, asked.seed, asked.fast), out)


def quickstart(out: Path, seed: int = 0, fast: bool = False) -> dict[str, Any]:
    """Do all stages that are not finished yet.

    Args:
        out: folder for everything: data, checkpoints, trajectories, report.html, metrics.json.
        seed: of data, fit and dynamics.
        fast: toy sizes.

    Returns:
        The figures, as in metrics.json.

    Raises:
        ValueError: `out` holds a quickstart with other settings.
        SystemExit: a stage failed; it has said why.
    """
    if not 0 <= seed < 2**32 - 1:
        raise InputError(f"seed must be from 0 to 2**32 - 2, got {seed!r}. Use 0.")
    sections = settings(fast)
    write_configurations(out, sections, seed)
    todo, news = stages(out), False
    for number, stage in enumerate(todo, start=1):
        done = stage.finished()
        _say(f"[{number}/{len(todo) + 1}] {stage.name}" + (": finished before" if done else ""))
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
            figures = write_quickstart_report(out, read_times(out), **sections["analyze"])
        figures |= {"times": read_times(out)}
        atomic_write_text(out / METRICS, json.dumps(figures, indent=2, allow_nan=False) + "\n")
    return json.loads((out / METRICS).read_text())


def settings(fast: bool = False) -> dict[str, Any]:
    """The settings in quickstart.yaml: one section a verb, the toy sizes merged in if `fast`."""
    sections = yaml.safe_load((files("lattgnn.cli") / "quickstart.yaml").read_text())
    toys = sections.pop("fast")
    return _merged(sections, toys) if fast else sections


def write_configurations(out: Path, sections: dict[str, Any], seed: int) -> None:
    """Write the configuration of each verb to `out`, and the settings, which a later call has to repeat.

    Args:
        out: the folder; made if needed.
        sections: of `settings`.
        seed: of data, fit and dynamics.

    Raises:
        ValueError: `out` holds other settings.
    """
    asked = yaml.safe_dump({"seed": seed, **copy.deepcopy(sections)}, sort_keys=False)
    stored = out / SETTINGS
    if stored.exists() and stored.read_text() != asked:
        raise InputError(
            f"out must be a new folder or hold the same quickstart, got {str(out)!r}, made with "
            f"other "
            f"settings (seed, --fast or version; see {stored}). Use another --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_text(stored, asked)
    data = sections["generate"] | {
        "seed": seed,
        "root": str(out / "datasets"),
        "name": "quickstart",
    }
    fit = {"seed_everything": seed, "run_dir": str(out / "fit"), "data": data} | sections["fit"]
    exact, quench = sections["compare"], sections["quench"]
    learned = {"checkpoint": str(out / "fit" / "best.ckpt")}
    # The compared runs start alike and share their noise; the quench has its own.
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
    """One stage: commands of `lattgnn`, and how to see that they are finished."""

    name: str
    commands: Sequence[Sequence[str]]
    finished: Callable[[], bool]


def stages(out: Path) -> list[Stage]:
    """The stages before the report; arguments as in `quickstart`."""

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
    """Seconds of each stage, those of its last run: wall clock, and CPU with the processes it started."""
    path = out / TIMES
    return json.loads(path.read_text()) if path.exists() else {}


def print_table(figures: dict[str, Any], out: Path) -> None:
    """Print what came out and how long it took, as a table on a terminal, else as plain text."""
    from rich.console import Console
    from rich.table import Table

    from lattgnn.cli.quickstart_report import COLUMNS, summary_rows

    console = Console()
    rows = [
        (name, result, *("" if x is None else f"{x:.1f}" for x in seconds))
        for name, result, *seconds in summary_rows(figures)
    ]
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
    except (
        ValueError
    ):  # killed before its first frame, or damaged: the verb goes on, or says what is wrong
        return False


def _run(command: Sequence[str]) -> None:
    """One command of `lattgnn` in this process; what it prints on stdout belongs to it, not to the table."""
    _say("    lattgnn " + " ".join(command))
    with redirect_stdout(io.StringIO()):
        code = cli.main(list(command))
    if code != 0:
        raise SystemExit(code)


@contextmanager
def _clock(out: Path, stage: str) -> Iterator[None]:
    """Record the seconds that the block takes, when it ends well."""
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    yield
    seconds = {"wall": time.perf_counter() - wall, "cpu": sum(os.times()[:4]) - cpu}
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    atomic_write_text(out / TIMES, json.dumps(read_times(out) | {stage: rounded}, indent=2) + "\n")


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, dictionaries key by key."""
    return base | {
        key: _merged(base[key], value)
        if isinstance(value, dict) and isinstance(base.get(key), dict)
        else value
        for key, value in changes.items()
    }


def _write_yaml(path: Path, config: dict[str, Any]) -> None:
    plain = json.loads(json.dumps(config))  # no shared parts, hence no YAML anchors
    atomic_write_text(path, yaml.safe_dump(plain, sort_keys=False))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
