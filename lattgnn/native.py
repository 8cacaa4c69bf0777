"""Compiled code for the CPU, built from the C++ sources of the package when it is first needed.

Compiling on the machine itself allows all vector instructions of its processor. The library is kept
in the cache directory of the user, so it is compiled only once. Its name holds the checksum of its
contents, which is compared before it is loaded, and nobody else may be able to write to it: loading
a library runs its code. Without a compiler, or with LATTGNN_NATIVE=0 (or false, no, off), `library`
returns None and PyTorch is used instead.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from lattgnn.errors import one_line
from lattgnn.files import atomic_file

__all__ = ["compiler", "generated_library", "is_available", "library"]

_log = logging.getLogger(__name__)
SOURCES = Path(__file__).parent / "csrc"
FLAGS = (
    "-std=c++17",
    "-O3",
    "-shared",
    "-fPIC",
    "-pthread",
    "-fno-math-errno",
    "-fno-trapping-math",
)
# What the rest of the package calls.
SYMBOLS = (
    *("lattgnn_plan", "lattgnn_forces", "lattgnn_free_plan", "lattgnn_same_bytes", "lattgnn_sums"),
    "lattgnn_chebyshev",
    *("langevin_philox", "langevin_noise"),
    *("langevin_update_float32", "langevin_update_float64"),
    *("langevin_within_float32", "langevin_within_float64"),
)
# On ARM, compilers select the processor with -mcpu; clang of Apple accepts only this one.
NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"


def compiler() -> list[str] | None:
    """The command of the C++ compiler.

    Returns:
        $CXX with its options if its program exists, otherwise the first of g++, clang++ and c++
        that is installed, or None.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    found = (command for command in (named, ["g++"], ["clang++"], ["c++"]) if command)
    command = next((command for command in found if shutil.which(command[0])), None)
    if named and command != named:
        _warn_about_name(named[0], command[0] if command else "PyTorch")
    return command


@cache  # once per process
def _warn_about_name(name: str, used: str) -> None:
    _log.warning(
        "CXX names the compiler %s, which is not installed; %s is used instead", name, used
    )


def is_available() -> bool:
    """Whether there is a compiler, and LATTGNN_NATIVE does not switch compiled code off."""
    return compiler() is not None and not is_switched_off()


@cache
def library() -> ctypes.CDLL | None:
    """The compiled library; the first call may compile it, which takes a few seconds.

    Returns:
        The library, or None if there is no compiler, it fails, or LATTGNN_NATIVE switches it off.
    """
    command = compiler()
    if command is None or is_switched_off():
        return None
    try:
        name = f"native-{_digest(command, *_source_texts())}"
        return _checked(_loaded(name, partial(_build_package, command)), SYMBOLS)
    except (OSError, subprocess.SubprocessError) as error:
        _warn(error)
        return None


def generated_library(
    key: str, source: Callable[[], str], symbols: tuple[str, ...]
) -> ctypes.CDLL | None:
    """A library of generated code, which lies in the same cache.

    Args:
        key: Everything that the source depends on. With a key that is known, the library is loaded
            and the source is not generated.
        source: Generates the C++ source.
        symbols: Functions that the library must have.

    Returns:
        The library, or None in the cases of `library`.
    """
    command = compiler()
    if command is None or is_switched_off():
        return None
    try:
        name = f"generated-{_digest(command, key)}"
        return _checked(_loaded(name, partial(_build_generated, command, source)), symbols)
    except (OSError, subprocess.SubprocessError) as error:
        _warn(error)
        return None


def _checked(loaded: ctypes.CDLL, symbols: tuple[str, ...]) -> ctypes.CDLL:
    missing = [name for name in symbols if not hasattr(loaded, name)]
    if missing:
        raise OSError(f"the library has no {', '.join(missing)}")
    return loaded


def _warn(error: Exception) -> None:
    reason, advice = str(error), ""
    if isinstance(error, subprocess.CalledProcessError):
        output = one_line(error.stderr or "")[:300]
        reason = (
            f"{error.cmd[0]} failed with exit status {error.returncode}: {output or 'no output'}"
        )
        advice = ". Set CXX to a C++ compiler that works, or LATTGNN_NATIVE=0"
    _log.warning("compiled code is not available, PyTorch is used instead: %s%s", reason, advice)


def is_switched_off() -> bool:
    """Whether the environment variable LATTGNN_NATIVE asks for no compiled code."""
    return os.environ.get("LATTGNN_NATIVE", "").strip().lower() in ("0", "false", "no", "off")


def _loaded(name: str, build: Callable[[Path], None]) -> ctypes.CDLL:
    """Load a library of the cache, which is built if it is missing or damaged."""
    try:
        folder = _cache_folder()
        return ctypes.CDLL(str(_found(folder, name) or _compiled(build, folder, name)))
    except OSError as error:
        _log.warning(
            "compiled code is built anew in each process, because the cache cannot be used: %s. "
            "Set XDG_CACHE_HOME to a folder that only you can write to.",
            error,
        )
    with tempfile.TemporaryDirectory(prefix="lattgnn-") as private:
        # A loaded library stays in memory when its file is removed.
        return ctypes.CDLL(str(_compiled(build, Path(private), name)))


def _found(folder: Path, name: str) -> Path | None:
    """The library in the cache; one that is damaged, or not the user's own, is removed."""
    for path in sorted(folder.glob(f"{name}-*.so")):
        # A truncated library would end the process when it is loaded.
        if _fault(path) is None and path.stem == f"{name}-{_checksum(path)}":
            return path
        path.unlink()
    return None


def _cache_folder() -> Path:
    """The folder of libraries in the user's cache directory.

    Raises:
        OSError: If there is none, or others can write to it.
    """
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:  # HOME is not set, and the system does not know the user
        raise OSError(str(error)) from None
    if not root.is_absolute():
        raise OSError(f"{str(root)!r} is not absolute")
    folder = root / "lattgnn"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = folder.resolve()
    if hasattr(os, "geteuid") and folder.stat().st_uid == os.geteuid():
        folder.chmod(0o700)  # it may have been made with a more generous umask
    fault = _fault(folder)
    for parent in folder.parents:
        mode = parent.stat().st_mode
        # In a sticky folder such as /tmp, others cannot rename or remove what is not theirs.
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            fault = fault or f"everybody can write to {parent}"
    if fault is not None:
        raise PermissionError(fault)
    return folder


def _fault(path: Path) -> str | None:
    """Why a file or folder may have been written by somebody else, or None."""
    found = path.lstat()
    if not hasattr(os, "geteuid"):  # on Windows, rights are not in the mode
        return None
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another user"
    if stat.S_ISLNK(found.st_mode):
        return f"{path} is a link"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others can write to {path}"
    return None


def _digest(command: list[str], *texts: str) -> str:
    """A name for these texts, this compiler and this processor."""
    # The predefined macros contain the compiler version and the instruction sets. The digest thus
    # differs between processors, and the nodes of a cluster can share one cache directory.
    macros = _run([*command, NATIVE, "-dM", "-E", "-x", "c++", os.devnull])
    # Not every option of $CXX changes a macro.
    options = command[1:]
    return hashlib.sha256("\n".join([*FLAGS, *options, macros, *texts]).encode()).hexdigest()[:16]


def _source_texts() -> list[str]:
    """The sources and their headers."""
    paths = [*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")]
    return [path.read_text(encoding="utf-8") for path in sorted(paths)]


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _build_package(command: list[str], target: Path) -> None:
    """Compile the sources of the package."""
    _run([*command, *FLAGS, NATIVE, *map(str, sorted(SOURCES.glob("*.cpp"))), "-o", str(target)])


def _build_generated(command: list[str], source: Callable[[], str], target: Path) -> None:
    """Compile generated source."""
    text = target.with_suffix(".cpp")
    text.write_text(source(), encoding="utf-8")
    _run([*command, *FLAGS, NATIVE, str(text), "-o", str(target)])


def _compiled(build: Callable[[Path], None], folder: Path, name: str) -> Path:
    """Build the library in a folder; its name ends with the checksum of its contents."""
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as private:
        built = Path(private) / "library.so"
        build(built)
        path = folder / f"{name}-{_checksum(built)}.so"
        with atomic_file(path) as unfinished:
            shutil.copyfile(built, unfinished)
            unfinished.chmod(0o700)
    return path


def _run(command: list[str]) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, errors="replace"
    ).stdout
