"""Labels from a dask cluster whose workers and scheduler are processes that get killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dask import config as dask_config

from lattgnn.data import cluster, workers
from tests.patience import PATIENCE

SOURCES = (
    "[{class_path: lattgnn.data.Quench, "
    "init_args: {split: train, n_trajectories: 5, n_steps: 40, n_frames: 3}}]"
)
OPTIONS = [f"--sources={SOURCES}", "--lattice.init_args.extent=[8,8]", "--progress=false"]
CONFIG = Path(__file__).parents[2] / "configs/generate/holstein_square.yaml"


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan"])
def test_the_time_without_workers_must_be_a_number_above_zero(text, monkeypatch):
    monkeypatch.setenv(cluster.TIMEOUT, text)
    with pytest.raises(ValueError, match="LATTGNN_WORKER_TIMEOUT must be a number of seconds"):
        cluster.worker_timeout()
    monkeypatch.setenv(cluster.TIMEOUT, "")
    assert cluster.worker_timeout() == 3600


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.file, self.processes = folder / "scheduler.json", []
        options = ["--host=127.0.0.1", "--port=0", "--no-dashboard", "--scheduler-file"]
        self.scheduler = self.start("dask_scheduler", *options, str(self.file))
        wait_for(lambda: self.file.exists() and self.file.read_text() != "")
        self.address = json.loads(self.file.read_text())["address"]

    def start(self, program: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *options]
        self.processes.append(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        return self.processes[-1]

    def start_worker(self) -> subprocess.Popen:
        """Start a worker, and wait until it has loaded all that it needs to join."""
        started = self.file.with_name(f"worker-{len(self.processes)}")
        preload = started.with_suffix(".py")
        preload.write_text(f"def dask_setup(worker): open({str(started)!r}, 'w').close()\n")
        options = ["--no-nanny", "--nthreads=1", "--no-dashboard", f"--preload={preload}"]
        worker = self.start("dask_worker", self.address, *options)
        wait_for(started.exists)
        return worker

    def generate(self, root: Path, timeout: float) -> subprocess.Popen:
        command = [sys.executable, "-m", "lattgnn", "generate", f"--config={CONFIG}"]
        environment = os.environ | {"DASK_SCHEDULER_ADDRESS": self.address}
        return subprocess.Popen(
            [*command, f"--root={root}", *OPTIONS],
            env=environment | {cluster.TIMEOUT: str(timeout)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def wait_for_a_part(root: Path, command: subprocess.Popen) -> None:
    while not list(root.glob("*/*/record.json")):
        assert command.poll() is None
        time.sleep(0.02)


@pytest.mark.slow
def test_a_cluster_that_loses_its_last_worker_ends_the_command_and_leaves_it_resumable(
    dask, tmp_path
):
    worker, root = dask.start_worker(), tmp_path / "data"
    command = dask.generate(root, timeout=12)  # one message comes before, after 5 seconds
    wait_for_a_part(root, command)
    worker.kill()
    _, errors = command.communicate(timeout=PATIENCE)
    warning, error = errors.splitlines()
    assert warning.startswith(f"The dask cluster at {dask.address} has no workers. Start one")
    assert "has had no worker for" in error and "run the same command again" in error
    assert command.returncode == 1 and not list(root.glob("*/manifest.json"))

    dask.start_worker()
    command = dask.generate(root, timeout=PATIENCE)
    path, errors = command.communicate(timeout=PATIENCE)
    assert (command.returncode, errors) == (0, "")
    assert (Path(path.strip()) / "manifest.json").exists()


@pytest.mark.slow
def test_a_killed_scheduler_gives_one_line(dask, tmp_path):
    dask.start_worker()
    command = dask.generate(tmp_path / "data", timeout=PATIENCE)
    wait_for_a_part(tmp_path / "data", command)
    dask.scheduler.kill()
    _, errors = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1 and errors.count("\n") == 1
    assert f"the dask scheduler at {dask.address} is lost" in errors


@pytest.mark.slow
def test_local_processes_may_be_busy_for_minutes():
    def limit() -> str:
        return dask_config.get("distributed.comm.timeouts.connect", "30s")

    before = limit()
    with workers.cluster(2, 2) as client:
        assert [limit(), *client.run(limit).values()] == 3 * ["600s"]
    assert limit() == before
