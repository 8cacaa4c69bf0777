"""Waiting for the tasks of a dask cluster, whose workers or scheduler may go away."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lattgnn.errors import InputError, StoppedRunError

TIMEOUT = "LATTGNN_WORKER_TIMEOUT"
"""Environment variable: for how many seconds a cluster may be without workers. Default: 1 hour."""

_DEFAULT_TIMEOUT = 3600.0
# Seconds without workers before the first message, and between two messages.
_FIRST_MESSAGE, _MESSAGE_PERIOD = 5.0, 60.0
# Seconds between two looks at the finished tasks, and at the list of workers.
_TASK_PERIOD, _WORKER_PERIOD = 0.02, 1.0

_LOGGER = logging.getLogger("lattgnn")


class WorkerDiedError(StoppedRunError):
    """Several workers died, one after another, during one task."""


def worker_timeout() -> float:
    """For how many seconds a cluster may be without workers.

    Raises:
        InputError: If the environment variable is set to something else than a number above 0.
    """
    text = os.environ.get(TIMEOUT) or str(_DEFAULT_TIMEOUT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise InputError(f"{TIMEOUT} must be a number of seconds above 0, got {text!r}.")
    return seconds


def finished(client: Any, running: Any, address: str) -> Iterator[tuple[Any, Any]]:
    """Tasks in the order in which they end.

    Args:
        client: Client of the cluster.
        running: The tasks: an `as_completed` with results, so that a task counts as finished when
            its result has arrived. Before that it may be lost with its worker, and a call that asks
            for it would wait without end. Tasks may be added while this function is used.
        address: Address of the scheduler, for messages.

    Yields:
        A task and what `as_completed` says of its result, for `result`.

    Raises:
        StoppedRunError: If the scheduler is gone, or there has been no worker for as long as
            `worker_timeout` allows.
    """
    watch = _WorkerWatch(client, address)
    while not running.is_empty():
        if running.has_ready():
            yield next(running)
            continue
        with _one_line(client, address):
            watch.look()
        time.sleep(_TASK_PERIOD)


def result(client: Any, future: Any, found: Any, address: str) -> Any:
    """The result of a task that has ended.

    Args:
        client: Client of the cluster.
        future: The task.
        found: Its result, or what was raised.
        address: Address of the scheduler, for messages.

    Raises:
        StoppedRunError: If the scheduler is gone.
        WorkerDiedError: If several workers in a row died during the task.
        Exception: What the task raised.
    """
    from distributed import CancelledError

    with _one_line(client, address):
        if future.cancelled():
            raise CancelledError
        if future.status == "error":
            _, error, traceback = found
            raise error.with_traceback(traceback)
    return found


@contextmanager
def _one_line(client: Any, address: str) -> Iterator[None]:
    """Say in one line that the scheduler or the workers are gone."""
    from distributed import CancelledError, KilledWorker

    try:
        yield
    except (CancelledError, OSError) as error:
        if isinstance(error, OSError) and client.status == "running":  # an error of the task
            raise
        raise StoppedRunError(
            f"the connection to the dask scheduler at {address} is lost. Finished parts "
            "are kept; start a scheduler and run the same command again."
        ) from error
    except KilledWorker as error:
        raise WorkerDiedError(
            f"the dask workers died, one after another, during one task: {error} Finished parts are"
            " kept; run the same command again, with more memory per worker."
        ) from error


class _WorkerWatch:
    """Says when a cluster has no workers, and ends the wait for them after some time."""

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address, self.timeout = client, address, worker_timeout()
        self.last_seen = self.last_look = time.monotonic()
        self.next_message = _FIRST_MESSAGE

    def look(self) -> None:
        """Ask for the list of workers, at most once per second."""
        now = time.monotonic()
        if now - self.last_look < _WORKER_PERIOD:
            return
        self.last_look = now
        if self.client.nthreads():
            self.last_seen, self.next_message = now, _FIRST_MESSAGE
            return
        waited = now - self.last_seen
        if waited >= self.timeout:
            raise StoppedRunError(
                f"the dask cluster at {self.address} has had no worker for {waited:.0f} s."
                " Finished parts are kept; start workers and run the same command again. "
                f"{TIMEOUT} sets how many seconds to wait."
            )
        if waited >= self.next_message:
            self.next_message += _MESSAGE_PERIOD
            _LOGGER.warning(
                "The dask cluster at %s has no workers. Start one with `dask worker %s`; waiting "
                "for at most another %.0f s.",
                self.address, self.address, self.timeout - waited,
            )  # fmt: skip
