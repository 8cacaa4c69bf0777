"""What a report says about where its runs come from, as far as they have recorded it.

`lattgnn simulate` writes `config.yaml` and `provenance.json` into the folder of a run, and
`training_range.json` with a learned force field. Runs of older versions, and those made from
Python, lack them.
"""

import json
from typing import Any

from lattgnn.dynamics import Trajectory
from lattgnn.dynamics.training_range import TRAINING_RANGE
from lattgnn.field_statistics import Departure
from lattgnn.report.page import Section, Table
from lattgnn.run_records import CONFIG, PROVENANCE
from lattgnn.serialize import versions

MISSING = "not recorded"


def provenance_sections(runs: tuple[Trajectory, ...]) -> list[Section]:
    """Make the sections on provenance: one table per run, and the configuration of the first.

    Args:
        runs: The runs.

    Returns:
        The sections.
    """
    caption = (
        f"“{MISSING}” stands where a run does not say it: one of an older version, or one made "
        "from Python."
    )
    sections = [
        Section(f"Provenance of {_name(run)}", "", Table.of(_provenance(run), caption))
        for run in runs
    ]
    config = _text(runs[0], CONFIG)
    if config is not None:
        text = "`lattgnn simulate --config` repeats the run with this file, bit for bit."
        lines = [(line.replace(" ", "\u00a0"),) for line in config.splitlines()]
        sections.append(Section("Configuration", text, Table(("config.yaml",), lines)))
    sections.append(Section("What was simulated", "", Table.of(runs[0].config)))
    sections.append(Section("Versions of this report", "", Table.of(versions())))
    return sections


def run_warnings(runs: tuple[Trajectory, ...]) -> list[str]:
    """Warnings about runs: not finished, or outside the fields that the network was fitted on.

    Args:
        runs: The runs.

    Returns:
        One sentence for each.
    """
    found = []
    for run in runs:
        text = _text(run, TRAINING_RANGE)
        departures = [] if text is None else json.loads(text)["departures"]
        for departure in departures:
            found.append(
                f"{_name(run)} leaves the fields that the network was fitted on: "
                f"{Departure(**departure)}. Compare with exact forces there."
            )
        if not run.complete:
            found.append(
                f"{_name(run)} is not finished: it has {len(run.steps)} of {run.n_planned} frames."
            )
    return found


def _provenance(run: Trajectory) -> dict[str, Any]:
    start = run.config.get("start") or {}
    force_field = run.config.get("force_field") or {}
    text = _text(run, PROVENANCE)
    record = {} if text is None else json.loads(text)
    checkpoint = record.get("checkpoint") or {}
    is_exact = str(force_field.get("class_path", "")).endswith(".ExactForceField")
    none = "none: exact forces" if is_exact else MISSING
    weights = force_field.get("init_args", {}).get("weights_sha256")
    found = {
        "command": record.get("command", MISSING),
        "working directory": record.get("working_directory", MISSING),
        "started": record.get("started", MISSING),
        "machine": record.get("machine", MISSING),
        "checkpoint": checkpoint.get("name", none),
        "SHA-256 of the checkpoint": checkpoint.get("sha256", none),
        "SHA-256 of the weights": weights or none,
        "seed": start.get("seed", MISSING),
        "first replica": start.get("first_replica", MISSING),
        "SHA-256 of the first field and momentum": start.get("sha256", MISSING),
        "frames": f"{len(run.steps)} of {run.n_planned}",
    }
    return found | {"versions": record.get("versions") or _store_versions(run)}


def _store_versions(run: Trajectory) -> Any:
    """Versions that every run on disk has recorded beside its frames."""
    text = _text(run, "zarr.json")
    attributes = {} if text is None else json.loads(text).get("attributes", {})
    return attributes.get("versions") or MISSING


def _name(run: Trajectory) -> str:
    return "a run in memory" if run.path is None else str(run.path)


def _text(run: Trajectory, name: str) -> str | None:
    """A text file in the folder of a run, or None."""
    if run.path is None or not (run.path / name).is_file():
        return None
    return (run.path / name).read_text(encoding="utf-8")
