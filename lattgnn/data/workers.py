"""Run tasks in this process, in local worker processes, or on a running dask cluster.

Every task runs on one thread: LAPACK has the highest throughput with one thread per core, and its
last bits depend on the number of threads.
"""

import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import dask
import torch
from dask.system import CPU_COUNT
from threadpoolctl import threadpool_limits

from lattgnn.data.cluster import finished, result
from lattgnn.data.sources import LabeledFields, Source
from lattgnn.errors import InputError, check_number
from lattgnn.forcefield import ExactForceField

T = TypeVar("T")
R = TypeVar("R")
_CONNECT_SECONDS = 30.0
# Local processes may be too busy to answer for minutes. If one of them has ended, its connection is
# closed, so none of this time is waited for.
_PATIENT = {f"distributed.comm.timeouts.{name}": "600s" for name in ("connect", "tcp")}


@dataclass(frozen=True)
class Task:
    """One independent piece of work: task number `index` of a source."""

    name: str
    source: Source
    index: int
    seed: int

    @property
    def n_solves(self) -> int:
        """Number of exact solutions that the task costs."""
        return self.source.n_solves(self.index)


def _label(exact: ExactForceField, task: Task) -> LabeledFields:
    """Run one task on one thread, in this process or a worker."""
    with threads(1):
        return task.source.label(exact, task.index, task.seed)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads in torch and LAPACK within a `with` statement.

    The last bits of sums and eigenvectors depend on the number of threads.

    Args:
        n: Number of threads, at least 1.

    Raises:
        InputError: If n is below 1, or far above the number of cores.
    """
    check_threads(n)
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(limits=n):
            yield
    finally:
        torch.set_num_threads(before)


def check_threads(n: int) -> None:
    """Refuse a number of threads that the system cannot start, or would try to for minutes.

    Args:
        n: Number of threads of one process.

    Raises:
        InputError: If n is below 1, or far above the number of cores.
    """
    check_number("threads", n, 1, max(64, 4 * CPU_COUNT))


def compute(
    exact: ExactForceField, todo: list[Task], n_workers: int | None
) -> Iterator[tuple[Task, LabeledFields]]:
    """Label tasks in parallel.

    Args:
        exact: The exact force field.
        todo: The tasks, in the order in which they are started.
        n_workers: Number of local processes, see `cluster`.

    Yields:
        A task with its labels, as soon as it is finished.

    Raises:
        InputError: If there is no answer from that cluster.
        StoppedRunError: If its scheduler is gone, or all its workers for too long.
    """
    with cluster(n_workers, len(todo)) as client:
        for task, labels in run_all(client, partial(_label, exact), todo):
            yield task, labels()


def run_all(
    client: Any,
    function: Callable[[T], R],
    todo: Iterable[T],
    newly_ready: Callable[[], Iterable[T]] = tuple,
) -> Iterator[tuple[T, Callable[[], R]]]:
    """Call a function for each of many tasks.

    Args:
        client: What `cluster` gave.
        function: The function. Workers import its module.
        todo: The tasks that can start at once, in this order.
        newly_ready: Called after each task: those that can start now, for tasks that need others.

    Yields:
        A task, and a function that returns its result or raises what stopped it. With a client
        the task is finished. Without one, this function runs it.
    """
    if client is None:
        waiting = deque(todo)
        while waiting:
            task = waiting.popleft()
            yield task, partial(function, task)
            waiting += newly_ready()
        return
    from distributed import as_completed

    # pure=False: dask must not treat two tasks with equal arguments as one.
    futures = {client.submit(function, task, pure=False): task for task in todo}
    running = as_completed(list(futures), with_results=True, raise_errors=False)
    address = _address() or "this machine"
    for future, found in finished(client, running, address):
        # Dropping the future lets dask free the result, so that results do not pile up in memory.
        yield futures.pop(future), partial(result, client, future, found, address)
        future.release()
        for task in newly_ready():
            added = client.submit(function, task, pure=False)
            futures[added] = task
            running.add(added)


@contextmanager
def cluster(n_workers: int | None, n_tasks: int) -> Iterator[Any]:
    """A dask client of a running cluster or of a new local one, or None for this process.

    Args:
        n_workers: Number of local processes; None takes one per core, 0 or 1 works in this process.
            The environment variable DASK_SCHEDULER_ADDRESS takes precedence.
        n_tasks: Number of tasks; more processes would be idle.

    Raises:
        InputError: If there is no answer from the address.
    """
    address = _address()
    n_workers = min(CPU_COUNT if n_workers is None else n_workers, n_tasks)
    if address is None and n_workers <= 1:
        yield None
        return
    with _client(address, n_workers) as client:
        yield client


def _address() -> str | None:
    """The address of a running scheduler; an empty variable counts as not set."""
    return os.environ.get("DASK_SCHEDULER_ADDRESS") or None


@contextmanager
def _client(address: str | None, n_workers: int) -> Iterator[Any]:
    """A dask client of the cluster at an address, or of a new local cluster."""
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if address is not None:
            # They log a lost scheduler, some with a traceback; `result` reports it in one line.
            for name in ("distributed", "distributed.client", "tornado.application"):
                stack.enter_context(_quiet(name, logging.CRITICAL))
            try:
                client = Client(address, timeout=_CONNECT_SECONDS)
            except OSError as error:
                raise InputError(
                    "DASK_SCHEDULER_ADDRESS must be the address of a running scheduler, got "
                    f"{address!r} ({error}). Start one with `dask scheduler`, or unset the "
                    "variable to use this machine."
                ) from None
            yield stack.enter_context(client)
            return
        stack.enter_context(dask.config.set(_PATIENT))
        # It would report the start and end of every worker.
        stack.enter_context(_quiet("distributed", logging.ERROR))
        with _hidden_main():
            cluster = LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,  # no limit, at which dask would restart a worker
                dashboard_address=":0",  # any free port
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.ERROR,
                # One thread per worker, set before LAPACK is loaded there.
                env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        client = stack.enter_context(Client(stack.enter_context(cluster)))
        client.run(_leave_interrupts_to_the_parent)
        yield client


def _leave_interrupts_to_the_parent() -> None:
    """Ignore Ctrl-C, which reaches all processes of a terminal; the parent ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _quiet(name: str, lowest: int) -> Iterator[None]:
    """Suppress the messages of a logger below a level."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(lowest)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep new processes from importing the main script again.

    Multiprocessing imports it for the objects defined there, but dask sends these by value. A
    script without `if __name__ == "__main__"` would otherwise run itself in every worker.
    """
    main = sys.modules["__main__"]
    spec, file = main.__spec__, main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file
