"""Settings and checkpoints that a fit refuses in one line, before anything is written."""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lattgnn.data.workers import check_threads
from lattgnn.errors import InputError, StoppedRunError
from lattgnn.training.lost_processes import MESSAGE

PRECISIONS = (None, 32, "32", "32-true", 64, "64", "64-true")
"""Settings of trainer.precision that are supported."""


def check_settings(settings: Any, n_threads: int, is_fit: bool) -> None:
    """Refuse values that would fail later with a message of another program.

    Args:
        settings: The options of the trainer.
        n_threads: Threads per process.
        is_fit: Whether the verb is `fit`.

    Raises:
        InputError: If a value cannot be used.
    """
    check_threads(n_threads)
    if settings.precision not in PRECISIONS:
        raise InputError(
            "precision must be 32-true or 64-true, because 16 bits are coarser than the error of "
            f"a trained network, got {settings.precision!r}. Use --data.dtype=float64 for 64 bits."
        )
    if settings.devices in (0, "0"):
        raise InputError(f"devices must be at least 1, got {settings.devices!r}.")
    if re.search("spawn|fork|notebook", str(settings.strategy)):
        raise InputError(
            f"strategy must start its processes as commands, got {settings.strategy!r}. Use ddp."
        )
    if not is_fit:
        return
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if getattr(settings, name) == 0:
            raise InputError(f"{name} must not be 0 for a fit. Leave it out, or use at least 1.")
    if settings.enable_checkpointing is False:
        raise InputError(
            "enable_checkpointing must be true, because best.ckpt is the result of a fit, got "
            "False. Leave it out."
        )


def check_training_state(
    checkpoint: Mapping[str, Any], path: Path, max_epochs: int | None = None
) -> None:
    """Refuse a checkpoint from which no fit can continue.

    Args:
        checkpoint: Contents of the file.
        path: The file.
        max_epochs: Epochs of the fit that continues; None if it may be finished already.

    Raises:
        InputError: If the file holds the weights alone, or the fit has no epochs left.
    """
    if not checkpoint.get("optimizer_states") or "loops" not in checkpoint:
        raise InputError(
            f"{path} must hold the state of a fit, got the weights alone. Start a new fit from "
            f"them with --model.init_from={path} in place of --ckpt_path."
        )
    n_epochs = checkpoint["epoch"] + 1
    if max_epochs is not None and 0 <= max_epochs <= n_epochs:
        raise InputError(
            f"max_epochs must be above the {n_epochs} epochs of {path} to continue its fit, got "
            f"{max_epochs}. Use a larger number, or start a new fit with --model.init_from."
        )


@contextmanager
def errors_of_lightning() -> Iterator[None]:
    """Turn errors of Lightning and torch that are not bugs into errors of one line.

    Raises:
        InputError: If an option of the trainer is wrong.
        StoppedRunError: If another process of the fit has ended.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise InputError(str(error)) from error
    except RuntimeError as error:
        if str(error).startswith("Early stopping conditioned on metric"):
            raise InputError(str(error)) from error
        if re.search("gloo/transport|closed by peer|reset by peer|NCCL", str(error)):
            raise StoppedRunError(MESSAGE) from error
        raise


def is_of_first_process(record: logging.LogRecord) -> bool:
    """Whether to show a message: all processes of a fit have the same ones to tell.

    Args:
        record: The message.
    """
    return record.levelno >= logging.ERROR or rank_zero_only.rank == 0


def silence_lightning() -> None:
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
        # Our metrics sum over all processes themselves.
        "It is recommended to use `self.log\\(.*sync_dist=True\\)`",
    ):
        warnings.filterwarnings("ignore", message)
