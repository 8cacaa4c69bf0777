"""Files and directories that a reader sees complete or not at all, and that one process writes.

Everything is written under a temporary name in the same directory and renamed when it is complete,
because a rename within one file system is atomic.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import uuid
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

from lattgnn.errors import InputError

# What a file system answers that has no locks, such as Lustre without the mount option flock.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class LockedError(InputError):
    """Another process holds the lock of a run or of a dataset."""


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


@contextmanager
def run_lock(path: str | Path) -> Iterator[None]:
    """Hold the lock of a run or of a dataset, so that one process at a time writes to it.

    The operating system releases the lock when the process ends, even if it is killed. So the lock
    file of a dead process locks nothing, and the next process takes it over.

    Args:
        path: The directory of the run, which need not exist yet. The lock file `.NAME.lock` lies
            beside it, or in it where its parent is read-only, and is removed at the end.

    Raises:
        LockedError: If another process holds the lock; the message names its id and host.
    """
    path = Path(path).resolve()  # one lock for all spellings of a path
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    inside = path.is_dir() and not os.access(path.parent, os.W_OK)
    folder = path if inside else path.parent
    lock = folder / f".{path.name}.lock"
    try:
        descriptor = _locked_descriptor(path, lock)
        try:
            yield
        finally:
            with suppress(OSError):  # Windows does not remove an open file, which does no harm
                lock.unlink()
            os.close(descriptor)
    finally:
        with suppress(OSError):
            for parent in made:
                parent.rmdir()  # if it is empty, because nothing was written


def _locked_descriptor(path: Path, lock: Path) -> int:
    """Open and lock a lock file, and write into it which process holds it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor, path):
                raise LockedError(
                    f"{path} is being written by {_holder(descriptor)}. Wait until it has finished,"
                    " or stop it."
                )
            # The previous holder may have removed the file between our two calls. A lock on a
            # removed file excludes nobody, so the new file is locked instead.
            if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
                _check_ours(descriptor, lock)
                holder = f"\nprocess {os.getpid()} on {socket.gethostname()}\n"
                os.ftruncate(descriptor, 0)
                os.write(descriptor, holder.encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _check_ours(descriptor: int, lock: Path) -> None:
    """Refuse to use a file as the lock that another program or the user has written."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    content = os.read(descriptor, 9)
    os.lseek(descriptor, 0, os.SEEK_SET)
    if content and content != b"\nprocess ":
        raise InputError(
            f"{lock} would be the lock file of this command, but it was not written by lattgnn. "
            "Move it to another place, or use another directory."
        )


def _lock(descriptor: int, path: Path) -> bool:
    """Lock an open file, and return whether no other process holds it."""
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"the file system of {path} has no locks ({error.strerror}). Make sure yourself that "
            "no other process writes there.",
            stacklevel=2,
        )
        return True


def _holder(descriptor: int) -> str:
    """The process that holds a lock, as it wrote itself into the file."""
    # On Windows the first byte is locked for readers too, so the text begins after it.
    os.lseek(descriptor, 1, os.SEEK_SET)
    return os.read(descriptor, 1000).decode(errors="replace").strip() or "another process"


def is_temporary(path: Path, names: Iterable[str]) -> bool:
    """Whether a killed process left this file or directory.

    Args:
        path: The file or directory.
        names: Names of the files and directories that it may have been meant to become.
    """
    found = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}\.tmp(\.\w+)?", path.name)
    return found is not None and found[1] in names


def _temporary_path(path: Path, suffix: str = "") -> Path:
    """A hidden name beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp{suffix}")


def _flush_to_disk(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on the disk (fsync)."""
    if os.name == "nt":  # Windows opens no directories, and flushes files opened for writing only
        if path.is_dir():
            return
        descriptor = os.open(path, os.O_RDWR)
    else:
        descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
