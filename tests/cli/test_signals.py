"""A command that a scheduler stops says so, with its exit code, and continues when repeated."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lattgnn import cli
from lattgnn.dynamics import Trajectory
from tests.patience import PATIENCE

CONFIGS = Path(__file__).parents[2] / "configs"
QUENCH = [
    *("simulate", f"--config={CONFIGS / 'simulate/quench.yaml'}", "--n_steps=400"),
    *("--force_field.checkpoint=holstein-square-small", "--lattice.init_args.extent=[32,32]"),
    *("--save=lattgnn.dynamics.Regular", "--save.init_args.every=5", "--progress=false"),
]


def stop_in_process(number, capsys, monkeypatch, command) -> str:
    """The message of a command that gets a signal before its first step; checks the exit code."""

    def stopped(*arguments, **options):
        os.kill(os.getpid(), number)
        time.sleep(1)

    monkeypatch.setattr("lattgnn.cli.simulate_verb.usable_device", stopped)
    assert cli.main(command) == 128 + number
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_gives_one_line_and_its_code(number, tmp_path, capsys, monkeypatch):
    before = signal.getsignal(number)
    command = [*QUENCH, f"--out={tmp_path / 'run'}"]
    message = stop_in_process(number, capsys, monkeypatch, command)
    name = signal.Signals(number).name
    assert message.startswith(f"lattgnn simulate: stopped by {name}. What is complete is kept")
    assert signal.getsignal(number) == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_preempted_run_continues_to_the_same_bits(number, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    command = [sys.executable, "-m", "lattgnn", *QUENCH]
    with subprocess.Popen([*command, f"--out={run}"], stderr=subprocess.PIPE, text=True) as process:
        while len(list(run.glob("field/c/*"))) < 5:
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, number)
        _, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number and messages.count("\n") == 1
    assert len(Trajectory.open(run).steps) < 81
    assert not list(tmp_path.glob(".*")), "no lock is left"
    assert cli.main([*QUENCH, f"--out={run}"]) == 0
    assert cli.main([*QUENCH, f"--out={whole}"]) == 0
    stopped, complete = (Trajectory.open(path).fields[:] for path in (run, whole))
    np.testing.assert_array_equal(stopped, complete)
