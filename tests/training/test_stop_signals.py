"""A preempted fit saves its state and says so by its exit code, so that `fit && simulate` stops."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lattgnn.signals import exit_codes_of_signals
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


def start(arguments):
    command = [sys.executable, "-m", "lattgnn", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def stopped(tiny_fit, run, number, *options):
    """Exit code and messages of a fit that receives a signal after its first epoch."""
    with start(tiny_fit.arguments("fit", run, *options)) as process:
        while not (tiny_fit.folder / run / "last.ckpt").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        os.kill(process.pid, number)
        _, messages = process.communicate(timeout=PATIENCE)
        return process.returncode, messages


CODES = [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_stopped_fit_continues_to_the_same_weights(tiny_fit, number, code):
    options = ["--trainer.max_epochs=100", "--trainer.check_val_every_n_epoch=100"]
    assert tiny_fit("fit", f"whole{code}", *options) == 0
    run = f"stopped{code}"
    found, messages = stopped(tiny_fit, run, number, *options)
    assert found == code and "Traceback" not in messages
    assert messages.count(f"stopped by {signal.Signals(number).name} at step") == 1
    assert 0 < tiny_fit.checkpoint(run)["global_step"] < 200
    assert not (tiny_fit.folder / run / "fit.json").exists()
    assert tiny_fit("fit", run, *options) == 0
    whole = tiny_fit.checkpoint(f"whole{code}")["state_dict"]
    for key, value in tiny_fit.checkpoint(run)["state_dict"].items():
        assert torch.equal(value, whole[key]), key


def test_under_slurm_the_state_is_saved_once_and_nothing_is_requeued(
    tiny_fit, tmp_path, monkeypatch
):
    """Lightning would write hpc_ckpt_1.ckpt, requeue the job, and start from that file."""
    scontrol, called = tmp_path / "bin" / "scontrol", tmp_path / "called"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\ntouch {called}\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    job = {"JOB_ID": "7", "JOB_NAME": "fit", "NTASKS": "1", "NTASKS_PER_NODE": "1", "NNODES": "1"}
    for name, value in (job | {"PROCID": "0", "LOCALID": "0", "NODEID": "0"}).items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    options = ["--trainer.max_epochs=2000", "--trainer.check_val_every_n_epoch=2000"]
    code, messages = stopped(tiny_fit, "slurm", signal.SIGUSR1, *options)
    assert code == 138 and messages.count("stopped by SIGUSR1") == 1
    assert "Traceback" not in messages and not called.exists()
    assert not list((tiny_fit.folder / "slurm").rglob("hpc_ckpt*"))


DDP = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=8")


def test_all_processes_stop_together(tiny_fit):
    options = [*DDP, "--trainer.max_epochs=2000", "--trainer.check_val_every_n_epoch=2000"]
    code, messages = stopped(tiny_fit, "stopped-ddp", signal.SIGTERM, *options)
    assert code == 143 and messages.count("stopped by SIGTERM") == 1
    assert "Traceback" not in messages
    assert 0 < tiny_fit.checkpoint("stopped-ddp")["global_step"] < 4000


def test_energy_networks_train_on_forces_alone_in_two_processes(tiny_fit):
    options = [*DDP, "--model.net.init_args.conservative=true", "--model.energy_weight=0.0"]
    with start(tiny_fit.arguments("fit", "forces-ddp", *options)) as process:
        assert process.wait(timeout=PATIENCE) == 0, process.communicate()
    assert tiny_fit.record("forces-ddp")["processes"] == 2


def test_a_killed_process_stops_the_others_in_one_line(tiny_fit):
    options = [*DDP, "--trainer.max_epochs=2000", "--trainer.check_val_every_n_epoch=2000"]
    with start(tiny_fit.arguments("fit", "killed-ddp", *options)) as process:
        while not (tiny_fit.folder / "killed-ddp/last.ckpt").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            process.kill()
            pytest.skip("no list of child processes here")
        os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        _, messages = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "Traceback" not in messages
    assert messages.count("another process of this command has ended") == 1


def test_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop, exit_codes_of_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert stop.value.code == 143
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
