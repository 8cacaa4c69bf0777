"""One task of a campaign: a verb in a folder of its own, known as finished by its output."""

import copy
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray
import yaml

from lattgnn import cli
from lattgnn.cli.messages import bug_report
from lattgnn.data.generation import dataset_config, dataset_path
from lattgnn.data.parts import MANIFEST
from lattgnn.data.workers import threads
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.files import LockedError, atomic_write_text, run_lock
from lattgnn.signals import StoppedBySignal

#: Topic of the events by which a worker says that it has begun a task.
STARTED = "lattgnn-campaign-started"
# A verb changes the working directory, the standard streams and the threads of its process.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Task:
    """What `lattgnn VERB --config FILE` does with a file of the campaign.

    Attributes:
        name: Its name, and the path of its output in the folder of the campaign.
        verb: The verb.
        config: The contents of the file.
        campaign: Folder of the campaign.
        needs: Names of the tasks that must be finished before.
        modules: Modules to import first, as with --import.
        directory: The working directory, to which relative paths belong.
    """

    name: str
    verb: str
    config: dict[str, Any]
    campaign: Path
    needs: tuple[str, ...]
    modules: tuple[str, ...] = ()
    directory: Path = Path()

    @property
    def output(self) -> Path:
        """Folder of the output. That of `generate` lies in its root instead."""
        return self.campaign / self.name

    @property
    def file(self) -> Path:
        """The configuration; rerunning it by hand continues the task."""
        return self.output.with_name(f"{self.output.name}.yaml")

    @property
    def log(self) -> Path:
        """What the last attempt has printed."""
        return self.output.with_name(f"{self.output.name}.log")

    @property
    def command(self) -> list[str]:
        """The arguments of `lattgnn`."""
        modules = [f"--import={module}" for module in self.modules]
        return [self.verb, *modules, f"--config={self.file}"]

    def write(self) -> None:
        """Write the configuration."""
        plain = json.loads(json.dumps(self.config))  # without shared parts, which YAML would alias
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        heading = f"# Run it by hand: lattgnn {self.verb} --config {self.file}\n"
        atomic_write_text(self.file, heading + text)

    def written(self) -> dict[str, Any] | None:
        """The configuration that an earlier call has written, if there is one."""
        if not self.file.is_file():
            return None
        return yaml.safe_load(self.file.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Outcome:
    """How a task has ended.

    Attributes:
        error: The line that says what went wrong; "" for a finished task.
        seconds: How long it took.
    """

    error: str
    seconds: float


def run_task(task: Task) -> Outcome:
    """Run a task to its end, or continue one that was interrupted.

    Args:
        task: The task, whose configuration is written.

    Returns:
        How it has ended. Errors of the verb are not raised.
    """
    _announce(task.name)
    start = time.perf_counter()
    with _ONE_AT_A_TIME, _alone(task), chdir(task.directory), threads(1), _without_cluster():
        # Another process may have finished the task while this one waited.
        error = "" if is_finished(task) else _call(task)
    return Outcome(error, time.perf_counter() - start)


def is_finished(task: Task) -> bool:
    """Whether the output of a task is complete.

    Args:
        task: The task.
    """
    check = {
        "generate": _has_manifest,
        "fit": _is_fitted,
        "simulate": _is_simulated,
        "analyze": _is_analyzed,
    }[task.verb]
    return check(task)


def analyzed_runs(folder: Path) -> list[str]:
    """The paths of the runs that a report of `lattgnn analyze` holds.

    Args:
        folder: Folder of the report.
    """
    with xarray.open_dataset(folder / "arrays.nc", engine="scipy") as arrays:
        return [name for name in str(arrays.attrs.get("runs", "")).split(", ") if name]


def _has_manifest(task: Task) -> bool:
    from lattgnn.cli.physics_verbs import as_options, generate_parser, instantiate

    parser = generate_parser()
    # A copy, because jsonargparse changes what it parses.
    options = as_options(instantiate(parser, parser.parse_object(copy.deepcopy(task.config))))
    named = [options[key] for key in ("lattice", "hamiltonian", "solver", "sources", "seed")]
    path = dataset_path(dataset_config(*named), options["root"], options["name"])
    return (path / MANIFEST).is_file()


def _is_fitted(task: Task) -> bool:
    """The record and the best weights of the fit are there, and the test if there is one."""
    names = ["fit.json", "best.ckpt"] + ["test-*.json"] * bool(task.config.get("test"))
    return all(any(task.output.glob(name)) for name in names)


def _is_simulated(task: Task) -> bool:
    try:
        run = Trajectory.open(task.output)
    except (InputError, OSError):  # not begun, or damaged: `simulate` decides
        return False
    return run.complete and run.config["n_steps"] >= task.config.get("n_steps", 0)


def _is_analyzed(task: Task) -> bool:
    """The report is complete, and is one of all runs of the task with all of their frames."""
    metrics = task.output / "metrics.json"  # written last
    if not metrics.is_file() or task.written() != task.config:
        return False
    if analyzed_runs(task.output) != task.config["runs"]:
        return False
    found = json.loads(metrics.read_text(encoding="utf-8"))["final_step"]
    return found == min(int(Trajectory.open(run).steps[-1]) for run in task.config["runs"])


def _call(task: Task) -> str:
    """Run the verb with its output in the log; the error, or "" for success."""
    with task.log.open("w", encoding="utf-8", buffering=1) as log:
        try:
            with redirect_stdout(log), redirect_stderr(log):
                code = cli.main(task.command)
        except SystemExit as stop:  # of a parser
            code = stop.code
        except Exception as error:  # raised with LATTGNN_DEBUG=1 only
            log.write(bug_report(task.verb, error))
            code = 1
    if isinstance(code, int) and code >= 128:  # a signal stops the whole campaign
        raise StoppedBySignal(code - 128)
    if code == 0:
        return "" if is_finished(task) else f"{task.verb} has ended without its result"
    return last_line(task.log)


def last_line(log: Path) -> str:
    """The last line of a log, where the verbs print what went wrong.

    Args:
        log: The file.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def _announce(name: str) -> None:
    """Tell the campaign that a worker has begun a task."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # the process of the campaign itself
        return
    worker.log_event(STARTED, name)


@contextmanager
def _alone(task: Task) -> Iterator[None]:
    """Wait until no other process runs the task.

    When the campaign or its scheduler is killed, a worker may go on with its task for a while.
    """
    path = task.output.with_name(f"{task.output.name}.task")
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(run_lock(path))
                break
            except LockedError:
                time.sleep(0.5)
        yield


@contextmanager
def _without_cluster() -> Iterator[None]:
    """A task is one process: it must not send tasks of its own to the cluster that it runs on."""
    address = os.environ.pop("DASK_SCHEDULER_ADDRESS", None)
    try:
        yield
    finally:
        if address is not None:
            os.environ["DASK_SCHEDULER_ADDRESS"] = address
