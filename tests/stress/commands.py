"""Commands of lattgnn in forked processes, which start at once and can be killed at any moment."""

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import lattgnn.cli.physics_verbs  # noqa: F401  (a forked process has it imported already)
import lattgnn.cli.trainer_verbs  # noqa: F401
from lattgnn import cli

#: Exit code of a command that ended with an exception: in a terminal it shows a traceback.
TRACEBACK = 99
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code; negative for a signal.
        output: All that it printed.
        seconds: How long it ran.
    """

    code: int
    output: str
    seconds: float

    @property
    def lines(self) -> list[str]:
        """The lines that it printed, without empty ones."""
        return [line for line in self.output.splitlines() if line.strip()]

    @property
    def is_one_line_refusal(self) -> bool:
        """Whether a mistake was reported as it should be: in one line, with exit code 2."""
        return self.code == 2 and len(self.lines) == 1 and ": error: " in self.output


def run(
    arguments: Sequence[str], folder: Path, kill_after: float | None = None, limit: float = 120.0
) -> Ended:
    """Run `lattgnn ARGUMENTS` in a folder.

    Args:
        arguments: The command line.
        folder: The working directory.
        kill_after: Seconds after which SIGKILL is sent, if the command still runs.
        limit: Seconds after which the test fails, because the command hangs.
    """
    # Not in the folder, whose disk may be full.
    descriptor, name = tempfile.mkstemp(suffix=".log")
    log = Path(name)
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(arguments, folder, descriptor)
    deadline = start + (limit if kill_after is None else kill_after)
    ended, status = 0, 0
    while not ended:
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended and time.monotonic() > deadline:
            with suppress(ProcessLookupError):  # it has not made its process group yet
                os.killpg(child, signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            assert kill_after is not None, f"lattgnn {' '.join(arguments)} hangs"
            break
        time.sleep(0.002)
    code, output = os.waitstatus_to_exitcode(status), log.read_text(errors="replace")
    os.close(descriptor)
    log.unlink()
    return Ended(code, output, time.monotonic() - start)


def _become(arguments: Sequence[str], folder: Path, log: int) -> None:
    """Turn the forked process into the command. It never returns to the test."""
    code = TRACEBACK
    try:
        os.setsid()  # a process group of its own, so that workers are killed with it
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        os.chdir(folder)
        code = cli.main(list(arguments)) or 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
