"""Experiment tracking that never asks a question, waits for a network, or stops a fit."""

import netrc
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_warn

CONNECT_SECONDS = 15.0
UPLOAD_SECONDS = 60.0  # at the end of an online run; data not uploaded by then stay on disk


class OfflineWandbLogger(WandbLogger):
    """Weights & Biases on disk; upload later with `wandb sync`, or at once with `online=True`.

    Offline mode needs neither a key nor a network. Online mode falls back to offline, with one
    warning, if there is no key (wandb would ask for one) or no answer within 15 s.
    WANDB_MODE=offline and WANDB_MODE=disabled override `online`. If wandb fails, a warning is
    printed and the fit continues.

    Each run has its own directory in `save_dir`, so that the configuration that LightningCLI saves
    there cannot collide with that of an earlier run.

    Args:
        project: Project of the run.
        name: Name of the run on the website. Default: chosen by wandb.
        save_dir: Directory of all runs.
        version: Identifier of the run. Default: a new one. An existing one continues its run.
        online: Send the data to the server during the run.
        tags: Labels of the run.
    """

    def __init__(
        self,
        project: str = "lattgnn",
        name: str | None = None,
        save_dir: str | os.PathLike = "runs",
        version: str | None = None,
        online: bool = False,
        tags: list[str] | None = None,
    ) -> None:
        version = uuid.uuid4().hex[:8] if version is None else version
        folder = Path(save_dir) / f"wandb-{version}"
        super().__init__(project=project, name=name, save_dir=folder, version=version, tags=tags)
        self._online = online
        self._warned = False

    @property
    def version(self) -> str:
        """Identifier of the run."""
        return str(self._id)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The wandb run, started at the first use; a dummy object if wandb does not work."""
        if self._experiment is None:
            self._experiment = self._shielded(self._begin) or _Nothing()
        return self._experiment

    def log_hyperparams(self, params: Any) -> None:
        """Record hyperparameters."""
        self._shielded(super().log_hyperparams, params)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Record numbers."""
        self._shielded(super().log_metrics, metrics, step)

    def finalize(self, status: str) -> None:
        """Finish the run. Anything logged later continues it under the same identifier."""
        self._shielded(super().finalize, status)
        if self._experiment is not None:
            self._shielded(self._experiment.finish, 0 if status == "success" else 1)
            self._experiment = None

    def __getstate__(self) -> dict[str, Any]:
        """State for a spawned process, which continues the run by its identifier."""
        return {**self.__dict__, "_experiment": None}

    def _begin(self) -> Any:
        mode = os.environ.get("WANDB_MODE", "")
        if mode not in ("disabled", "offline"):
            mode = "online" if self._online else "offline"
        if mode == "online" and not _has_key():
            rank_zero_warn(
                "wandb has no API key, so this run stays on disk. Set WANDB_API_KEY to upload it."
            )
            mode = "offline"
        Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)
        try:
            return self._run(mode)
        except Exception as error:
            if mode != "online":
                raise
            rank_zero_warn(f"wandb cannot be reached, so this run stays on disk: {error}")
            # wandb keeps the identifier of the failed attempt, so another one is needed.
            return self._run("offline", id=f"{self.version}-offline")

    def _run(self, mode: str, **changed: Any) -> Any:
        import wandb  # takes a second, which only runs with wandb should pay

        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=CONNECT_SECONDS,
            finish_timeout=UPLOAD_SECONDS,
            disable_git=True,
            disable_code=True,
        )
        # "create_new": two loggers in one process make two runs; by default both would write to
        # one.
        options = {**self._wandb_init, **changed, "mode": mode, "reinit": "create_new"}
        options.pop("anonymous", None)  # passed by Lightning, but no longer known to wandb
        run = wandb.init(**options, settings=settings)
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return run

    def _shielded(self, function: Callable, *args: Any) -> Any:
        try:
            return function(*args)
        except Exception as error:  # tracking is optional: no error of it may stop the fit
            if not self._warned:
                self._warned = True
                rank_zero_warn(
                    f"wandb failed, and its record of this run may be incomplete: {error}"
                )


class _Nothing:
    """Returns itself for every attribute and call."""

    def __getattr__(self, name: str) -> "_Nothing":
        return self

    def __call__(self, *args: object, **kwargs: object) -> "_Nothing":
        return self


def _has_key() -> bool:
    """Whether wandb can log in without asking."""
    import wandb

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(wandb.setup().settings.base_url).hostname or ""
    try:
        path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
        return netrc.netrc(str(path)).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
