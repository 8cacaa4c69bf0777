"""What a training run tells: a line now and then, and its cost at the end."""

import json
import logging
import time
from pathlib import Path
from statistics import median
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lattgnn.files import atomic_write_text

logger = logging.getLogger(__name__)


class RunRecord(Callback):
    """Logs one line a validation and writes `fit.json`: parameters, steps, CPU-minutes, last figures.

    CPU time is that of this process, all threads. It lies in the checkpoint, and a resumed run counts on.
    `step_seconds` is the median CPU time of a training step since the start or the resumption.
    """

    def __init__(self) -> None:
        self._before = 0.0
        self._started = time.process_time()
        self._step_started = 0.0
        self._step_seconds: list[float] = []

    @property
    def cpu_minutes(self) -> float:
        """CPU-minutes of the run so far, earlier parts of it included."""
        return (self._before + time.process_time() - self._started) / 60

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.process_time()

    def on_train_batch_start(self, *args: Any) -> None:
        """Start the clock of a step."""
        self._step_started = time.process_time()

    def on_train_batch_end(self, *args: Any) -> None:
        """Stop it."""
        self._step_seconds.append(time.process_time() - self._step_started)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log where the training is."""
        if trainer.is_global_zero and not trainer.sanity_checking and trainer.state.fn == "fit":
            figures = trainer.callback_metrics
            mse = ", ".join(
                f"{name} {figures[f'val/{name}/mse']:.2e}"
                for name in ("quench", "random")
                if f"val/{name}/mse" in figures
            )
            logger.info(
                "epoch %d/%s, step %d, %.2f CPU-min, validation MSE: %s",
                trainer.current_epoch + 1,
                trainer.max_epochs,
                trainer.global_step,
                self.cpu_minutes,
                mse,
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the record."""
        if trainer.is_global_zero:
            record = {
                "parameters": sum(p.numel() for p in pl_module.parameters()),
                "epochs": trainer.current_epoch,
                "steps": trainer.global_step,
                "cpu_minutes": round(self.cpu_minutes, 3),
                "step_seconds": median(self._step_seconds) if self._step_seconds else None,
                "processes": trainer.world_size,
                "figures": {
                    key: float(value) for key, value in sorted(trainer.callback_metrics.items())
                },
            }
            atomic_write_text(
                Path(trainer.default_root_dir) / "fit.json", json.dumps(record, indent=2)
            )

    def state_dict(self) -> dict[str, Any]:
        """CPU time so far, for the checkpoint."""
        return {"cpu_seconds": 60 * self.cpu_minutes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from a checkpoint."""
        self._before = state_dict["cpu_seconds"]
