"""Progress messages during a fit, and the record of its cost."""

import json
import logging
import time
from pathlib import Path
from statistics import median
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lattgnn.files import atomic_write_text
from lattgnn.training.shares import n_frames_of_step

logger = logging.getLogger(__name__)


class RunRecord(Callback):
    """Logs one line per validation; writes `fit.json` with parameters, steps, cost and metrics.

    In each epoch it logs `lr`, the learning rate of the last step; `seconds`, the wall-clock time
    since the start; and `samples_per_s`, the fields per second of all processes, validation
    excluded.

    CPU time is that of this process with all its threads. Both times are stored in the checkpoint,
    and a resumed run adds to them. `step_seconds` is the median CPU time of a training step since
    the run started or resumed.
    """

    def __init__(self) -> None:
        self._cpu_before, self._wall_before = 0.0, 0.0
        self._cpu_started, self._wall_started = time.process_time(), time.perf_counter()
        self._step_started = 0.0
        self._epoch_started = 0.0
        self._epoch_seconds = 0.0
        self._epoch_samples = 0
        self._step_seconds: list[float] = []
        self._figures: dict[str, float] = {}

    @property
    def cpu_minutes(self) -> float:
        """CPU minutes of the run so far, including the time before it was resumed."""
        return (self._cpu_before + time.process_time() - self._cpu_started) / 60

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the run so far, including the time before it was resumed."""
        return self._wall_before + time.perf_counter() - self._wall_started

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start measuring the fit."""
        self._cpu_started, self._wall_started = time.process_time(), time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting samples."""
        self._epoch_seconds, self._epoch_samples = 0.0, 0

    def on_train_batch_start(self, *args: Any) -> None:
        """Start measuring a step."""
        self._step_started, self._epoch_started = time.process_time(), time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Record the time and the samples of the step."""
        self._step_seconds.append(time.process_time() - self._step_started)
        self._epoch_seconds += time.perf_counter() - self._epoch_started
        self._epoch_samples += n_frames_of_step(trainer, len(batch["field"]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the learning rate, the time and the speed."""
        pl_module.log("lr", trainer.optimizers[0].param_groups[0]["lr"], rank_zero_only=True)
        pl_module.log("seconds", self.seconds, rank_zero_only=True)
        if self._epoch_seconds:
            speed = self._epoch_samples / self._epoch_seconds
            pl_module.log("samples_per_s", speed, rank_zero_only=True)
        self._keep_figures(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log epoch, step, cost and validation errors."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._keep_figures(trainer)
        if trainer.is_global_zero:
            metrics = trainer.callback_metrics
            mse = ", ".join(
                f"{name} {metrics[f'val/{name}/mse']:.2e}"
                for name in ("quench", "random")
                if f"val/{name}/mse" in metrics
            )
            logger.info(
                "epoch %d%s, step %d, %.2f CPU-min, validation MSE: %s",
                trainer.current_epoch + 1,
                f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else "",
                trainer.global_step,
                self.cpu_minutes,
                mse,
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `fit.json`, unless the fit was finished before and nothing has been done."""
        path = Path(trainer.default_root_dir) / "fit.json"
        if not trainer.is_global_zero or (path.exists() and not self._step_seconds):
            return
        record = {
            "parameters": sum(p.numel() for p in pl_module.parameters()),
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "cpu_minutes": round(self.cpu_minutes, 3),
            "seconds": round(self.seconds, 3),
            "step_seconds": median(self._step_seconds) if self._step_seconds else None,
            "processes": trainer.world_size,
            "figures": dict(sorted(self._figures.items())),
        }
        atomic_write_text(path, json.dumps(record, indent=2))

    def state_dict(self) -> dict[str, Any]:
        """Return the times and the last figures, for the checkpoint."""
        return {
            "cpu_seconds": 60 * self.cpu_minutes,
            "seconds": self.seconds,
            "figures": self._figures,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the times and figures from a checkpoint."""
        self._cpu_before = state_dict["cpu_seconds"]
        self._wall_before = state_dict.get("seconds", 0.0)
        self._figures = dict(state_dict.get("figures", {}))

    def _keep_figures(self, trainer: Trainer) -> None:
        """Remember the metrics; an epoch without validation keeps those of the last one."""
        for key, value in trainer.callback_metrics.items():
            self._figures[key] = float(value)
