"""A command that several processes run: the first one prints, and all stop for the same reason."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import TextIO

import torch.distributed as dist

from lattgnn.dynamics.domains.processes import LostProcessError, Processes, join
from lattgnn.errors import InputError, StoppedRunError, one_line
from lattgnn.signals import StoppedBySignal, handle_signals

#: Seconds that a process waits for the reason of a failure, and for the first process to print it.
_WAIT_FOR_REASON, _WAIT_FOR_FIRST = 2.0, 5.0
#: Seconds that a process stays after that: `torchrun` ends the others as soon as one is gone.
_LINGER = 0.3


class FailedElsewhereError(StoppedRunError):
    """Another process of the run has failed; the message is its own."""


class InputErrorElsewhere(InputError):
    """Another process of the run has refused the input; the message is its own."""


@contextmanager
def session() -> Iterator[Processes]:
    """Join the processes that `torchrun` has started, and stop together with them.

    Only the first process prints. If one fails, its message becomes the error of the first process,
    and the others exit in silence with the same code. If the first one is gone, another one prints.

    Yields:
        The processes.
    """
    processes = join()
    try:
        try:
            with _silence(processes):
                yield processes
                processes.meet()
        except StoppedBySignal:
            raise
        except LostProcessError as lost:
            _leave_after_another(processes, lost)
        except (InputError, StoppedRunError, OSError, SystemExit) as error:
            _leave_after_own(processes, error)
        except Exception as bug:
            # Its traceback is printed by this process, whichever it is.
            with suppress(Exception):
                processes.say_failure(f"process {processes.rank}: {type(bug).__name__}: {bug}", 1)
            raise
    except StoppedBySignal as stop:  # it may also arrive when the process has begun to leave
        raise StoppedBySignal(stop.number, told=_another_prints(processes)) from None
    finally:
        with suppress(Exception):
            dist.destroy_process_group()


def _leave_after_own(processes: Processes, error: BaseException) -> None:
    """Raise the error of this process in the first one; exit in silence in the others.

    Raises:
        BaseException: The error, or SystemExit with its code.
    """
    code = _code(error)
    with suppress(Exception):
        processes.say_failure(one_line(error) or type(error).__name__, code)
    if _another_prints(processes):
        raise SystemExit(code)
    raise error


def _leave_after_another(processes: Processes, lost: LostProcessError) -> None:
    """Raise the error of the process that failed, or say that one was killed.

    Raises:
        Exception: The error in the process that prints it, SystemExit in the others.
    """
    silent, reason = _another_prints(processes), None
    with suppress(Exception):
        reason = processes.failure(_WAIT_FOR_REASON)
    if silent:
        raise SystemExit(1 if reason is None else reason[1])
    if reason is None:
        raise lost
    raise (InputErrorElsewhere if reason[1] == 2 else FailedElsewhereError)(reason[0]) from None


def _another_prints(processes: Processes) -> bool:
    """Leave the group; whether another process prints why: the first one, if it is still there."""
    # `torchrun` sends SIGTERM as soon as one process is gone. This one is leaving already.
    handle_signals(lambda number, frame: None)
    with suppress(Exception):
        # The others wait for messages of this one, and notice that it is gone.
        dist.destroy_process_group()
    with suppress(Exception):  # without the store nobody knows, and each process prints
        end = time.monotonic() + (0 if processes.is_first else _WAIT_FOR_FIRST)
        while time.monotonic() < end and processes.store.add("tellers", 0) == 0:
            time.sleep(0.05)
        if processes.store.add("tellers", 1) > 1:
            time.sleep(_LINGER)
            return True
    return False


def _code(error: BaseException) -> int:
    """The exit code that the command line gives an error."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    return 1 if isinstance(error, StoppedRunError) else 2


@contextmanager
def _silence(processes: Processes) -> Iterator[None]:
    """Let only the first process print within the block."""
    with ExitStack() as stack:
        if not processes.is_first:
            nowhere: TextIO = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        yield
