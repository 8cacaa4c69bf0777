"""What a report says about where a run comes from, as far as the run has recorded it."""

import json
from pathlib import Path
from typing import Any

from lattgnn.dynamics import Trajectory
from lattgnn.report.page import Section, Table
from lattgnn.serialize import versions

MISSING = "not recorded"
# Text files that a run folder may hold, with the heading of their section.
RECORDS = {"command.txt": "Command", "config.yaml": "Resolved configuration"}
WARNINGS = "warnings.json"


def provenance_sections(runs: tuple[Trajectory, ...]) -> list[Section]:
    """Make the sections on provenance: one row per run, then the records of the first run.

    Args:
        runs: The runs.

    Returns:
        The sections.
    """
    columns = ("run", "seed", "replicas", "frames", "checkpoint", "weights (SHA-256)", "start")
    rows = [_row(run) for run in runs]
    caption = (
        "Start: first digits of the SHA-256 of the first field and momentum. Weights: those of the "
        "network; a run with exact forces has none. What an older version has not recorded is "
        f"“{MISSING}”."
    )
    sections = [Section("Provenance", "", Table(columns, rows, caption))]
    for name, heading in RECORDS.items():
        text = _record(runs[0], name)
        if text is not None:
            sections.append(Section(heading, "", Table(("",), [(line,) for line in text], "")))
    sections.append(Section("What was simulated", "", Table.of(runs[0].config)))
    made = {f"run: {key}": value for key, value in _run_versions(runs[0]).items()}
    made |= {f"report: {key}": value for key, value in versions().items()}
    sections.append(Section("Versions", "", Table.of(made)))
    return sections


def run_warnings(runs: tuple[Trajectory, ...]) -> list[str]:
    """Warnings that the runs have recorded, such as fields outside the training range.

    Args:
        runs: The runs.

    Returns:
        One sentence for each.
    """
    found = []
    for run in runs:
        if run.path is not None and (run.path / WARNINGS).is_file():
            content = json.loads((run.path / WARNINGS).read_text(encoding="utf-8"))
            found += [f"{run.path.name}: {text}" for text in content]
        if not run.complete:
            found.append(
                f"{_name(run)} is not finished: {len(run.steps)} of {run.n_planned} frames."
            )
    return found


def _row(run: Trajectory) -> tuple[Any, ...]:
    start = run.config.get("start") or {}
    force_field = run.config.get("force_field") or {}
    arguments = force_field.get("init_args", {})
    is_exact = force_field.get("class_path", "").endswith("ExactForceField")
    digest = arguments.get("weights_sha256")
    frames = f"{len(run.steps)} of {run.n_planned}"
    return (
        _name(run),
        start.get("seed", MISSING),
        run.fields.shape[1],
        frames,
        "exact forces" if is_exact else arguments.get("checkpoint", MISSING),
        "–" if is_exact else (digest or MISSING)[:16],
        str(start.get("sha256", MISSING))[:16],
    )


def _name(run: Trajectory) -> str:
    return "in memory" if run.path is None else str(run.path)


def _record(run: Trajectory, name: str) -> list[str] | None:
    if run.path is None or not (Path(run.path) / name).is_file():
        return None
    return (Path(run.path) / name).read_text(encoding="utf-8").splitlines()


def _run_versions(run: Trajectory) -> dict[str, Any]:
    """Versions with which the run was written."""
    if run.path is None:
        return {"versions": MISSING}
    attributes = json.loads((Path(run.path) / "zarr.json").read_text(encoding="utf-8"))
    return attributes.get("attributes", {}).get("versions") or {"versions": MISSING}
