"""Files and folders that a reader sees whole or not at all: write under a temporary name, then rename."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name in the same folder; it gets its name when the block ends well.

    The temporary name keeps the suffix of `path`, because some writers choose their format by it. After
    an exception nothing is left; after a kill a `.name.*.tmp` remains, which no reader looks at.

    Args:
        path: The final file. An existing one is replaced, missing parents are made.

    Yields:
        The file to write.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path, path.suffix)
    try:
        yield temporary
        _fsync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync(path.parent)


def atomic_write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file that a reader sees whole or not at all, even after a power cut.

    Args:
        path: The file. An existing one is replaced, missing parents are made.
        content: Its contents.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_text(path: str | Path, text: str) -> None:
    """The same for text, in UTF-8."""
    atomic_write_bytes(path, text.encode("utf-8"))


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Fill a folder under a temporary name in the same place; it gets its name when the block ends well.

    After an exception nothing is left; after a kill a `.name.*.tmp` remains, which no reader looks at.

    Args:
        path: The final folder.

    Yields:
        The folder to write into.

    Raises:
        FileExistsError: If `path` exists, before the block or when it ends.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} must not exist yet. Remove it, or choose another name.")
    temporary = _temporary(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for folder, _, files in os.walk(temporary):
            for file in files:
                _fsync(Path(folder, file))
            _fsync(Path(folder))
        try:
            temporary.rename(path)
        except OSError as error:
            raise FileExistsError(
                f"{path} was made by another writer meanwhile. Remove one of the two."
            ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _fsync(path.parent)


def _temporary(path: Path, suffix: str = "") -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp{suffix}")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
