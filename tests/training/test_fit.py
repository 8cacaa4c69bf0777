"""The trainer verbs, as a user runs them, on a dataset of seconds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from lattgnn.cli import main
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import square
from lattgnn.report import read_fit
from tests.patience import PATIENCE


def source(kind, **arguments):
    return {"class_path": f"lattgnn.data.{kind}", "init_args": arguments}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A folder with a config; the dataset is made once, by the first fit."""
    folder = tmp_path_factory.mktemp("fit")
    quench = {"n_steps": 60, "n_frames": 12}
    config = {
        "data": {
            "lattice": {"class_path": "lattgnn.lattice.square", "init_args": {"extent": [6, 6]}},
            "hamiltonian": {"class_path": "lattgnn.hamiltonians.Holstein", "init_args": {"g": 3.5}},
            "solver": {
                "class_path": "lattgnn.solvers.ExactDiagonalization",
                "init_args": {"kT": 0.1, "mu": 0.0},
            },
            "sources": [
                source("Quench", split="train", n_trajectories=2, **quench),
                source("RandomFields", split="train", n_samples=8),
                source("Quench", split="val", n_trajectories=1, **quench),
                source("Quench", split="test", n_trajectories=1, **quench),
                source("RandomFields", split="test", n_samples=4),
            ],
            "root": str(folder / "datasets"),
            "n_workers": 1,
            "progress": False,
        },
        "model": {
            "net": {
                "class_path": "lattgnn.nn.OrbitNetwork",
                "init_args": {"hidden": {"channels": 4}, "n_layers": 1, "conservative": True},
            },
            "energy_weight": 0.1,
        },
        "trainer": {"max_epochs": 3, "accelerator": "cpu"},
        "report": False,
    }
    (folder / "fit.yaml").write_text(yaml.safe_dump(config))
    return folder


def command(workspace, verb, run, *options):
    return [
        verb,
        "--config",
        str(workspace / "fit.yaml"),
        "--run_dir",
        str(workspace / run),
        *options,
    ]


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def run_alone(arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "lattgnn", *arguments], stderr=subprocess.PIPE, text=True, **options
    )


@pytest.fixture(scope="module")
def finished(workspace) -> Path:
    assert main(command(workspace, "fit", "whole")) == 0
    return workspace / "whole"


def test_fit_leaves_configuration_checkpoints_metrics_and_record(finished):
    assert {"config.yaml", "versions.json", "best.ckpt", "last.ckpt", "fit.json", "logs"} <= {
        path.name for path in finished.iterdir()
    }
    record = json.loads((finished / "fit.json").read_text())
    assert record["epochs"] == 3 and record["parameters"] > 0 and record["cpu_minutes"] > 0
    assert record["figures"]["val/quench/mse"] > 0
    assert (finished / "logs" / "version_0" / "metrics.csv").read_text().count("\n") > 3


def test_the_checkpoint_is_a_force_field_on_any_extent(finished):
    learned = LearnedForceField.load(finished / "best.ckpt", lattice=square(12))
    energy, forces = learned(torch.zeros(2, 144, dtype=torch.float64))
    assert (
        energy is not None
        and energy.shape == (2,)
        and forces.shape == (2, 144)
        and forces.dtype == torch.float64
    )


def test_test_and_predict_use_the_best_checkpoint(workspace, finished):
    assert main(command(workspace, "test", "whole")) == 0
    (figures,) = finished.glob("test-*.json")
    assert {"test/quench/mse", "test/random/p99.9", "test/0-40/unexplained"} <= json.loads(
        figures.read_text()
    ).keys()
    assert main(command(workspace, "predict", "whole")) == 0
    assert (finished / "predictions.npz").exists()


def test_a_finished_fit_is_not_done_again(workspace, finished):
    before = (finished / "last.ckpt").stat().st_mtime_ns
    assert main(command(workspace, "fit", "whole")) == 0
    assert (finished / "last.ckpt").stat().st_mtime_ns == before


def test_metrics_have_rate_time_and_speed_and_the_report_draws_them(workspace, finished):
    run = read_fit(finished)
    assert list(run.epochs) == [1, 2, 3]
    assert (np.diff(run.column("seconds")) > 0).all() and (run.column("samples_per_s") > 0).all()
    assert run.column("lr")[0] > run.column("lr")[-1] == pytest.approx(0, abs=1e-6)
    assert main(command(workspace, "fit", "whole", "--report=true")) == 0
    written = {path.name for path in finished.iterdir()}
    assert {"report.html", "curves.png", "curves.pdf", "progress.png"} <= written


def test_another_configuration_does_not_continue_a_run(workspace, finished, capsys):
    assert main(command(workspace, "fit", "whole", "--model.lr=0.1")) == 2
    message = capsys.readouterr().err
    assert "model.lr=0.1" in message and message.count("\n") == 1


def test_how_a_run_is_watched_may_change_when_it_continues(workspace, finished):
    """A run started on a terminal goes on under nohup, with other workers."""
    options = ["--trainer.enable_progress_bar=true", "--data.eval_batch_size=7", "--threads=2"]
    assert main(command(workspace, "fit", "whole", *options)) == 0


def test_the_command_line_beats_the_checkpoint(workspace, finished):
    """A checkpoint brings weights and optimizer state; the learning rate is the one asked for."""
    options = [f"--ckpt_path={finished / 'last.ckpt'}", "--model.lr=0.0", "--trainer.max_epochs=4"]
    assert main(command(workspace, "fit", "frozen", *options)) == 0
    before, after = weights(finished / "last.ckpt"), weights(workspace / "frozen" / "last.ckpt")
    assert_same_weights(before, after)


def test_mistakes_are_one_line_and_write_nothing(workspace, finished, capsys):
    for options, words in [
        (["--model.net=lattgnn.nn.OrbitNetwrk"], "OrbitNetwork"),
        (["--model.net.init_args.n_layer=3"], "n_layers"),
        (["--model.net.init_args.field=vector"], "Did you mean 'field_type'?"),
        (["--model.net.init_args.hidden.representation=F1"], "must be one of A1, A2, B1, B2, E"),
        (["--data.lattice.init_args.extent=[2,2]"], "extent"),
        ([f"--ckpt_path={workspace / 'none.ckpt'}"], "does not exist"),
        (
            [f"--ckpt_path={finished / 'last.ckpt'}", "--data.hamiltonian.init_args.g=3"],
            "Hamiltonian",
        ),
        (
            [f"--ckpt_path={finished / 'last.ckpt'}", "--model.net.init_args.hidden.channels=5"],
            "network",
        ),
    ]:
        try:
            code = main(command(workspace, "fit", "wrong", *options))
        except SystemExit as stop:  # argparse's way
            code = stop.code
        message = capsys.readouterr().err
        assert code == 2 and words in message and message.count("\n") == 1, (options, message)
        assert not (workspace / "wrong").exists()


def test_a_truncated_dataset_is_refused(workspace, finished, capsys):
    shutil.copytree(workspace / "datasets", workspace / "truncated")
    chunk = next(path for path in (workspace / "truncated").rglob("field/c/**/*") if path.is_file())
    os.truncate(chunk, 10)
    options = [f"--data.root={workspace / 'truncated'}", f"--ckpt_path={finished / 'best.ckpt'}"]
    assert main(command(workspace, "test", "unwritten", *options)) == 2
    message = capsys.readouterr().err
    assert "is damaged" in message and "bytes instead of" in message and message.count("\n") == 1
    assert not (workspace / "unwritten").exists()


@pytest.mark.slow
def test_another_lattice_without_validation_recorded_by_wandb(workspace):
    """Swapping the lattice is one key; a dataset needs no validation split; wandb stays on disk."""
    only_training = json.dumps([source("RandomFields", split="train", n_samples=8)])
    options = [
        "--data.lattice=lattgnn.lattice.kagome",
        "--data.lattice.init_args.extent=[4,4]",
        f"--data.sources={only_training}",
        "--wandb=true",
    ]
    assert main(command(workspace, "fit", "kagome", *options)) == 0
    assert LearnedForceField.load(workspace / "kagome" / "best.ckpt").lattice.name == "kagome"
    assert list((workspace / "kagome").glob("wandb-*/wandb/offline-run-*"))


def test_particle_hole_augmentation_needs_the_symmetry(workspace, finished, capsys):
    assert (
        main(
            command(
                workspace,
                "fit",
                "ph",
                "--model.particle_hole=true",
                "--data.solver.init_args.mu=0.5",
            )
        )
        == 2
    )
    assert "particle_hole needs a bipartite lattice and mu=0.0" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_fit_continues_to_the_same_weights(workspace, finished):
    """After kill -9, rerunning the command ends where the uninterrupted run did."""
    arguments = command(workspace, "fit", "killed")
    checkpoint = workspace / "killed" / "last.ckpt"
    with run_alone(arguments, start_new_session=True) as process:
        while not checkpoint.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
    with run_alone(arguments) as process:
        assert process.wait(timeout=PATIENCE) == 0, process.communicate()
    assert_same_weights(weights(finished / "last.ckpt"), weights(checkpoint))


@pytest.mark.slow
def test_two_processes_train_together(workspace):
    adam = "--model.optimizer=torch.optim.Adam"
    options = [adam, "--data.batch_size=8", "--trainer.devices=2", "--trainer.strategy=ddp"]
    with run_alone(command(workspace, "fit", "ddp", *options)) as process:
        assert process.wait(timeout=PATIENCE) == 0, process.communicate()
    assert main(command(workspace, "fit", "alone", adam, "--data.batch_size=8")) == 0
    alone, together = (weights(workspace / run / "last.ckpt") for run in ("alone", "ddp"))
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-3, atol=1e-5)
    assert json.loads((workspace / "ddp" / "fit.json").read_text())["processes"] == 2
