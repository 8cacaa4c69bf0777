"""What `lattgnn simulate` records with a run: the resolved configuration, and its origin."""

import json
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from lattgnn.data.code_identity import changed_classes, code_identity
from lattgnn.disorder import without_disorder
from lattgnn.dynamics.restart import FromRun
from lattgnn.forcefield import LearnedForceField
from lattgnn.run_records import CONFIG, PROVENANCE, AnyForceField
from lattgnn.serialize import describe, versions
from lattgnn.spin_orders import SpinOrder


@dataclass(frozen=True)
class Records:
    """Makes the files of a run that say how it was made, from the configuration of its trajectory.

    Attributes:
        command: The verb and its options.
        resolved_options: Gives all options as YAML.
        dtype: Precision of the state.
        seed: Seed of the initial state and of the noise.
        origin: What the run starts from, None for random fields.
        checkpoint: Name, path and SHA-256 of the checkpoint, if there is one.
        force_field: The force field.
        code: Hashes of the source of the user's own classes.
        old_code: Those of the recorded run that is repeated, if it is one.
    """

    command: Sequence[str]
    resolved_options: Callable[[], str]
    dtype: str
    seed: int
    origin: FromRun | SpinOrder | None
    checkpoint: dict[str, str] | None
    force_field: AnyForceField
    code: dict[str, str]
    old_code: dict[str, str] | None

    def __call__(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Text by name of the file: the resolved configuration, and where the run comes from."""
        options = yaml.safe_load(self.resolved_options())
        out = Path(options["out"])
        options = _resolved(options, config, self.dtype, self.origin, self.checkpoint)
        options["force_field"] |= _resolved_solver(self.force_field)
        options["code"] = self.code or None
        compiled = without_disorder(self.force_field).is_compiled
        found = _provenance(self.command, self.seed, compiled, self.checkpoint)
        found["earlier"] = _earlier_provenance(out)
        old_code = self.old_code or {}
        changed = changed_classes(old_code, self.code)
        found["changed_code"] = {name: [old_code[name], self.code[name]] for name in changed}
        text = yaml.safe_dump(options, sort_keys=False, allow_unicode=True)
        return {CONFIG: text, PROVENANCE: json.dumps(found, indent=2) + "\n"}


def code_of(force_field: AnyForceField, *others: Any) -> dict[str, str]:
    """Hashes of the source of all classes of a run that do not belong to lattgnn."""
    clean = without_disorder(force_field)
    return code_identity(clean.hamiltonian, clean.solver, *others)


def _resolved(
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


def _resolved_solver(force_field: AnyForceField) -> dict[str, Any]:
    """The options of a solver with what a tolerance, or the presence of a compiler, decides."""
    clean = without_disorder(force_field)
    if isinstance(clean, LearnedForceField):
        return {}
    return {"solver": describe(clean.solver), "energy": clean.energy}


def _provenance(
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


def _earlier_provenance(run: Path) -> list[dict[str, Any]]:
    """The records of a run before it is made longer, the oldest first."""
    path = run / PROVENANCE
    if not path.is_file():
        return []
    before = json.loads(path.read_text(encoding="utf-8"))
    return [*before.pop("earlier", []), before]
