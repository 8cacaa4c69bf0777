"""A campaign on a dask scheduler and workers in other processes, some of which are killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lattgnn.cli.campaign.schedule import _check_threads
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from tests.patience import PATIENCE

#: 8 points and 3 seeds, and one point whose time step is far too large.
SCAN = [{"g": [2.0, 3.5], "kT": [0.1, 0.2, 0.3, 0.4]}, {"dt": [1e6]}]
N_GOOD, N_BAD = 24, 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A scheduler and workers as processes of their own, in the working directory."""

    def __init__(self) -> None:
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--host=127.0.0.1", f"--port={port}")
        self.workers: list[subprocess.Popen] = []

    def add_worker(self) -> None:
        self.workers.append(self._start("worker", self.address, "--nthreads=1", "--no-nanny"))

    def _start(self, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def clusters() -> Iterator[list[Cluster]]:
    found: list[Cluster] = []
    yield found
    for cluster in found:
        cluster.stop()


def start(file: Path, cluster: Cluster) -> subprocess.Popen:
    command = [sys.executable, "-m", "lattgnn", "campaign", f"--config={file}"]
    environment = os.environ | {"DASK_SCHEDULER_ADDRESS": cluster.address}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finished() -> list[Path]:
    """The runs that are complete."""
    found = []
    for folder in Path("out/simulate").glob("*/seed-?"):
        try:
            if Trajectory.open(folder).complete:
                found.append(folder)
        except (InputError, OSError):  # just begun
            pass
    return found


def wait_for(
    n: int,
    campaign: subprocess.Popen,
) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(finished()) < n:
        assert time.monotonic() < deadline and campaign.poll() is None
        time.sleep(0.1)


def written(runs: list[Path]) -> dict[Path, int]:
    """When the output of each run was last written."""
    return {run: run.with_name(f"{run.name}.log").stat().st_mtime_ns for run in runs}


@pytest.mark.slow
def test_killed_workers_and_schedulers_cost_no_task_and_repeat_none(configured, clusters):
    file = configured(scan=SCAN, n_seeds=3)
    text = file.read_text().replace("n_steps: 4\n", "n_steps: 100\n")
    file.write_text(text)
    first = Cluster()
    clusters.append(first)
    first.add_worker()
    first.add_worker()
    campaign = start(file, first)
    wait_for(4, campaign)
    first.workers[0].kill()  # its task goes to the other worker
    wait_for(8, campaign)
    first.scheduler.send_signal(signal.SIGKILL)
    _, err = campaign.communicate(timeout=PATIENCE)
    assert campaign.returncode == 1
    assert "the connection to the dask scheduler at tcp" in err and "Traceback" not in err
    first.stop()
    before = written(finished())
    assert 8 <= len(before) < N_GOOD
    second = Cluster()
    clusters.append(second)
    second.add_worker()
    second.add_worker()
    campaign = start(file, second)
    _, err = campaign.communicate(timeout=PATIENCE)
    assert campaign.returncode == 1
    assert err.count("failed: simulate/dt=1000000/seed-") == N_BAD
    assert f"{N_BAD} of {N_GOOD + N_BAD} tasks have failed" in err
    after = written(finished())
    assert len(after) == N_GOOD
    assert {run: after[run] for run in before} == before  # none was run twice


def test_workers_with_several_threads_are_refused():
    client = SimpleNamespace(nthreads=lambda: {"a": 1, "b": 2})
    with pytest.raises(InputError, match="every dask worker must have one thread, got 2"):
        _check_threads(client)
