"""Checkpoints of a fit: the last and the best, each of them always a complete file."""

import io
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from lattgnn.checkpoint import load_checkpoint, read_header
from lattgnn.errors import InputError
from lattgnn.files import atomic_write_bytes

logger = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
"""File names in the folder of a run: `previous.ckpt` is the `last.ckpt` before the present one."""


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their final name and renames them when they are on the disk.

    Lightning writes them to the folder of temporary files and copies them from there, which leaves
    a part of a file if the process is killed or the disk is full. The `last.ckpt` that is replaced
    is kept as `previous.ckpt`.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: The state of the fit.
            path: The file.
            storage_options: Not used.

        Raises:
            OSError: If the file cannot be written, for example because the disk is full.
        """
        # Through memory: torch.save reports a full disk as an internal error of its own.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        path = Path(path)
        if path.name == LAST and path.exists():
            _keep_as(path, path.with_name(PREVIOUS))
        atomic_write_bytes(path, buffer.getvalue())


class LastCheckpoint(ModelCheckpoint):
    """Writes `last.ckpt` at the end of every epoch.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            Path(LAST).stem,
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        """The key of Lightning's own class, under which older checkpoints hold the state."""
        return _key_of_base_class(super().state_key)


class BestCheckpoint(ModelCheckpoint):
    """Writes `best.ckpt`, which exists after every fit.

    The last step of a fit is always followed by a validation, even if `check_val_every_n_epoch`
    leaves it out. Without validation data the best checkpoint is the last one.

    Args:
        folder: Folder of the run.
        metric: Name of the error whose lowest value is the best; None without validation data.
    """

    def __init__(self, folder: Path, metric: str | None) -> None:
        super().__init__(
            folder,
            Path(BEST).stem,
            monitor=metric,
            save_on_train_epoch_end=True if metric is None else None,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        """The key of Lightning's own class, under which older checkpoints hold the state."""
        # Without a metric it would be the key of LastCheckpoint.
        key = super().state_key
        return key if self.monitor is None else _key_of_base_class(key)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Ask for a validation if this is the last step of the fit."""
        super().on_train_batch_end(trainer, pl_module, *args, **kwargs)
        # Lightning calls checkpoint callbacks last, so max_time has already set `should_stop`.
        if trainer.should_stop or _is_last_step(trainer):
            # With both settings Lightning validates before it stops.
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = 1

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `best.ckpt` if the fit ended without a validation."""
        path = Path(str(self.dirpath), BEST)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if not trainer.strategy.broadcast(path.exists()):
            trainer.save_checkpoint(path)
            if trainer.is_global_zero:
                logger.info("the fit was never validated, so %s is the last checkpoint", path)


def last_checkpoint(folder: Path) -> Path | None:
    """The file from which a fit continues: `last.ckpt`, or the one before it if it is damaged.

    Args:
        folder: Folder of the run.

    Returns:
        The file, or None if the run has none.

    Raises:
        InputError: If all that there are cannot be read.
    """
    found = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in found:
        try:
            read_header(load_checkpoint(path), path)
        except InputError as error:
            if path is found[-1]:
                raise
            logger.warning("%s The fit continues from %s.", error, PREVIOUS)
        else:
            return path
    return None


def _is_last_step(trainer: Trainer) -> bool:
    """Whether max_steps or max_epochs is reached with the batch that has just been used."""
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        return True
    ends_epoch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    return ends_epoch and trainer.current_epoch + 1 == trainer.fit_loop.max_epochs


def _keep_as(path: Path, copy: Path) -> None:
    """Give a file a second name. The first one stays, so that it exists at every moment."""
    temporary = copy.with_name(f".{copy.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without hard links
        shutil.copy2(path, temporary)
    temporary.replace(copy)


def _key_of_base_class(key: str) -> str:
    return ModelCheckpoint.__qualname__ + key[key.index("{") :]
