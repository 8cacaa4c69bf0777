"""The contents of a checkpoint: read without running any code in them, and put into a network."""

import textwrap
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.nn import ForceNetwork


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint on the CPU, read without running any code in it.

    Raises:
        InputError: If the file is missing, is damaged, or holds more than tensors and plain data.
    """
    if not Path(path).is_file():
        what = "is a directory" if Path(path).is_dir() else "does not exist"
        raise InputError(
            f"checkpoint must be a file, got {str(path)!r}, which {what}. Run `lattgnn fit` first, "
            "or give the name of a shipped force field without a separator."
        )
    try:
        _check_checksums(path)
        with warnings.catch_warnings():  # about other pickle protocols, in files of other programs
            warnings.simplefilter("ignore")
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged file makes torch raise nearly every kind of exception, with long messages.
        raise InputError(
            f"checkpoint must be a file of `lattgnn fit`, got {str(path)!r}, which cannot be read "
            f"({type(error).__name__}: {_reason(error)}). Use another checkpoint."
        ) from error
    # A file with a single tensor can be read too, but it has no header: `read_header` reports it.
    return checkpoint if isinstance(checkpoint, dict) else {}


def restore_weights(
    net: ForceNetwork, checkpoint: Mapping[str, Any], name: str | Path = "checkpoint"
) -> None:
    """Load the weights of a checkpoint, which must be exactly those of the network.

    Args:
        net: The network.
        checkpoint: The contents of the file, from `load_checkpoint`.
        name: The file, which messages name.

    Raises:
        InputError: If a weight is missing, unexpected or of another shape.
    """
    found = {}
    stored = checkpoint.get("state_dict")
    for key, value in (stored if isinstance(stored, Mapping) else {}).items():
        # A checkpoint of `lattgnn fit` holds the whole Lightning module: the network, and the
        # metrics of the fit, which are not needed here.
        if isinstance(key, str) and isinstance(value, Tensor) and not key.startswith("errors."):
            found[key] = value
    wanted = {f"net.{key}": value for key, value in net.state_dict().items()}
    shared = wanted.keys() & found.keys()
    problems = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": sorted(k for k in shared if wanted[k].shape != found[k].shape),
        "complex": sorted(
            k for k in shared if found[k].is_complex() and not wanted[k].is_complex()
        ),
    }
    if any(problems.values()):
        parts = [f"{kind}: {_first_few(keys)}" for kind, keys in problems.items() if keys]
        raise InputError(
            f"{name} must hold the weights of the {type(net).__name__} that its header describes, "
            f"but some are {'; '.join(parts)}. Use another checkpoint."
        )
    net.load_state_dict({key.removeprefix("net."): value for key, value in found.items()})


def _check_checksums(path: str | Path) -> None:
    """Compare the parts of a checkpoint with their checksums, which torch writes but ignores.

    Raises:
        zipfile.BadZipFile: If a part differs.
    """
    if zipfile.is_zipfile(path):  # files of torch before 1.6 are not zip files
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")


def _reason(error: Exception) -> str:
    """The part of a message of torch that says why a file cannot be read, in at most 120 letters.

    The refusal of a class is preceded by advice on how to load the file anyway.
    """
    text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
    first = text.strip().splitlines()[0] if text.strip() else "no reason given"
    return textwrap.shorten(first, 120, placeholder=" ...").rstrip(".")


def _first_few(names: list[str]) -> str:
    """The first three names, and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
