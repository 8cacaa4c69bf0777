"""Processes for the tests, which share the memory of the test at their start."""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from lattgnn.dynamics.domains import Processes, join
from lattgnn.dynamics.domains.processes import TIMEOUT
from tests.patience import PATIENCE


def _run(url: str, rank: int, size: int, function: Callable[[Processes], None]) -> None:
    try:
        processes = join(url, rank, size)
        function(processes)
        processes.meet()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


@pytest.fixture
def in_processes(
    tmp_path, monkeypatch
) -> Callable[[int, Callable[[Processes], None]], list[int | None]]:
    """Calls a function in some new processes, and returns their exit codes."""
    # On a loaded machine, a process may have to wait for the others for minutes.
    monkeypatch.setenv(TIMEOUT, str(PATIENCE))
    counter = iter(range(100))

    def call(size: int, function: Callable[[Processes], None]) -> list[int | None]:
        meeting: Path = tmp_path / f"meeting-{next(counter)}"
        # A forked process needs none of the seconds that imports take.
        context = multiprocessing.get_context("fork")
        started = [
            context.Process(target=_run, args=(f"file://{meeting}", rank, size, function))
            for rank in range(size)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
        return [process.exitcode for process in started]

    return call
