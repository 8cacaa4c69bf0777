"""The trainer verbs fit, validate, test and predict, built on LightningCLI."""

import json
import logging
import sys
import warnings
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import set_parsing_settings
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lattgnn.checkpoint import load_checkpoint
from lattgnn.cli.parser import OneLineErrors, instantiate
from lattgnn.data import LatticeDataModule, Source
from lattgnn.dynamics import Integrator
from lattgnn.errors import InputError
from lattgnn.files import atomic_file, atomic_write_text
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.serialize import config_differences, versions
from lattgnn.solvers import Solver
from lattgnn.training.callbacks import RunRecord
from lattgnn.training.lit_module import LitForceField
from lattgnn.training.loggers import OfflineWandbLogger

CONFIG = "config.yaml"
# Keys, or groups of keys, that may differ between a run and its continuation.
_FREE_KEYS = {
    *("run_dir", "wandb", "ckpt_path", "config", "threads", "test"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary"),
    *("data.n_workers", "data.progress", "data.eval_batch_size"),
    *("data.model_check", "data.symmetry_check"),
}


class TrainerParser(OneLineErrors, LightningArgumentParser):
    """LightningCLI's parser with errors in one line."""

    def instantiate_classes(self, cfg: Any, **kwargs: Any) -> Any:
        """Build the objects; LightningCLI calls this."""
        return instantiate(self, cfg)


class RunDirectory(SaveConfigCallback):
    """Writes the resolved configuration and the versions into the run directory."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, save_to_log_dir=False, **kwargs)

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Write config.yaml and versions.json when fitting; other verbs do not change them."""
        if stage == "fit":
            folder = Path(trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write_text(folder / CONFIG, self.parser.dump(self.config, skip_unset=False))
            atomic_write_text(folder / "versions.json", json.dumps(versions(), indent=2))


class TrainerCLI(LightningCLI):
    """fit, validate, test and predict on a run directory.

    `fit` writes `last.ckpt` after every epoch, and `best.ckpt`. Rerunning the same command resumes
    from `last.ckpt`. The other verbs use `best.ckpt` unless `--ckpt_path` names another file.
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
            "--threads",
            type=int,
            default=1,
            help="threads per process; small networks are fastest with one",
        )
        for name in ("hamiltonian", "solver"):
            parser.link_arguments("data", f"model.{name}", attrgetter(name), apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse `args` as given, without a look at sys.argv."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: by default, LightningCLI lets the checkpoint override the command line."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Make the trainer, with its loggers and checkpoints in the run directory."""
        self.run_dir = Path(self._get(self.config, "run_dir"))
        torch.set_num_threads(self._get(self.config, "threads"))
        if self.subcommand == "fit":
            self._check_continuation()
        settings = self._get(self.config_init, "trainer")
        if (
            settings.accelerator == "auto"
        ):  # Apple's GPU has neither float64 nor products with CSR matrices
            kwargs["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
        callbacks = _as_list(settings.callbacks)
        if self.subcommand == "fit":
            sources = self.datamodule.config["sources"]
            validated = any(source["init_args"]["split"] == "val" for source in sources)
            callbacks += self._callbacks("val/all/mse" if validated else "train_loss")
            kwargs |= {"logger": self._loggers(settings.logger), "callbacks": callbacks}
            if not validated:
                kwargs["limit_val_batches"] = 0
        else:
            kwargs |= {"logger": False, "enable_checkpointing": False, "callbacks": callbacks}
        return super().instantiate_trainer(default_root_dir=str(self.run_dir), **kwargs)

    def after_fit(self) -> None:
        """Test the best checkpoint if `--test` is given."""
        if self._get(self.config, "test"):
            self.trainer.test(
                self.model, self.datamodule, str(self.run_dir / "best.ckpt"), weights_only=True
            )
            self._write_metrics("test")

    def after_test(self) -> None:
        """Write the metrics to `test-DATASET.json`."""
        self._write_metrics("test")

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
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        path = kwargs.get("ckpt_path")
        default = self.run_dir / ("last.ckpt" if subcommand == "fit" else "best.ckpt")
        if path is None and (default.exists() or subcommand != "fit"):
            path = str(default)
        if path is not None:
            # Checked here, before anything is written.
            checkpoint = load_checkpoint(path)
            self.model.on_load_checkpoint(checkpoint)
            if subcommand != "fit":
                # Not loaded by Lightning, which needs the state of the optimizer: shipped files
                # have none.
                self.model.load_state_dict(checkpoint["state_dict"])
                path = None
        return kwargs | {"ckpt_path": path, "weights_only": True}

    def _check_continuation(self) -> None:
        """Refuse to resume a run with another configuration, unless a checkpoint is named."""
        stored_file = self.run_dir / CONFIG
        if self._get(self.config, "ckpt_path") is not None or not stored_file.exists():
            return
        parser, config = self._parser("fit"), self.config["fit"]
        stored = yaml.safe_load(stored_file.read_text())
        given = yaml.safe_load(parser.dump(config, skip_unset=False))
        for key, (old, new) in config_differences(stored, given).items():
            if key not in _FREE_KEYS and key.split(".")[0] not in _FREE_KEYS:
                raise InputError(
                    f"{self.run_dir} holds a run with {key}={old!r}, got {key}={new!r}. Use "
                    f"another "
                    f"--run_dir, or name the checkpoint to start from: "
                    f"--ckpt_path={self.run_dir / 'last.ckpt'}."
                )

    def _loggers(self, configured: Any) -> list[Any]:
        """The CSV log, wandb if `--wandb` is given, and the loggers of the configuration."""
        loggers: list[Any] = [CSVLogger(self.run_dir, name="logs")]
        if self._get(self.config, "wandb"):
            loggers.append(OfflineWandbLogger(save_dir=self.run_dir))
        if not isinstance(configured, bool):
            loggers += _as_list(configured)
        return loggers

    def _callbacks(self, metric: str) -> list[Callback]:
        """The record of the run, and checkpoints of the last epoch and of the lowest `metric`."""
        best = ModelCheckpoint(self.run_dir, "best", monitor=metric, enable_version_counter=False)
        last = ModelCheckpoint(
            self.run_dir,
            "last",
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        return [RunRecord(), best, last]

    def _write_metrics(self, verb: str) -> None:
        if self.trainer.is_global_zero:
            found = sorted(self.trainer.callback_metrics.items())
            metrics = {key: float(value) for key, value in found}
            path = self.run_dir / f"{verb}-{self.datamodule.path.name}.json"
            atomic_write_text(path, json.dumps(metrics, indent=2) + "\n")
            print(path)


def main(argv: list[str]) -> None:
    """Run a trainer verb, with the messages of lattgnn's loggers on stderr.

    Args:
        argv: The verb and its arguments.

    Raises:
        InputError: If an argument is wrong.
    """
    _silence_lightning()
    logger, handler = logging.getLogger("lattgnn"), logging.StreamHandler()
    n_threads = torch.get_num_threads()
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        _run(argv)
    except MisconfigurationException as error:
        raise InputError(str(error)) from error
    finally:
        logger.removeHandler(handler)
        torch.set_num_threads(n_threads)


def _run(argv: list[str]) -> None:
    set_parsing_settings(subclasses_enabled=[Lattice, Hamiltonian, Solver, Source, Integrator])
    TrainerCLI(
        LitForceField,
        LatticeDataModule,
        args=argv,
        save_config_callback=RunDirectory,
        seed_everything_default=0,
        trainer_defaults={
            "inference_mode": False,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": sys.stderr.isatty(),
            "enable_model_summary": False,
        },
        auto_configure_optimizers=False,
        parser_class=TrainerParser,
        parser_kwargs={"prog": "lattgnn"},
    )


def _silence_lightning() -> None:
    """Hide Lightning's messages about devices and products, and its warnings about our settings."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "Checkpoint directory .* exists and is not empty",
        "The number of training batches .* is smaller than the logging interval",
        "Be aware that when using `ckpt_path`",
        "The dirpath has changed",
        ".*does not have many workers",
        ".*isinstance\\(treespec, LeafSpec\\)",
    ):
        warnings.filterwarnings("ignore", message)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
