"""Who computes: this process, an embedded cluster of processes, or a dask cluster that already runs.

All of them run a task on one thread, because LAPACK is fastest so and its bits depend on the threads.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from dask.system import CPU_COUNT
from threadpoolctl import threadpool_limits

from lattgnn.data.sources import LabeledFields, Source
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField

_CONNECT_SECONDS = 30.0


@dataclass(frozen=True)
class Task:
    """One independent piece of work: part number `index` of a source."""

    name: str
    source: Source
    index: int
    seed: int

    @property
    def n_solves(self) -> int:
        """Exact solutions that it costs."""
        return self.source.n_solves(self.index)


def _label(exact: ExactForceField, task: Task) -> LabeledFields:
    """Run one task on one thread, in whatever process."""
    with threads(1):
        return task.source.label(exact, task.index, task.seed)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Run a block on `n` threads, torch's and LAPACK's; sums and eigenvectors have bits that depend on it.

    Args:
        n: number of threads, at least 1.

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        raise InputError(f"threads must be at least 1, got {n!r}. Use 1.")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(limits=n):
            yield
    finally:
        torch.set_num_threads(before)


def compute(
    exact: ExactForceField, todo: list[Task], n_workers: int | None
) -> Iterator[tuple[Task, LabeledFields]]:
    """Label tasks in parallel; the results as they come, in any order.

    Args:
        exact: the exact force field.
        todo: the tasks, the first ones are started first.
        n_workers: local processes; None takes one a core, 0 or 1 stays in this process. The environment
            variable DASK_SCHEDULER_ADDRESS overrides it with a running cluster.

    Raises:
        ValueError: if that cluster does not answer.
    """
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    n_workers = min(CPU_COUNT if n_workers is None else n_workers, len(todo))
    if address is None and n_workers <= 1:
        for task in todo:
            yield task, _label(exact, task)
        return
    from distributed import as_completed

    with _client(address, n_workers) as client:
        futures = {client.submit(_label, exact, task, pure=False): task for task in todo}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
            future.release()


@contextmanager
def _client(address: str | None, n_workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if address is not None:
            try:
                client = Client(address, timeout=_CONNECT_SECONDS)
            except OSError as error:
                raise InputError(
                    f"DASK_SCHEDULER_ADDRESS must be the address of a running scheduler, got {address!r} "
                    f"({error}). Start one with `dask scheduler`, or unset the variable to use this machine."
                ) from None
            yield stack.enter_context(client)
            return
        stack.enter_context(_quiet("distributed"))
        with _hidden_main():
            cluster = LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,  # never restart a process because the machine is full
                dashboard_address=":0",  # any free port
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.ERROR,
                env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        client = stack.enter_context(Client(stack.enter_context(cluster)))
        client.run(_leave_interrupts_to_the_parent)
        yield client


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches every process of a terminal; this one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Only errors of this logger, for a while: start and end of a worker are no news."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep new processes from importing the main script again.

    Multiprocessing does that for objects defined there, which dask sends by value. A script without
    `if __name__ == "__main__"` would run itself in every worker.
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
