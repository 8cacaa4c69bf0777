"""The trainer verbs: fit, validate, test, predict, by LightningCLI."""

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

from lattgnn.checkpoint import load_checkpoint
from lattgnn.cli.parser import OneLineErrors
from lattgnn.data import LatticeDataModule, Source
from lattgnn.dynamics import Integrator
from lattgnn.errors import InputError
from lattgnn.files import atomic_file, atomic_write_text
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.serialize import versions
from lattgnn.solvers import Solver
from lattgnn.training.callbacks import RunRecord
from lattgnn.training.lit_module import LitForceField
from lattgnn.training.loggers import OfflineWandbLogger

CONFIG = "config.yaml"
# What may differ between a run and its continuation.
_FREE_KEYS = {
    *("run_dir", "wandb", "ckpt_path", "config", "threads", "test"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary"),
    *("data.n_workers", "data.progress", "data.eval_batch_size"),
}


class TrainerParser(OneLineErrors, LightningArgumentParser):
    """LightningCLI's parser with errors in one line."""


class RunDirectory(SaveConfigCallback):
    """Writes the resolved configuration and the versions into the run's folder, under any logger."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, save_to_log_dir=False, **kwargs)

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Write config.yaml and versions.json; fit alone does: a test leaves the record as it is."""
        if stage == "fit":
            folder = Path(trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write_text(folder / CONFIG, self.parser.dump(self.config, skip_none=False))
            atomic_write_text(folder / "versions.json", json.dumps(versions(), indent=2))


class TrainerCLI(LightningCLI):
    """fit, validate, test and predict on a run directory.

    ``fit`` keeps `last.ckpt`, written after every epoch, and `best.ckpt` there; the same command again goes
    on from `last.ckpt`. The other verbs take `best.ckpt` unless ``--ckpt_path`` names another.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's folder and tracking; the model gets its physics from the data."""
        parser.add_argument(
            "--run_dir",
            type=str,
            default="runs/fit",
            help="folder of the run: configuration, checkpoints, metrics",
        )
        parser.add_argument(
            "--wandb",
            type=bool,
            default=False,
            help="record the run with wandb, offline, beside the CSV log",
        )
        parser.add_argument(
            "--test", type=bool, default=False, help="after a fit, test its best checkpoint"
        )
        parser.add_argument(
            "--threads", type=int, default=1, help="threads of a process; small networks want one"
        )
        for name in ("hamiltonian", "solver"):
            parser.link_arguments("data", f"model.{name}", attrgetter(name), apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse ``args`` as given; sys.argv has no say."""
        self.config = parser.parse_args(args)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """The trainer with its loggers and checkpoints in the run's folder."""
        self.run_dir = Path(self._get(self.config, "run_dir"))
        torch.set_num_threads(self._get(self.config, "threads"))
        if self.subcommand == "fit":
            self._check_continuation()
        settings = self._get(self.config_init, "trainer")
        if settings.accelerator == "auto":  # Apple's GPU has neither float64 nor CSR products
            kwargs["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
        callbacks = _as_list(settings.callbacks)
        if self.subcommand == "fit":
            validated = any(
                source["init_args"]["split"] == "val"
                for source in self.datamodule.config["sources"]
            )
            callbacks += self._callbacks("val/all/mse" if validated else "train_loss")
            kwargs |= {"logger": self._loggers(settings.logger), "callbacks": callbacks}
            kwargs |= {} if validated else {"limit_val_batches": 0}
        else:
            kwargs |= {"logger": False, "enable_checkpointing": False, "callbacks": callbacks}
        return super().instantiate_trainer(default_root_dir=str(self.run_dir), **kwargs)

    def after_fit(self) -> None:
        """Test the best checkpoint where asked."""
        if self._get(self.config, "test"):
            self.trainer.test(
                self.model, self.datamodule, str(self.run_dir / "best.ckpt"), weights_only=True
            )
            self._write_figures("test")

    def after_test(self) -> None:
        """Keep the figures of the test in `test-DATASET.json`."""
        self._write_figures("test")

    def after_validate(self) -> None:
        """Keep the figures of the validation in `validate-DATASET.json`."""
        self._write_figures("validate")

    def predict(self, **kwargs: Any) -> None:
        """Write the predicted and exact forces of the test set to `predictions.npz`."""
        if self.trainer.world_size > 1:
            raise InputError(
                f"predict runs in one process, got {self.trainer.world_size}. Use --trainer.devices=1."
            )
        batches: Any = self.trainer.predict(**kwargs)
        arrays: dict[str, Any] = {
            key: torch.cat([batch[key] for batch in batches]).numpy() for key in batches[0]
        }
        with atomic_file(self.run_dir / "predictions.npz") as temporary:
            np.savez(temporary, **arrays)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        chosen = kwargs.get("ckpt_path")
        standard = self.run_dir / ("last.ckpt" if subcommand == "fit" else "best.ckpt")
        if chosen is None and (standard.exists() or subcommand != "fit"):
            chosen = str(standard)
        if chosen is not None:  # told before anything is written
            checkpoint = load_checkpoint(chosen)
            self.model.on_load_checkpoint(checkpoint)
            if (
                subcommand != "fit"
            ):  # Lightning would want the state of a training: shipped files have none
                self.model.load_state_dict(checkpoint["state_dict"])
                chosen = None
        return kwargs | {"ckpt_path": chosen, "weights_only": True}

    def _check_continuation(self) -> None:
        """Refuse to continue a run under another configuration, unless a checkpoint is named."""
        stored_file = self.run_dir / CONFIG
        if self._get(self.config, "ckpt_path") is not None or not stored_file.exists():
            return
        parser, config = self._parser("fit"), self.config["fit"]
        stored = _flat(yaml.safe_load(stored_file.read_text()))
        asked = _flat(yaml.safe_load(parser.dump(config, skip_none=False)))
        for key in sorted(stored.keys() | asked.keys()):
            free = key in _FREE_KEYS or key.split(".")[0] in _FREE_KEYS
            if not free and stored.get(key) != asked.get(key):
                raise InputError(
                    f"{self.run_dir} must be continued with its own configuration, got "
                    f"{key}={asked.get(key)!r} where it has {stored.get(key)!r}. Use another --run_dir, "
                    f"or name the checkpoint to start from: --ckpt_path={self.run_dir / 'last.ckpt'}."
                )

    def _loggers(self, asked: Any) -> list[Any]:
        tracking = (
            [OfflineWandbLogger(save_dir=self.run_dir)] if self._get(self.config, "wandb") else []
        )
        return [
            CSVLogger(self.run_dir, name="logs"),
            *tracking,
            *(_as_list(asked) if not isinstance(asked, bool) else []),
        ]

    def _callbacks(self, figure: str) -> list[Callback]:
        """Record, and checkpoints of the last epoch and of the lowest `figure`."""
        best = ModelCheckpoint(self.run_dir, "best", monitor=figure, enable_version_counter=False)
        last = ModelCheckpoint(
            self.run_dir,
            "last",
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        return [RunRecord(), best, last]

    def _write_figures(self, verb: str) -> None:
        if self.trainer.is_global_zero:
            figures = {
                key: float(value) for key, value in sorted(self.trainer.callback_metrics.items())
            }
            path = self.run_dir / f"{verb}-{self.datamodule.path.name}.json"
            atomic_write_text(path, json.dumps(figures, indent=2) + "\n")
            print(path)


def main(argv: list[str]) -> None:
    """Run a trainer verb; ``argv`` is the verb and its arguments."""
    _quiet()
    ours, handler, before = (
        logging.getLogger("lattgnn"),
        logging.StreamHandler(),
        torch.get_num_threads(),
    )
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
    try:
        _run(argv)
    finally:
        ours.removeHandler(handler)
        torch.set_num_threads(before)


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


def _quiet() -> None:
    """Silence what Lightning says of devices, of its other products and of what is meant so here."""
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


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}, to name a single key that differs."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {
        k: v
        for key, value in tree.items()
        for k, v in _flat(value, f"{prefix}.{key}" if prefix else key).items()
    }
