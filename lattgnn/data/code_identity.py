"""The code of a user's own classes, as a part of what identifies a dataset.

The configuration names a class but not what it does. A dataset of classes of this package is
identified by its configuration alone; other classes add a hash of their source.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import json
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CODE = "code"
"""Key of the configuration; missing where all classes belong to this package."""


def code_identity(*objects: Any) -> dict[str, str]:
    """Hashes of the source of all classes outside of this package that objects are made of.

    Comments, docstrings and the layout of the source do not count. Functions that a class calls are
    not part of its source. A class without a source file, such as one typed at a prompt, is left
    out.

    Args:
        *objects: Objects, whose fields are searched too if they are dataclasses.

    Returns:
        {"module.Class": first digits of the SHA-256}.
    """
    found = {}
    for obj in objects:
        for cls in _classes(obj):
            source = _normal_source(cls)
            if source is not None:
                digest = hashlib.sha256(source.encode("utf-8")).hexdigest()
                found[f"{cls.__module__}.{cls.__qualname__}"] = digest[:12]
    return dict(sorted(found.items()))


def changed_classes(recorded: Mapping[str, str] | None, present: Mapping[str, str]) -> list[str]:
    """Classes whose source differs from that of a recorded run.

    Args:
        recorded: What `code_identity` found for that run; None if it is not known.
        present: What it finds now.

    Returns:
        Names of classes that both have.
    """
    known = recorded or {}
    return [name for name, digest in present.items() if known.get(name, digest) != digest]


def warn_of_changed_code(recorded: Mapping[str, str] | None, present: Mapping[str, str]) -> None:
    """Warn in one line if a recorded configuration is used with other code of its classes.

    Args:
        recorded: As in `changed_classes`.
        present: As in `changed_classes`.
    """
    changed = changed_classes(recorded, present)
    if changed:
        warnings.warn(
            f"the source of {', '.join(changed)} has changed since the run of this configuration, "
            "so the numbers may differ from those of that run",
            stacklevel=2,
        )


def made_by_other_code(root: str | Path, name: str, config: Mapping[str, Any]) -> Path | None:
    """A complete dataset with the same configuration, apart from the code of its classes.

    Args:
        root: Folder of datasets.
        name: First part of the name of the dataset.
        config: Resolved configuration.

    Returns:
        The directory of the newest such dataset, or None.
    """
    if CODE not in config:
        return None
    wanted = json.loads(json.dumps(_without_code(config)))
    found = []
    for manifest in Path(root).glob(f"{name}-*/manifest.json"):
        try:
            other = json.loads(manifest.read_text(encoding="utf-8"))["config"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a damaged dataset of another name does not matter here
        if isinstance(other, dict) and _without_code(other) == wanted and other != config:
            found.append(manifest)
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def _without_code(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != CODE}


def _classes(obj: Any) -> Iterator[type]:
    """Classes outside of this package: of an object, of its bases, and of its fields."""
    if isinstance(obj, tuple | list):
        for item in obj:
            yield from _classes(item)
    if not dataclasses.is_dataclass(obj) or isinstance(obj, type):
        return
    for cls in type(obj).__mro__:
        package = cls.__module__.partition(".")[0]
        if package not in ("lattgnn", "abc", "builtins", "typing"):
            yield cls
    for field in dataclasses.fields(obj):
        yield from _classes(getattr(obj, field.name))


def _normal_source(cls: type) -> str | None:
    """The source of a class without comments and docstrings, in one layout."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
