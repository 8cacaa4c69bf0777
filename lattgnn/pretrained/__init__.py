"""Trained force fields that are part of the package: a checkpoint, its recipe and its record each.

`NAME.json` records the cost, the test errors and the statistics of the training fields, which the
checkpoints do not hold.
"""

import json
from pathlib import Path
from typing import Any

from lattgnn.errors import InputError

FOLDER = Path(__file__).parent


def pretrained_names() -> list[str]:
    """Names of the force fields that are part of the package."""
    return sorted(path.stem for path in FOLDER.glob("*.ckpt"))


def pretrained_path(name: str) -> Path:
    """The checkpoint of a force field that is part of the package.

    Raises:
        InputError: If no force field has this name.
    """
    known = pretrained_names()
    if name not in known:
        raise InputError(
            f"name must be one of {known}, got {name!r}. For a file, give its path, such as "
            "runs/fit/best.ckpt."
        )
    return FOLDER / f"{name}.ckpt"


def find_checkpoint(name: str | Path) -> Path:
    """The file of a checkpoint that is given by its path, or by the name of a shipped force field.

    What has a separator or a suffix, or is a file in the working directory, is a path. Anything
    else is a name, even if there is a folder with that name.

    Args:
        name: Such as "runs/fit/best.ckpt" or "holstein-square".

    Returns:
        The path, which need not exist.

    Raises:
        InputError: If it is not a path, and no force field has this name.
    """
    path = Path(name)
    is_path = path.name != str(name) or path.suffix or path.is_file()
    return path if is_path else pretrained_path(str(name))


def shipped_record(path: str | Path) -> dict[str, Any]:
    """The record beside a checkpoint of the package; empty for any other file.

    Raises:
        InputError: If it is missing or damaged.
    """
    path = Path(path)
    if path.resolve().parent != FOLDER.resolve():
        return {}
    record = path.with_suffix(".json")
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise InputError(
            f"{path} needs its record {record.name} beside it, which is missing or damaged. "
            "Install lattgnn again; if the checkpoint is your own, move it to another folder."
        ) from error
