"""The parts of a dataset on disk: write, check and read one zarr group with its record."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from lattgnn.data.sources import LabeledFields
from lattgnn.errors import InputError
from lattgnn.files import is_temporary

MANIFEST = "manifest.json"
RECORD = "record.json"


@dataclass(frozen=True)
class Record:
    """What the manifest says about one part.

    Attributes:
        name: Folder of the part.
        split: "train", "val" or "test".
        kind: Class name of its source in lower case, such as "quench" or "randomfields".
        n_frames: Number of frames.
        seed: Seed of its task.
        n_bytes: Size of the zarr group in bytes.
        sha256: Checksum of its file names and contents.
    """

    name: str
    split: str
    kind: str
    n_frames: int
    seed: int
    n_bytes: int
    sha256: str


def write_part(path: Path, frames: LabeledFields, **labels: Any) -> Record:
    """Write frames and their record to a folder.

    Args:
        path: The folder.
        frames: The labeled fields.
        **labels: The entries of the record that do not follow from the frames.

    Returns:
        The record.

    Raises:
        InputError: If a label is NaN or infinite.
    """
    frames.check_finite(f"part {labels['name']}")
    group = zarr.open_group(path, mode="w", zarr_format=3)
    for field in fields(frames):
        values = getattr(frames, field.name)
        # One chunk per array, because a part is always read as a whole.
        array = group.create_array(
            field.name, shape=values.shape, chunks=values.shape, dtype=values.dtype, overwrite=True
        )
        array[...] = values
    n_bytes, sha256 = _size(path), _checksum(path)
    record = Record(n_frames=len(frames), n_bytes=n_bytes, sha256=sha256, **labels)
    text = json.dumps(asdict(record), indent=2) + "\n"
    (path / RECORD).write_text(text, encoding="utf-8")
    return record


def read_record(path: Path) -> Record | None:
    """The record of the part at `path`, or None if the part is missing or damaged."""
    try:
        record = Record(**json.loads((path / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    # A temporary folder has another name than its record.
    intact = record.name == path.name and fault(path.parent, record, hashed=True) is None
    return record if intact else None


def remove_leftovers(root: Path, parts: Mapping[str, Record | None]) -> None:
    """Remove damaged parts and what a killed process left half written, but no file of the user.

    Args:
        root: Directory of the dataset.
        parts: Record of each part by its name, or None if the part is missing or damaged.

    Raises:
        InputError: If there is a file in a damaged part that `write_part` did not write.
    """
    for entry in root.iterdir():
        if entry.is_symlink():
            continue
        if entry.is_dir() and parts.get(entry.name, ...) is None:
            for file in entry.rglob("*"):
                if not file.is_dir() and not _is_of_part(file.relative_to(entry)):
                    raise InputError(
                        f"part {entry} is damaged and must be replaced, but {file} was not written "
                        "by lattgnn. Move this file to another place."
                    )
            shutil.rmtree(entry)
        elif is_temporary(entry, [*parts, MANIFEST]):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _is_of_part(file: Path) -> bool:
    """Whether a path relative to a part is one that `write_part` writes."""
    array, *rest = file.parts
    names = [field.name for field in fields(LabeledFields)]
    # A chunk is the file c/0/0..., and zarr writes a file as FILE.HEX.partial first.
    if array in names and rest:
        return rest[0] == "c" or rest[0].startswith("zarr.")
    return not rest and (array == RECORD or array.startswith("zarr."))


def fault(root: Path, record: Record, hashed: bool) -> str | None:
    """What is wrong with a part on disk, as the end of a sentence, or None if it is intact.

    Args:
        root: Directory of the dataset.
        record: Record of the part.
        hashed: Compare the checksum too, not only the size.
    """
    path = root / record.name
    if not path.is_dir():
        return "is missing"
    if (n_bytes := _size(path)) != record.n_bytes:
        return f"has {n_bytes} bytes instead of {record.n_bytes}"
    if hashed and _checksum(path) != record.sha256:
        return "does not match its checksum"
    return None


def _files(path: Path) -> list[Path]:
    """All files of a part except its record, in a fixed order."""
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != RECORD)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _checksum(path: Path) -> str:
    """Checksum of the names, lengths and contents of all files.

    The lengths keep the end of one file apart from the beginning of the next.
    """
    digest = hashlib.sha256()
    for file in _files(path):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(path).as_posix()}:{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def read_frames(path: Path) -> LabeledFields:
    """The labels of a part.

    Args:
        path: Folder of the part.

    Raises:
        InputError: If a label is NaN or infinite.
    """
    group = zarr.open_group(path, mode="r", zarr_format=3)
    frames = LabeledFields(*(np.asarray(group[field.name]) for field in fields(LabeledFields)))
    frames.check_finite(f"part {path}")
    return frames
