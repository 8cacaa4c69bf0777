"""What a fit leaves behind, and what it continues from."""

import math
import os

import pytest
import torch

from lattgnn.checkpoint import load_checkpoint
from lattgnn.training.checkpoints import AtomicCheckpoints, last_checkpoint


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.check_val_every_n_epoch=5"],
        slow(["--trainer.check_val_every_n_epoch=2", "--trainer.max_epochs=3"]),
        slow(["--trainer.check_val_every_n_epoch=5", "--trainer.max_steps=3"]),
        slow(["--trainer.check_val_every_n_epoch=null", "--trainer.val_check_interval=100"]),
    ],
)
def test_the_last_epoch_is_validated_so_that_the_best_checkpoint_exists(tiny_fit, options):
    run = f"sparse-{'-'.join(option.partition('=')[2] for option in options)}"
    assert tiny_fit("fit", run, *options) == 0
    last, best = tiny_fit.checkpoint(run), tiny_fit.checkpoint(run, "best.ckpt")
    assert best["global_step"] <= last["global_step"]
    assert tiny_fit.record(run)["figures"]["val/all/mse"] > 0
    assert tiny_fit("test", run) == 0


@pytest.mark.parametrize("how", ["no data", slow("no batches")])
def test_without_validation_the_best_checkpoint_is_the_last(tiny_fit, how, capsys):
    sources = "[{class_path: lattgnn.data.RandomFields, init_args: {split: train, n_samples: 17}}]"
    options = {
        "no data": f"--data.sources={sources}",
        "no batches": "--trainer.limit_val_batches=0",
    }
    assert tiny_fit("fit", how, options[how]) == 0
    assert capsys.readouterr().err.count("best.ckpt is the last checkpoint") == 1
    last, best = (tiny_fit.checkpoint(how, name) for name in ("last.ckpt", "best.ckpt"))
    assert last["global_step"] == best["global_step"] == 4
    for key, value in last["state_dict"].items():
        assert torch.equal(value, best["state_dict"][key])


def test_running_a_finished_fit_again_keeps_its_record(tiny_fit):
    before = tiny_fit.record("whole")
    assert tiny_fit("fit", "whole") == 0
    assert tiny_fit.record("whole") == before and before["figures"] and before["step_seconds"] > 0


@pytest.mark.slow
def test_a_lost_record_of_a_finished_fit_is_written_from_the_checkpoint(tiny_fit):
    before = tiny_fit.record("whole")
    (tiny_fit.folder / "whole/fit.json").unlink()
    assert tiny_fit("fit", "whole") == 0
    after = tiny_fit.record("whole")
    for key in ("figures", "parameters", "epochs", "steps"):
        assert after[key] == before[key]


def test_a_failing_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    writer, path = AtomicCheckpoints(), tmp_path / "last.ckpt"
    writer.save_checkpoint({"epoch": 1}, path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        writer.save_checkpoint({"epoch": 2}, path)
    assert load_checkpoint(path) == {"epoch": 1}
    assert {entry.name for entry in tmp_path.iterdir()} <= {"last.ckpt", "previous.ckpt"}


def test_the_checkpoint_that_is_replaced_is_kept(tmp_path):
    writer, path = AtomicCheckpoints(), tmp_path / "last.ckpt"
    for epoch in (1, 2, 3):
        writer.save_checkpoint({"epoch": epoch}, path)
    assert load_checkpoint(path) == {"epoch": 3}
    assert load_checkpoint(tmp_path / "previous.ckpt") == {"epoch": 2}


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tiny_fit, capsys):
    assert tiny_fit("fit", "damaged") == 0
    whole = tiny_fit.checkpoint("damaged")["state_dict"]
    folder = tiny_fit.folder / "damaged"
    for size in (3000, 100, 0):
        os.truncate(folder / "last.ckpt", size)
        assert last_checkpoint(folder) == folder / "previous.ckpt"
    assert tiny_fit("fit", "damaged") == 0
    assert "The fit continues from previous.ckpt." in capsys.readouterr().err
    for key, value in tiny_fit.checkpoint("damaged")["state_dict"].items():
        assert torch.equal(value, whole[key]), key


def test_a_run_without_checkpoints_starts_from_scratch(tmp_path):
    assert last_checkpoint(tmp_path) is None


def test_a_fit_that_diverges_fails_and_leaves_no_broken_weights(tiny_fit, capsys):
    code = tiny_fit("fit", "diverged", "--model.lr=1e10", "--trainer.max_epochs=20")
    message = capsys.readouterr().err
    assert code == 1 and "Lower model.lr" in message and "Traceback" not in message
    for path in (tiny_fit.folder / "diverged").glob("*.ckpt"):
        for value in load_checkpoint(path)["state_dict"].values():
            assert math.isfinite(value.double().abs().max())
