"""Compiled code for the CPU, built from the C++ sources of the package when it is first needed.

Compiling on the machine itself allows all vector instructions of its processor. The library is kept
in the cache directory of the user, so it is compiled only once. Without a compiler, or with
LATTGNN_NATIVE=0, `library` returns None and PyTorch is used instead.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from lattgnn.files import atomic_file

__all__ = ["compiler", "library"]

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
    return next((command for command in found if shutil.which(command[0])), None)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled library; the first call may compile it, which takes a few seconds.

    Returns:
        The library, or None if there is no compiler, it fails, or LATTGNN_NATIVE is 0.
    """
    command = compiler()
    if command is None or os.environ.get("LATTGNN_NATIVE") == "0":
        return None
    try:
        return ctypes.CDLL(str(_compiled(command)))
    except (OSError, subprocess.CalledProcessError) as error:
        output = getattr(error, "stderr", "") or ""
        _log.warning(
            "compiled code is not available, PyTorch is used instead: %s %s", error, output.strip()
        )
        return None


def _compiled(command: list[str]) -> Path:
    """Path of the library for these sources, this compiler and this processor; built if missing."""
    sources = sorted(SOURCES.glob("*.cpp"))
    # The predefined macros contain the compiler version and the instruction sets. The digest thus
    # differs between processors, and the nodes of a cluster can share one cache directory.
    macros = _run([*command, NATIVE, "-dM", "-E", "-x", "c++", os.devnull])
    digest = hashlib.sha256(
        "\n".join([*FLAGS, macros, *(s.read_text(encoding="utf-8") for s in sources)]).encode()
    )
    cache_root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(cache_root) / "lattgnn" / f"native-{digest.hexdigest()[:16]}.so"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # the home directory is not writable
            path = Path(tempfile.mkdtemp(prefix="lattgnn-")) / path.name
        with atomic_file(path) as unfinished:
            _run([*command, *FLAGS, NATIVE, *map(str, sources), "-o", str(unfinished)])
    return path


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
