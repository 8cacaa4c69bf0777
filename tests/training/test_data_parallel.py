"""Fits in one, two and three processes: the same result, in one folder."""

import json
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lattgnn.report import read_fit
from tests.patience import PATIENCE
from tests.training.conftest import TinyFit, source

pytestmark = pytest.mark.slow

# A batch of 8 has shares of 3, 3 and 2 frames in three processes. The 2 test frames leave one of
# them without a frame.
SPLITS = {"train": 17, "val": 5, "test": 2}
STEPS = 50


class Fits(TinyFit):
    """Fits in double precision with random signs, in any number of processes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        config = yaml.safe_load(self.config.read_text())
        config["data"] |= {"dtype": "float64", "batch_size": 8}
        config["data"]["sources"] = [
            source("RandomFields", split=split, n_samples=number)
            for split, number in SPLITS.items()
        ]
        config["model"] |= {
            "particle_hole": True,
            "optimizer": "lattgnn.training.ReproducibleSOAP",
        }
        config["trainer"]["max_epochs"] = STEPS // 2
        self.config.write_text(yaml.safe_dump(config | {"test": True}))

    def start(self, run: str, n_processes: int, *options: str) -> subprocess.Popen:
        several = (f"--trainer.devices={n_processes}", "--trainer.strategy=ddp")
        command = self.arguments("fit", run, *several, *options)
        return subprocess.Popen(
            [sys.executable, "-m", "lattgnn", *command], stderr=subprocess.PIPE, text=True
        )

    def stop_after_an_epoch(self, run: str, n_processes: int) -> int:
        """Send SIGTERM when the next last.ckpt is written; return the step that was reached."""
        path = self.folder / run / "last.ckpt"
        before = path.stat().st_mtime_ns if path.exists() else 0
        with self.start(run, n_processes) as process:
            while not path.exists() or path.stat().st_mtime_ns == before:
                assert process.poll() is None, process.communicate()
                time.sleep(0.002)
            process.send_signal(signal.SIGTERM)
            _, messages = process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + signal.SIGTERM, messages
        return self.checkpoint(run)["global_step"]

    def weights(self, run: str) -> torch.Tensor:
        state = self.checkpoint(run)["state_dict"]
        return torch.cat([value.flatten() for value in state.values()])


@pytest.fixture(scope="module")
def fits(tmp_path_factory) -> Fits:
    """The fits, of which that of one process is finished in the folder `1`."""
    made = Fits(tmp_path_factory.mktemp("parallel"))
    assert made("fit", "1") == 0
    return made


@pytest.fixture(scope="module")
def finished(fits):
    """The folder and the messages of a finished fit in a number of processes."""

    @cache
    def of(n_processes: int) -> tuple[Path, str]:
        if n_processes == 1:
            return fits.folder / "1", ""
        with fits.start(str(n_processes), n_processes, "--wandb=true") as process:
            _, messages = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, messages
        return fits.folder / str(n_processes), messages

    return of


@pytest.mark.parametrize("n_processes", [2, 3])
def test_loss_curves_and_errors_are_those_of_one_process(finished, n_processes):
    (alone, _), (together, _) = finished(1), finished(n_processes)
    one, other = read_fit(alone), read_fit(together)
    assert one.epochs[-1] == STEPS // 2
    losses = one.column("train_loss"), other.column("train_loss")
    np.testing.assert_allclose(*losses, rtol=1e-6, atol=0)
    # At the first validation the weights are equal to rounding, so the errors show how they were
    # added up: every frame once, with the same weight.
    for figure in ("mse", "mae", "p99.9", "unexplained", "unexplained_total"):
        first = [run.column(f"val/all/{figure}")[0] for run in (one, other)]
        np.testing.assert_allclose(*first, rtol=1e-10, atol=0)


@pytest.mark.parametrize("n_processes", [2, 3])
def test_processes_share_one_folder_and_one_record_and_speak_once(finished, n_processes):
    folder, messages = finished(n_processes)
    assert [path.name for path in (folder / "logs").iterdir()] == ["version_0"]
    assert len(list(folder.glob("wandb-*"))) == 1
    # The test after the fit continues its record under the same identifier.
    parts = list(folder.glob("wandb-*/wandb/offline-run-*"))
    assert len(parts) == 2 and len({path.name.split("-")[-1] for path in parts}) == 1
    expected = {path.name for path in finished(1)[0].iterdir()}
    assert {p.name for p in folder.iterdir() if not p.name.startswith("wandb-")} == expected
    assert messages.count(f"epoch 7/{STEPS // 2}, step 14") == 1
    assert json.loads((folder / "fit.json").read_text())["processes"] == n_processes


def test_test_errors_count_every_frame_once(fits, finished):
    """The same weights are tested, so that only the sums differ; one share is empty."""
    folder, _ = finished(1)
    (path,) = folder.glob("test-*.json")
    alone = json.loads(path.read_text())
    options = ["--trainer.devices=3", "--trainer.strategy=ddp"]
    command = fits.arguments("test", str(folder), *options)
    done = subprocess.run(
        [sys.executable, "-m", "lattgnn", *command],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(path.name) == 1
    together = json.loads(path.read_text())
    assert together.keys() == alone.keys()
    for name, value in alone.items():
        np.testing.assert_allclose(together[name], value, rtol=1e-10, atol=0, err_msg=name)


def test_a_fit_continues_in_another_number_of_processes(fits):
    steps = [fits.stop_after_an_epoch("changing", n_processes) for n_processes in (2, 3)]
    assert 0 < steps[0] < steps[1] < STEPS
    assert fits("fit", "changing") == 0
    # Other samples would change the weights by percents, rounding does by 1e-8.
    torch.testing.assert_close(fits.weights("changing"), fits.weights("1"), rtol=1e-5, atol=1e-6)
