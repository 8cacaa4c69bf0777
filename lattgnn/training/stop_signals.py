"""Signals during a fit: the state is saved, and the exit code says that it stopped."""

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lattgnn.signals import StoppedBySignal, handle_signals, stop_at_once
from lattgnn.training.checkpoints import LAST

logger = logging.getLogger(__name__)


INTERVAL_ON_GPU = 10
"""Steps between two agreements of several processes with GPUs, because each waits for the GPU."""


class StopSignals(Checkpoint):
    """Saves `last.ckpt` when a signal arrives, then stops the fit with the code of the signal.

    The signal only leaves a note. After the step all processes agree on whether one of them was
    asked to stop, save the state together and stop together. Lightning's own handler communicates
    while a step may be communicating, which can hang, and it ends with exit code 0. A second
    signal stops at once.

    Args:
        folder: Folder of the run.
    """

    # A checkpoint callback, because Lightning calls those last: the state of all others is then
    # up to date.

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.received = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, which has just set its own handlers."""
        handle_signals(self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Save the state and stop if any process has received a signal."""
        several = trainer.world_size > 1 and pl_module.device.type != "cpu"
        if several and trainer.global_step % INTERVAL_ON_GPU:
            return
        number = self._agreed(trainer, pl_module)
        if number:
            trainer.save_checkpoint(self.folder / LAST)
            self._stop(trainer, number)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after the last epoch, whose state is saved already."""
        number = self._agreed(trainer, pl_module)
        if number:
            self._stop(trainer, number)
        handle_signals(stop_at_once)

    def _agreed(self, trainer: Trainer, pl_module: LightningModule) -> int:
        """The signal that a process has received, the same number in all of them; 0 for none."""
        if trainer.world_size == 1:
            return self.received
        noted = torch.tensor(self.received, device=pl_module.device)
        torch.distributed.all_reduce(noted, torch.distributed.ReduceOp.MAX)
        return int(noted)

    def _stop(self, trainer: Trainer, number: int) -> None:
        if trainer.is_global_zero:
            logger.info(
                "stopped by %s at step %d. The state is saved in %s; repeat the command without "
                "--ckpt_path to continue.",
                signal.Signals(number).name,
                trainer.global_step,
                self.folder / LAST,
            )
        raise StoppedBySignal(number, told=True)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            stop_at_once(number, frame)
        self.received = number
