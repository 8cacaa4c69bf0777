"""wandb as it is on a cluster node: no key, no terminal, no network."""

import importlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from lattgnn.training.loggers import OfflineWandbLogger
from tests.patience import PATIENCE


@pytest.fixture(autouse=True)
def no_wandb_account(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


class Line(LightningModule):
    """One weight, two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters({"width": 1})
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch):
        loss = self.layer(batch[0]).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.ones(2, 1)), batch_size=1)


def fit(*loggers) -> Trainer:
    trainer = Trainer(
        max_epochs=1,
        logger=list(loggers),
        log_every_n_steps=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Line())
    return trainer


def recorded(folder: str | Path | None) -> list[Path]:
    """Runs on disk with data; the process of wandb writes them shortly after the end of a run."""
    found: list[Path] = []
    deadline = time.monotonic() + PATIENCE
    while not found and time.monotonic() < deadline:
        files = Path(str(folder)).glob("**/offline-run-*/run-*.wandb")
        found = [file for file in files if file.stat().st_size > 500]
        time.sleep(0.05)
    return found


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.slow
def test_two_trainings_in_one_folder_without_key_and_network(tmp_path):
    importlib.import_module("wandb")  # takes long on a loaded machine, but waits for nothing
    start = time.monotonic()
    loggers = [OfflineWandbLogger(save_dir=tmp_path) for _ in range(2)]
    folders = [fit(CSVLogger(tmp_path), logger).loggers[1].save_dir for logger in loggers]

    assert time.monotonic() - start < 60  # wandb alone waits 90 s and more for a server
    assert folders[0] != folders[1]
    for folder in folders:
        assert recorded(folder)


def test_what_is_logged_after_the_end_continues_the_run(tmp_path):
    logger = OfflineWandbLogger(save_dir=tmp_path, version="abc")
    for _ in range(2):  # a fit, then a test
        logger.log_metrics({"loss": 1.0}, step=1)
        logger.finalize("success")

    assert logger.version == "abc"
    assert {file.name for file in recorded(tmp_path / "wandb-abc")} == {"run-abc.wandb"}


def test_online_without_key_stays_on_disk_and_asks_nothing(tmp_path):
    logger = OfflineWandbLogger(save_dir=tmp_path, online=True)
    with pytest.warns(UserWarning, match="no API key"):
        logger.log_metrics({"loss": 1.0}, step=1)
    logger.finalize("success")
    assert recorded(logger.save_dir)


@pytest.mark.slow
def test_online_without_network_falls_back_in_time(tmp_path):
    code = """
import sys, time, warnings
from lattgnn.training import loggers
loggers.CONNECT_SECONDS = 1.0
logger = loggers.OfflineWandbLogger(save_dir=sys.argv[1], online=True)
assert "wandb" not in sys.modules  # before it is used it costs nothing
import wandb  # its import takes long on a loaded machine, but waits for nothing
begin = time.monotonic()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    logger.log_metrics({"loss": 1.0}, step=1)
assert any("cannot be reached" in str(w.message) for w in caught), [str(w.message) for w in caught]
logger.finalize("success")
assert time.monotonic() - begin < 60
"""
    nothing_listens = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    # wandb reads its environment once a process
    subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        check=True,
        env={**os.environ, **nothing_listens},
        timeout=PATIENCE,
    )
    assert recorded(tmp_path)


def test_a_broken_wandb_warns_once_and_lets_the_training_go_on(tmp_path, monkeypatch):
    import wandb

    def refuse(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(wandb, "init", refuse)
    logger = OfflineWandbLogger(save_dir=tmp_path)
    with pytest.warns(UserWarning, match="disk full") as caught:
        logger.log_hyperparams({"width": 1})
        logger.log_metrics({"loss": 1.0}, step=1)
        logger.log_metrics({"loss": 0.5}, step=2)
        logger.finalize("success")
    assert len(caught) == 1


def test_wandb_mode_disabled_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = OfflineWandbLogger(save_dir=tmp_path, online=True)
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.finalize("success")
    assert not list(tmp_path.glob("wandb-*/wandb/*run-*"))


@pytest.mark.slow
def test_pickles_for_spawned_processes(tmp_path):
    logger = OfflineWandbLogger(save_dir=tmp_path)
    logger.log_metrics({"loss": 1.0}, step=1)
    assert pickle.loads(pickle.dumps(logger)).version == logger.version
    logger.finalize("success")
