"""Progress messages during a fit, and the record of its cost."""

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
    """Logs one line per validation; writes `fit.json` with parameters, steps, cost and metrics.

    CPU time is that of this process with all its threads. It is stored in the checkpoint, and a
    resumed run adds to it. `step_seconds` is the median CPU time of a training step since the run
    started or resumed.
    """

    def __init__(self) -> None:
        self._before = 0.0
        self._started = time.process_time()
        self._step_started = 0.0
        self._step_seconds: list[float] = []

    @property
    def cpu_minutes(self) -> float:
        """CPU minutes of the run so far, including the time before it was resumed."""
        return (self._before + time.process_time() - self._started) / 60

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start measuring the fit."""
        self._started = time.process_time()

    def on_train_batch_start(self, *args: Any) -> None:
        """Start measuring a step."""
        self._step_started = time.process_time()

    def on_train_batch_end(self, *args: Any) -> None:
        """Record the CPU time of the step."""
        self._step_seconds.append(time.process_time() - self._step_started)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log epoch, step, cost and validation errors."""
        if trainer.is_global_zero and not trainer.sanity_checking and trainer.state.fn == "fit":
            metrics = trainer.callback_metrics
            mse = ", ".join(
                f"{name} {metrics[f'val/{name}/mse']:.2e}"
                for name in ("quench", "random")
                if f"val/{name}/mse" in metrics
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
        """Write `fit.json`."""
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
        """Return the CPU time so far, for the checkpoint."""
        return {"cpu_seconds": 60 * self.cpu_minutes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the CPU time from a checkpoint."""
        self._before = state_dict["cpu_seconds"]
