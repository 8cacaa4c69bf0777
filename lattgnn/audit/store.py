"""The folder of an audit: one file per finished patch, so that an audit can be killed and resumed.

RUN-audit/
audit.json                  what determines the audit, written first
patches/00-0000.npz         one file per patch, which appears when it is complete
metrics.json, report.html   the result, with pictures
train.npz, val.npz, test.npz, dataset.yaml      the labels, for `lattgnn fit`
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lattgnn.audit.sampling import Draw
from lattgnn.errors import InputError
from lattgnn.files import atomic_file, atomic_write_text
from lattgnn.serialize import config_differences, versions
from lattgnn.trust import reading

FORMAT, FORMAT_VERSION = "lattgnn audit", 1
CONFIG, PATCHES = "audit.json", "patches"

Array = np.ndarray


@dataclass(frozen=True)
class SolvedPatch:
    """One patch with the forces of the run and of the reference.

    Attributes:
        place: Frame, replica, and the first cell of the core.
        core: The sites of the core, numbered in the lattice of the run.
        run: Electronic forces of the run on the core, [n_core(, component)].
        reference: Those of the reference.
        classical: Classical forces on the core, which are exact.
        field: Field of the whole patch, as the labels have it, [n_sites(, component)].
        forces: Electronic forces of the reference on the whole patch.
        energy: Electronic energy of the patch.
        refined: Electronic forces on the core by a better reference; empty if there was none.
        tangent: Whether run, reference, classical and refined are the parts of effective fields
            that are perpendicular to the spins.
    """

    place: Int[np.ndarray, " n"]
    core: Int[np.ndarray, " n_core"]
    run: Float[np.ndarray, " n_core *components"]
    reference: Float[np.ndarray, " n_core *components"]
    classical: Float[np.ndarray, " n_core *components"]
    field: Float[np.ndarray, " n_sites *components"]
    forces: Float[np.ndarray, " n_sites *components"]
    energy: Float[np.ndarray, ""]
    refined: Float[np.ndarray, " n_refined *components"]
    tangent: Bool[np.ndarray, ""] = dataclasses.field(default_factory=lambda: np.array(False))


class AuditStore:
    """Patches in a folder, or in memory.

    Args:
        path: The folder, None for memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._solved: dict[str, SolvedPatch] = {}

    def begin(self, config: Mapping[str, Any]) -> None:
        """Write what determines the audit, or compare it with that of an earlier call.

        Args:
            config: Plain JSON types.

        Raises:
            InputError: If the folder holds another audit, or something else.
        """
        if self.path is None:
            return
        stored = self.read_config()
        for key, (old, new) in config_differences(stored or config, config).items():
            raise InputError(
                f"{self.path} holds an audit with {key}={old!r}, got {key}={new!r}. Use another "
                "--out."
            )
        # What a killed process has left half written.
        leftovers = [path for path in self.path.rglob(".*.tmp*") if path.is_file()]
        if stored is None and self.path.exists() and set(self.path.iterdir()) - set(leftovers):
            raise InputError(
                f"{self.path} must be new, empty or hold an audit, but it has other files. Use "
                "another --out."
            )
        for path in leftovers:
            path.unlink()
        if stored is not None:
            return
        record = {"format": FORMAT, "format_version": FORMAT_VERSION}
        record |= {"config": dict(config), "versions": versions()}
        atomic_write_text(self.path / CONFIG, json.dumps(record, indent=2) + "\n")

    def read_config(self) -> dict[str, Any] | None:
        """What determines the audit in the folder, None if there is none.

        Raises:
            InputError: If the file is damaged or of another version.
        """
        if self.path is None or not (self.path / CONFIG).is_file():
            return None
        file = self.path / CONFIG
        with reading(file):
            record = json.loads(file.read_text(encoding="utf-8"))
            same = (record["format"], record["format_version"]) == (FORMAT, FORMAT_VERSION)
            config = dict(record["config"])
        if not same:
            raise InputError(
                f"{file} must be that of an audit of format version {FORMAT_VERSION}. Use another "
                "--out."
            )
        return config

    def get(self, draw: Draw) -> SolvedPatch | None:
        """A patch that has been solved, None if it has not, or if its file is damaged.

        Args:
            draw: The patch.
        """
        if draw.name not in self._solved and self.path is not None:
            found = _read(self.path / PATCHES / f"{draw.name}.npz")
            if found is not None and found.place.tolist() == place(draw):
                self._solved[draw.name] = found
        return self._solved.get(draw.name)

    def solved(self, draw: Draw) -> SolvedPatch:
        """A patch that is known to be solved.

        Args:
            draw: The patch.
        """
        return self._solved[draw.name]

    def put(self, draw: Draw, patch: SolvedPatch) -> None:
        """Keep a patch that has been solved.

        Args:
            draw: Which one it is.
            patch: Its forces.
        """
        if self.path is not None:
            arrays = {part.name: getattr(patch, part.name) for part in fields(patch)}
            with atomic_file(self.path / PATCHES / f"{draw.name}.npz") as temporary:
                np.savez(temporary, **arrays)
        self._solved[draw.name] = patch


def place(draw: Draw) -> list[int]:
    """Frame, replica and first cell of a draw.

    Args:
        draw: The draw.
    """
    return [draw.frame, draw.replica, *draw.start]


def _read(path: Path) -> SolvedPatch | None:
    """A patch of a file, None if it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        # numpy would leave a damaged file open if it opened the file itself.
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            # Reading compares the checksum of each array.
            return SolvedPatch(**{name: file[name] for name in file.files})
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        return None
