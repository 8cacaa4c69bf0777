"""The watch over the processes of a fit ends a process only if it does not notice a loss itself."""

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from lattgnn.training import lost_processes
from lattgnn.training.lost_processes import ProcessWatch


class Launcher:
    """Starts one process, and gives its own list of processes to an observer, as Lightning does."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.procs: list[subprocess.Popen] = []

    def launch(self, function, *args, trainer, **kwargs):
        if not self.procs:
            self.procs = [subprocess.Popen([sys.executable, "-c", self.command])]
            self.observed = self.procs
        return function(*args, **kwargs)


def watched(command: str) -> Launcher:
    launcher = Launcher(command)
    ProcessWatch(launcher, "fit", interval=0.01)
    return launcher


def test_the_processes_are_taken_from_the_observer_and_kept_by_the_launcher():
    launcher = watched("import time; time.sleep(1000)")
    for _ in range(2):  # the second launch starts nothing, as with `fit --test`
        assert launcher.launch(lambda x, y: x + y, 1, trainer=None, y=2) == 3
        assert launcher.observed == [] and len(launcher.procs) == 1
    launcher.procs[0].kill()
    launcher.procs[0].wait()


@pytest.fixture
def exit_code(monkeypatch):
    """The code with which the watch has ended this process; its event is set by then."""
    ended = SimpleNamespace(code=None, event=threading.Event())

    def end(code: int) -> None:
        ended.code = code
        ended.event.set()

    monkeypatch.setattr(os, "_exit", end)
    return ended


def test_a_process_that_does_not_notice_a_loss_is_ended_in_one_line(exit_code, monkeypatch, caplog):
    monkeypatch.setattr(lost_processes, "TIME_TO_NOTICE", 0.01)
    launcher = watched("raise SystemExit(3)")
    assert launcher.launch(exit_code.event.wait, 120, trainer=None)
    assert exit_code.code == 1
    assert caplog.messages == [f"lattgnn fit: error: {lost_processes.MESSAGE}"]


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_that_leaves_by_itself_is_left_alone(exit_code, monkeypatch, caplog, code):
    monkeypatch.setattr(lost_processes, "TIME_TO_NOTICE", 120.0)
    launcher = watched(f"raise SystemExit({code})")

    def leave() -> None:
        assert launcher.procs[0].wait() == code
        raise RuntimeError("closed by peer")

    with pytest.raises(RuntimeError, match="closed by peer"):
        launcher.launch(leave, trainer=None)
    for thread in threading.enumerate():
        if thread.name == "process-watch":
            thread.join()
    assert exit_code.code is None and not caplog.messages
