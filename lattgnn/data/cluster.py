"""Waiting for the tasks of a dask cluster, whose workers or scheduler may go away."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from lattgnn.errors import InputError, StoppedRunError

if TYPE_CHECKING:
    from distributed import Client, Future

TIMEOUT = "LATTGNN_WORKER_TIMEOUT"
"""Environment variable: for how many seconds a cluster may be without workers. Default: 1 hour."""

_DEFAULT_TIMEOUT = 3600.0
# Seconds without workers before the first message, and between two messages.
_FIRST_MESSAGE, _MESSAGE_PERIOD = 5.0, 60.0
# Seconds between two looks at the finished tasks, and at the list of workers.
_TASK_PERIOD, _WORKER_PERIOD = 0.02, 1.0

_LOGGER = logging.getLogger("lattgnn")


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


def results(
    client: Client, futures: Collection[Future], address: str
) -> Iterator[tuple[Future, Any]]:
    """Results of tasks in the order in which they are finished.

    Args:
        client: Client of the cluster.
        futures: The tasks.
        address: Address of the scheduler, for messages.

    Yields:
        A task and its result.

    Raises:
        StoppedRunError: If the scheduler is gone, if there has been no worker for as long as
            `worker_timeout` allows, or if several workers in a row died during one task.
    """
    from distributed import CancelledError, KilledWorker, as_completed

    # With results: a task counts as finished when its result has arrived. Before that it may be
    # lost with its worker, and a call that asks for it would wait without end.
    finished = as_completed(futures, with_results=True)
    watch = _WorkerWatch(client, address)
    try:
        while not finished.is_empty():
            if finished.has_ready():
                future, result = next(finished)
                if future.cancelled():
                    raise CancelledError
                yield future, result
            else:
                watch.look()
                time.sleep(_TASK_PERIOD)
    except (CancelledError, OSError) as error:
        if isinstance(error, OSError) and client.status == "running":  # an error of the task
            raise
        raise StoppedRunError(
            f"the connection to the dask scheduler at {address} is lost. Finished parts "
            "are kept; start a scheduler and run the same command again."
        ) from error
    except KilledWorker as error:
        raise StoppedRunError(
            f"the dask workers died, one after another, during one task: {error} Finished parts are"
            " kept; run the same command again, with more memory per worker."
        ) from error


class _WorkerWatch:
    """Says when a cluster has no workers, and ends the wait for them after some time."""

    def __init__(self, client: Client, address: str) -> None:
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
