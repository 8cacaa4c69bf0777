"""Wrong input for a fit: one line, exit code 2, nothing written."""

import json

import numpy as np
import pytest
import torch

from lattgnn.forcefield import LearnedForceField

CONSERVATIVE = "--model.net.init_args.conservative=true"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trainer.precision=16-mixed"], "precision must be 32-true or 64-true"),
        (["--trainer.precision=bf16-true"], "precision must be 32-true or 64-true"),
        (["--trainer.devices=0"], "devices must be at least 1"),
        (["--trainer.strategy=ddp_spawn"], "Use ddp."),
        (["--trainer.barebones=true"], "barebones"),
        (["--trainer.max_epochs=0"], "max_epochs must not be 0"),
        (["--trainer.limit_train_batches=0"], "limit_train_batches must not be 0"),
        (["--threads=0"], "threads must be a finite number >= 1"),
        (["--trainer.max_epochs=-5"], "max_epochs"),
        (["--trainer.enable_checkpointing=false"], "enable_checkpointing must be true"),
        (["--data.batch_size=64"], "batch_size must be at most"),
        (["--model.lr=-1"], "lr must be a finite number >= 0"),
        (["--model.lr=.nan"], "lr must be a finite number >= 0"),
        (["--model.energy_weight=-0.1", CONSERVATIVE], "energy_weight must be a finite number"),
        (["--model.energy_weight=0.1"], "energy_weight must be 0.0 for OrbitNetwork"),
        (["--config=configs/simulate/quench.yaml"], "configuration of another verb"),
        (["--config=nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_mistakes(tiny_fit, options, words, capsys):
    assert tiny_fit("fit", "mistake", *options) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1, message
    assert not (tiny_fit.folder / "mistake").exists()


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_below_the_epochs_of_the_checkpoint(tiny_fit, limit, capsys):
    path = tiny_fit.folder / "whole/last.ckpt"
    options = [f"--ckpt_path={path}", f"--trainer.max_epochs={limit}"]
    assert tiny_fit("fit", "mistake", *options) == 2
    message = capsys.readouterr().err
    assert "max_epochs must be above the 2 epochs" in message and message.count("\n") == 1
    assert not (tiny_fit.folder / "mistake").exists()


@pytest.mark.parametrize(
    "optimizer",
    [pytest.param("torch.optim.AdamW", marks=pytest.mark.slow), "pytorch_optimizer.SOAP"],
)
def test_an_energy_weight_without_energies(tiny_fit, optimizer, tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((2, 12, 16))
    np.savez(tmp_path / "a.npz", field=arrays[0], forces=arrays[1])
    published = {"split": "train", "path": str(tmp_path / "a.npz")}
    source = {"class_path": "lattgnn.data.PublishedSnapshots", "init_args": published}
    options = [
        f"--data.sources={json.dumps([source])}",
        f"--model.optimizer={optimizer}",
        "--model.energy_weight=0.1",
        CONSERVATIVE,
    ]
    assert tiny_fit("fit", "mistake", *options) == 2
    messages = capsys.readouterr().err
    assert "12 of 12 frames without" in messages.splitlines()[-1] and "Traceback" not in messages
    assert not (tiny_fit.folder / "mistake").exists()


@pytest.mark.slow
def test_a_fit_that_failed_before_its_first_checkpoint_may_be_corrected(tiny_fit):
    """A run without a checkpoint has nothing that another configuration could spoil."""
    assert tiny_fit("fit", "corrected", "--trainer.max_epochs=1") == 0
    for path in (tiny_fit.folder / "corrected").glob("*.ckpt"):
        path.unlink()
    assert tiny_fit("fit", "corrected", "--model.lr=0.01", "--trainer.max_epochs=1") == 0


def test_a_metric_that_does_not_exist_stops_the_fit_in_one_line(tiny_fit, capsys):
    stopping = {"monitor": "val/everything/mse"}
    callback = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": stopping}
    assert tiny_fit("fit", "mistake", f"--trainer.callbacks={json.dumps([callback])}") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "val/everything/mse" in message and "val/all/mse" in message


@pytest.mark.slow
def test_double_precision(tiny_fit):
    assert tiny_fit("fit", "double", "--data.dtype=float64") == 0
    weights = tiny_fit.checkpoint("double")["state_dict"].values()
    assert not any(value.dtype == torch.float32 for value in weights)
    assert tiny_fit("test", "double", "--data.dtype=float64") == 0
    assert tiny_fit("test", "double") == 0
    learned = LearnedForceField.load(tiny_fit.folder / "double/best.ckpt")
    assert learned(torch.zeros(16, dtype=torch.float64))[1].isfinite().all()
