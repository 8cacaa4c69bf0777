"""The command line of the trainer verbs, built on LightningCLI."""

import json
import logging
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment

from lattgnn.checkpoint import load_checkpoint, restore_weights
from lattgnn.cli.fit_checks import check_settings, check_training_state
from lattgnn.cli.parser import OneLineErrors, instantiate
from lattgnn.cli.run_directory import check_continuation, nothing_left_if_refused
from lattgnn.data.code_identity import CODE, warn_of_changed_code
from lattgnn.errors import InputError, check_number, one_line
from lattgnn.files import atomic_file, atomic_write_text
from lattgnn.pretrained import find_checkpoint
from lattgnn.training.callbacks import RunRecord
from lattgnn.training.checkpoints import (
    BEST,
    AtomicCheckpoints,
    BestCheckpoint,
    LastCheckpoint,
    last_checkpoint,
)
from lattgnn.training.loggers import OfflineWandbLogger
from lattgnn.training.lost_processes import ProcessWatch
from lattgnn.training.stop_signals import StopSignals

logger = logging.getLogger(__name__)


class TrainerParser(OneLineErrors, LightningArgumentParser):
    """LightningCLI's parser with errors in one line."""

    def instantiate_classes(self, cfg: Any, **kwargs: Any) -> Any:
        """Build the objects; LightningCLI calls this."""
        return instantiate(self, cfg)


class TrainerCLI(LightningCLI):
    """fit, validate, test and predict on a run directory.

    `fit` writes `last.ckpt` after every epoch, and `best.ckpt`. Rerunning the same command resumes
    from `last.ckpt`. The other verbs use `best.ckpt` unless `--ckpt_path` names another file or a
    shipped force field.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a run, and give the model the Hamiltonian and solver of the data."""
        parser.add_argument(
            "--run_dir",
            type=str,
            default="runs/fit",
            help="directory of the run: configuration, checkpoints, metrics",
        )
        parser.add_argument(
            "--wandb",
            type=bool,
            default=False,
            help="record the run with wandb too, offline",
        )
        parser.add_argument(
            "--test", type=bool, default=False, help="test the best checkpoint after the fit"
        )
        parser.add_argument(
            "--report",
            type=bool,
            default=True,
            help="draw the curves of a finished fit: report.html, PNG and PDF in its directory",
        )
        parser.add_argument(
            "--threads",
            type=int,
            default=1,
            help="threads per process; small networks are fastest with one",
        )
        parser.add_argument(
            "--code",
            type=dict[str, str] | None,
            default=None,
            help="hashes of the source of your own classes; a recorded run sets them",
        )
        for name in ("hamiltonian", "solver"):
            parser.link_arguments("data", f"model.{name}", attrgetter(name), apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse `args` as given, without a look at sys.argv."""
        self.config = parser.parse_args(args)
        seed = self.config[self.config["subcommand"]].get("seed_everything")
        if seed is True:  # Lightning takes PL_GLOBAL_SEED, which may not be a number
            raise InputError("seed_everything must be a whole number, got true. Use 0.")
        if seed is not False:
            check_number("seed_everything", seed, 0, 2**32 - 1)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: by default, LightningCLI lets the checkpoint override the command line."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Make the trainer, with its loggers and checkpoints in the run directory."""
        self.run_dir = Path(self._get(self.config, "run_dir"))
        settings = self._get(self.config_init, "trainer")
        n_threads = self._get(self.config, "threads")
        check_settings(settings, n_threads, is_fit=self.subcommand == "fit")
        torch.set_num_threads(n_threads)
        code = self.datamodule.config.get(CODE, {})
        warn_of_changed_code(self._get(self.config, "code"), code)
        self.config[str(self.subcommand)]["code"] = code or None
        if self.subcommand == "fit" and self._get(self.config, "ckpt_path") is None:
            resolved = self._parser("fit").dump(self.config["fit"], skip_unset=False)
            check_continuation(self.run_dir, resolved)
        # Apple's GPU has neither float64 nor products with CSR matrices.
        if settings.accelerator == "auto":
            kwargs["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
        if self.datamodule.dtype == torch.float64:
            kwargs["precision"] = "64-true"
        callbacks = _as_list(settings.callbacks)
        if self.subcommand == "fit":
            callbacks += self._callbacks(settings)
            kwargs |= {"logger": self._loggers(settings.logger), "callbacks": callbacks}
            kwargs["plugins"] = [*_as_list(settings.plugins), AtomicCheckpoints()]
            if not self._is_validated(settings):
                kwargs["limit_val_batches"] = 0
        else:
            kwargs |= {"logger": False, "enable_checkpointing": False, "callbacks": callbacks}
        try:
            trainer = super().instantiate_trainer(default_root_dir=str(self.run_dir), **kwargs)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            # Lightning checks its own arguments, with many kinds of exceptions.
            raise InputError(f"trainer: {one_line(error)}") from error
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment):
            # Lightning would save a checkpoint of its own at SIGUSR1, in the middle of a step, and
            # start the next fit from it, even if last.ckpt is newer. StopSignals does it.
            environment.auto_requeue = False
        if trainer.strategy.launcher is not None:
            ProcessWatch(trainer.strategy.launcher, str(self.subcommand))
        return trainer

    def fit(self, **kwargs: Any) -> None:
        """Fit; what a refused fit has written is removed."""
        with nothing_left_if_refused(self.run_dir):
            self.trainer.fit(**kwargs)

    def after_fit(self) -> None:
        """Test the best checkpoint if `--test` is given, then write the report."""
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]  which leaves no files
            return
        if self._get(self.config, "test"):
            self.trainer.test(
                self.model, self.datamodule, str(self.run_dir / BEST), weights_only=True
            )
            self._write_metrics("test")
        if self._get(self.config, "report") and self.trainer.is_global_zero:
            from lattgnn.report import write_fit_report  # matplotlib only where it draws

            write_fit_report(self.run_dir)

    def after_test(self) -> None:
        """Write the metrics to `test-DATASET.json`, and warn of fields unlike those of training."""
        self._write_metrics("test")
        trained, data = self.model.field_statistics, self.datamodule
        if trained is not None:
            frames = data.tensors["test"]["field"].numpy()
            for departure in trained.departures(frames, data.lattice):
                logger.warning("the test fields leave those of the training: %s", departure)

    def after_validate(self) -> None:
        """Write the metrics to `validate-DATASET.json`."""
        self._write_metrics("validate")

    def predict(self, **kwargs: Any) -> None:
        """Write the predicted and exact forces of the test set to `predictions.npz`."""
        if self.trainer.world_size > 1:
            raise InputError(
                f"predict must run in one process, got {self.trainer.world_size}. Use "
                f"--trainer.devices=1."
            )
        batches: Any = self.trainer.predict(**kwargs)
        arrays: dict[str, Any] = {
            key: torch.cat([batch[key] for batch in batches]).numpy() for key in batches[0]
        }
        path = self.run_dir / "predictions.npz"
        with atomic_file(path) as temporary:
            np.savez(temporary, **arrays)
        print(path)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Choose the checkpoint and check it, before anything is written."""
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        given = kwargs.get("ckpt_path")
        if given is not None:
            path = find_checkpoint(given)
        elif subcommand == "fit":
            path = last_checkpoint(self.run_dir)
        else:
            path = self.run_dir / BEST
        if path is not None:
            checkpoint = load_checkpoint(path)
            if subcommand == "fit":
                self.model.on_load_checkpoint(checkpoint)
                check_training_state(checkpoint, path, self.trainer.max_epochs if given else None)
            else:
                # Not loaded by Lightning, which needs the state of the optimizer: shipped files
                # have none.
                self.model.check_header(checkpoint, path)
                # In the precision of the data first: single precision would round the weights.
                restore_weights(self.model.net.to(self.datamodule.dtype), checkpoint, path)
                path = None
        return kwargs | {"ckpt_path": None if path is None else str(path), "weights_only": True}

    def _is_validated(self, settings: Any) -> bool:
        """Whether the fit is validated: there are data, and the trainer does not leave them out."""
        sources = self.datamodule.config["sources"]
        has_data = any(source["init_args"]["split"] == "val" for source in sources)
        return has_data and settings.limit_val_batches != 0

    def _loggers(self, configured: Any) -> list[Any]:
        """The CSV log, wandb if `--wandb` is given, and the loggers of the configuration."""
        loggers: list[Any] = [CSVLogger(self.run_dir, name="logs")]
        if self._get(self.config, "wandb"):
            loggers.append(OfflineWandbLogger(save_dir=self.run_dir))
        if not isinstance(configured, bool):
            loggers += _as_list(configured)
        return loggers

    def _callbacks(self, settings: Any) -> list[Callback]:
        """The record of the run, its checkpoints, and the answer to signals."""
        validated = self._is_validated(settings)
        if not validated:
            logger.info(
                "there are no validation data (split: val), so best.ckpt is the last checkpoint"
            )
        best = BestCheckpoint(self.run_dir, "val/all/mse" if validated else None)
        return [RunRecord(), best, LastCheckpoint(self.run_dir), StopSignals(self.run_dir)]

    def _write_metrics(self, verb: str) -> None:
        if self.trainer.is_global_zero:
            found = sorted(self.trainer.callback_metrics.items())
            metrics = {key: float(value) for key, value in found}
            path = self.run_dir / f"{verb}-{self.datamodule.path.name}.json"
            atomic_write_text(path, json.dumps(metrics, indent=2) + "\n")
            print(path)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
