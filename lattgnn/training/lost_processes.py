"""A fit in several processes on one computer: when one of them is lost, the others stop."""

import logging
import os
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

logger = logging.getLogger(__name__)

MESSAGE = (
    "another process of this command has ended, so this one stops too. Its own message says why, "
    "unless it was killed. Repeat the command; a fit continues from last.ckpt."
)
"""What a process says that stops because another one has ended."""

TIME_TO_NOTICE = 10.0
"""Seconds that this process has to fail by itself after a loss. It does so at once if it
communicates over sockets. Communication between GPUs may wait for many minutes."""


class ProcessWatch:
    """Watches the processes that Lightning has started, in place of Lightning's own observer.

    Lightning's observer kills this process with SIGKILL if another one has ended with an error,
    even while this one is leaving with its own message and exit code. This watch lets it leave. It
    ends this process, with the same message and exit code 1, only if this one does not notice the
    loss.

    Args:
        launcher: The launcher of the trainer's strategy.
        verb: The verb that runs, for the message.
        interval: Seconds between two looks at the processes.
    """

    def __init__(self, launcher: Any, verb: str, interval: float = 1.0) -> None:
        self.launcher, self.verb, self.interval = launcher, verb, interval
        self.processes: list[subprocess.Popen] = []
        self._launch = launcher.launch
        launcher.launch = self.launch

    def launch(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Start the processes as Lightning does, then call a function and watch them meanwhile.

        Args:
            function: What every process runs.
            *args: Its arguments.
            **kwargs: The trainer, and keyword arguments of the function.

        Returns:
            What the function returns.
        """
        return self._launch(partial(self._watched, function), *args, **kwargs)

    def _watched(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        self._end_observer()
        ended = threading.Event()
        if self.processes:
            name = "process-watch"
            threading.Thread(target=self._watch, args=(ended,), name=name, daemon=True).start()
        try:
            return function(*args, **kwargs)
        finally:
            ended.set()

    def _end_observer(self) -> None:
        """Take the processes from Lightning's observer, which ends when its list is empty."""
        observed = self.launcher.procs
        # The launcher shares the list with the observer, and needs one itself to pass on signals.
        # With `fit --test`, a second launch starts no new processes and keeps the list.
        self.launcher.procs = self.processes = list(observed)
        observed.clear()

    def _watch(self, ended: threading.Event) -> None:
        while not any(process.poll() for process in self.processes):
            if ended.wait(self.interval):
                return
        if ended.wait(TIME_TO_NOTICE):
            return  # this process leaves by itself
        logger.error("lattgnn %s: error: %s", self.verb, MESSAGE)
        for process in self.processes:
            process.kill()
        os._exit(1)  # the main thread may wait in a library, where no exception reaches it
