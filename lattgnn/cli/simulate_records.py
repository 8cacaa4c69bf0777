"""What `lattgnn simulate` records with a run: the resolved configuration, and its origin."""

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lattgnn.disorder import DisorderedForceField
from lattgnn.dynamics.restart import FromRun
from lattgnn.forcefield import LearnedForceField
from lattgnn.run_records import PROVENANCE, AnyForceField
from lattgnn.serialize import describe, versions
from lattgnn.spin_orders import SpinOrder


def resolved(
    options: dict[str, Any],
    config: Mapping[str, Any],
    dtype: str,
    origin: FromRun | SpinOrder | None,
    checkpoint: dict[str, str] | None,
) -> dict[str, Any]:
    """The configuration with all that defaults, the working directory or a longer run decide."""
    options.pop("config", None)
    options["cuts"] = None  # the run can be continued by another number of processes
    options |= {"dtype": dtype, "save": config["save"], "out": str(Path(options["out"]).resolve())}
    if isinstance(origin, FromRun):
        options["initial"]["from"] = str(origin)
    if checkpoint is not None:
        is_name = checkpoint["name"] == Path(checkpoint["path"]).stem
        options["force_field"]["checkpoint"] = checkpoint["name" if is_name else "path"]
        options["force_field"]["sha256"] = checkpoint["sha256"]
    return options


def resolved_solver(force_field: AnyForceField) -> dict[str, Any]:
    """The options of a solver with what a tolerance, or the presence of a compiler, decides."""
    clean = force_field.clean if isinstance(force_field, DisorderedForceField) else force_field
    if isinstance(clean, LearnedForceField):
        return {}
    return {"solver": describe(clean.solver), "energy": clean.energy}


def provenance(
    argv: Sequence[str], seed: int, compiled: bool, checkpoint: dict[str, str] | None
) -> dict[str, Any]:
    """Where a run comes from, besides its configuration."""
    return {
        "command": shlex.join(["lattgnn", *getattr(argv, "typed", argv)]),
        "working_directory": str(Path.cwd()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.node()}, {platform.machine()}, {platform.system()}",
        "versions": versions(),
        "seed": seed,
        "checkpoint": checkpoint,
        "compiled_forces": compiled,
    }


def earlier_provenance(run: Path) -> list[dict[str, Any]]:
    """The records of a run before it is made longer, the oldest first."""
    path = run / PROVENANCE
    if not path.is_file():
        return []
    before = json.loads(path.read_text(encoding="utf-8"))
    return [*before.pop("earlier", []), before]
