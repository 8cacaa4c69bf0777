"""The folder of a fit: its configuration, and what may continue in it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lattgnn.data.code_identity import CODE, changed_classes
from lattgnn.errors import InputError
from lattgnn.files import atomic_write_text
from lattgnn.serialize import config_differences, versions
from lattgnn.training.checkpoints import LAST, PREVIOUS

CONFIG = "config.yaml"
# Keys, or groups of keys, that may differ between a run and its continuation.
_FREE_KEYS = {
    *("run_dir", "wandb", "ckpt_path", "config", "threads", "test", "report"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary"),
    # A batch is shared among the processes, so their number does not change it.
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy"),
    *("data.n_workers", "data.progress", "data.eval_batch_size"),
    *("data.model_check", "data.symmetry_check", "data.fixed_filling"),
}


class RunDirectory(SaveConfigCallback):
    """Writes the resolved configuration and the versions into the run directory.

    This happens when the first step is about to begin: a fit that fails before leaves nothing
    behind. The verbs without a fit do not change the files.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, save_to_log_dir=False, **kwargs)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write nothing yet."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files, in the first process."""
        if trainer.is_global_zero:
            self.save_config(trainer, pl_module, "fit")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write config.yaml and versions.json."""
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(folder / CONFIG, self.parser.dump(self.config, skip_unset=False))
        atomic_write_text(folder / "versions.json", json.dumps(versions(), indent=2))


def check_continuation(folder: Path, configuration: str) -> None:
    """Refuse to continue a run with another configuration.

    A run without a checkpoint holds nothing that could be lost, so it may start again differently.

    Args:
        folder: Folder of the run.
        configuration: The resolved configuration as YAML.

    Raises:
        InputError: If a key differs that changes what is trained, or the source of a class of your
            own: its old weights would be trained on other labels.
    """
    stored_file = folder / CONFIG
    if not stored_file.exists() or not any((folder / name).exists() for name in (LAST, PREVIOUS)):
        return
    stored, present = yaml.safe_load(stored_file.read_text("utf-8")), yaml.safe_load(configuration)
    changed = changed_classes(stored.pop(CODE, None), present.pop(CODE, None) or {})
    if changed:
        raise InputError(
            f"{folder} holds a run of other code of {', '.join(changed)}. Use another --run_dir, "
            f"or name the checkpoint to start from: --ckpt_path={folder / LAST}."
        )
    for key, (old, new) in config_differences(stored, present).items():
        if key not in _FREE_KEYS and key.split(".")[0] not in _FREE_KEYS:
            raise InputError(
                f"{folder} holds a run with {key}={old!r}, got {key}={new!r}. Use another "
                f"--run_dir, or name the checkpoint to start from: --ckpt_path={folder / LAST}."
            )


@contextmanager
def nothing_left_if_refused(folder: Path) -> Iterator[None]:
    """Remove the folder of a fit that the block makes and leaves without a configuration.

    Lightning makes the files of its loggers before it looks at the data.

    Args:
        folder: Folder of the run.
    """
    existed = folder.exists()
    try:
        yield
    except InputError:
        if not existed and not (folder / CONFIG).exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise
