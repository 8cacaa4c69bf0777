"""Compiled kernels for the CPU: C++ sources that this package carries and compiles where it runs.

The compiler of the machine makes code for its very processor, once; the library is kept in the user's cache.
Without a compiler, or with LATTGNN_NATIVE=0, `library` is None and PyTorch does the work.
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
# Apple's clang knows its own processors by this name only.
NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"


def compiler() -> list[str] | None:
    """The C++ compiler: $CXX, or the first of g++, clang++ and c++; None where there is none."""
    named = shlex.split(os.environ.get("CXX", ""))
    found = (command for command in (named, ["g++"], ["clang++"], ["c++"]) if command)
    return next((command for command in found if shutil.which(command[0])), None)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, made when first asked for, which takes seconds; None where they cannot be."""
    command = compiler()
    if command is None or os.environ.get("LATTGNN_NATIVE") == "0":
        return None
    try:
        return ctypes.CDLL(str(_compiled(command)))
    except (OSError, subprocess.CalledProcessError) as error:
        output = getattr(error, "stderr", "") or ""
        _log.warning("no compiled kernels, PyTorch does the work: %s %s", error, output.strip())
        return None


def _compiled(command: list[str]) -> Path:
    """Path of the library for these sources, this compiler and this processor."""
    sources = sorted(SOURCES.glob("*.cpp"))
    # The macros name the compiler and all that the processor can do: nodes of a cluster may share a cache.
    macros = _run([*command, NATIVE, "-dM", "-E", "-x", "c++", os.devnull])
    digest = hashlib.sha256("\n".join([*FLAGS, macros, *(s.read_text() for s in sources)]).encode())
    cache_root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(cache_root) / "lattgnn" / f"native-{digest.hexdigest()[:16]}.so"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # a home that cannot be written
            path = Path(tempfile.mkdtemp(prefix="lattgnn-")) / path.name
        with atomic_file(path) as unfinished:
            _run([*command, *FLAGS, NATIVE, *map(str, sources), "-o", str(unfinished)])
    return path


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
