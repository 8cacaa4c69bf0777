"""Files and directories that a reader sees complete or not at all.

Everything is written under a temporary name in the same directory and renamed when it is complete,
because a rename within one file system is atomic.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name, and rename it when the block succeeds.

    An exception leaves nothing behind. A killed process leaves `.NAME.*.tmp`, which no reader looks
    at.

    Args:
        path: The final file. An existing one is replaced; missing parent directories are created.

    Yields:
        The file to write. It has the suffix of `path`, because some writers choose their format by
        it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path, path.suffix)
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    # The new name is an entry of the directory, which has to reach the disk too.
    _flush_to_disk(path.parent)


def atomic_write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file that a reader sees complete or not at all, even after a power failure.

    Args:
        path: The file. An existing one is replaced; missing parent directories are created.
        content: What to write.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write text in UTF-8 as `atomic_write_bytes` does.

    Args:
        path: The file. An existing one is replaced; missing parent directories are created.
        text: What to write.
    """
    atomic_write_bytes(path, text.encode("utf-8"))


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Fill a directory under a temporary name, and rename it when the block succeeds.

    An exception leaves nothing behind. A killed process leaves `.NAME.*.tmp`, which no reader looks
    at.

    Args:
        path: The final directory.

    Yields:
        The directory to write into.

    Raises:
        FileExistsError: If `path` exists, before the block or at its end.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} already exists. Remove it, or choose another name.")
    temporary = _temporary_path(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for folder, _, files in os.walk(temporary):
            for file in files:
                _flush_to_disk(Path(folder, file))
            _flush_to_disk(Path(folder))
        try:
            temporary.rename(path)
        except OSError as error:
            raise FileExistsError(
                f"{path} was created by another process in the meantime. Remove it, or choose "
                f"another name."
            ) from error
    except BaseException:  # an interrupt as well: nothing half-finished is left
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _flush_to_disk(path.parent)


def _temporary_path(path: Path, suffix: str = "") -> Path:
    """A hidden name beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp{suffix}")


def _flush_to_disk(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
