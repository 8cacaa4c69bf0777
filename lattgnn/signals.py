"""Signals that ask a command to stop, and the exit codes that say so."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Schedulers send SIGTERM, or the signal that a job asks for: Slurm's --signal=USR1@120 (Windows has
# no such signal). Ctrl-C is SIGINT.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)
)


class StoppedBySignal(SystemExit):
    """A verb was stopped by a signal; the exit code is 128 plus its number, as in a shell.

    Args:
        number: Number of the signal.
        told: Whether a message about it has been printed.
    """

    def __init__(self, number: int, told: bool = False) -> None:
        super().__init__(128 + number)
        self.number, self.told = number, told


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """Handler of a signal that ends the process with its exit code.

    Raises:
        StoppedBySignal: Always.
    """
    raise StoppedBySignal(number)


def handle_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Set the handler of all `SIGNALS`, except those that the process was told to ignore.

    Python allows it in the main thread only; elsewhere nothing is changed.

    Args:
        handler: Function of the number of the signal and the present frame.
    """
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            # A shell ignores signals for its background jobs.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)


@contextmanager
def exit_codes_of_signals() -> Iterator[None]:
    """Within the block SIGTERM, Ctrl-C and SIGUSR1 end with exit codes 143, 130 and 138."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        handle_signals(stop_at_once)
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
