"""The compiled code under the address and undefined-behavior sanitizers of the compiler."""

import os
import subprocess
import sys

import pytest

from lattgnn.native import compiler
from tests.stress.commands import ROOT

pytestmark = pytest.mark.slow

#: Tests that call every compiled function, with odd sizes and all kinds of boundaries.
TESTS = ("tests/backends/test_native_forces.py", "tests/dynamics/test_update.py",
         "tests/dynamics/test_langevin_kernels.py", "tests/nn/test_scalar_layer.py")  # fmt: skip
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=all -g -O1"


def library_of(command: list[str], name: str) -> str | None:
    """Path of a library of the compiler, or None if it has none."""
    done = subprocess.run([*command, f"-print-file-name={name}"], capture_output=True, text=True)
    path = done.stdout.strip()
    return path if os.path.isabs(path) and os.path.exists(path) else None


def test_compiled_code_has_no_invalid_access_and_no_undefined_behavior(tmp_path):
    command = compiler() or []
    runtime = library_of(command, "libasan.so") if command else None
    if runtime is None:
        pytest.skip("needs a compiler with the address sanitizer")
    environment = os.environ | {
        "CXX": f"{command[0]} {FLAGS}",
        "XDG_CACHE_HOME": str(tmp_path),
        # Python itself was built without the sanitizer, so its runtime is loaded first.
        "LD_PRELOAD": runtime,
        # Python frees little at its end, and torch allocates in ways that the sanitizer dislikes.
        "ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0",
        "PYTHONPATH": str(ROOT),
    }
    arguments = ["-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert list(tmp_path.rglob("native-*.so")), "the sanitized library was not built"
