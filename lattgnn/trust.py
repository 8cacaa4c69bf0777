"""Which modules a file may import, because importing a module runs its code.

Checkpoints, datasets and saved runs name the classes that they were made from. Such a file may come
from a stranger. So these modules alone are imported for it:

- those of lattgnn, and those of its dependencies that networks are made of;
- modules that are imported already, such as those of the running program;
- modules that the caller trusts by name, and those in a folder of PYTHONPATH. The working directory
  does not count, even if it is on PYTHONPATH, because an archive with a checkpoint may have been
  unpacked there.

Configurations and command lines are the user's own, and may name any class.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from lattgnn.errors import InputError

Trust = bool | Collection[str]
"""True trusts every module that a file names; otherwise the names of modules and packages."""

_ALWAYS = ("lattgnn", "torch.nn", "torch.optim", "torch_geometric.nn", "pytorch_optimizer")

# None where no file is being read: then the names come from the user's own program.
_trust: ContextVar[Trust | None] = ContextVar("trust", default=None)


@contextmanager
def reading(path: str | Path, trust: Trust | None = None) -> Iterator[None]:
    """Build objects from the contents of a file within a `with` statement.

    Args:
        path: The file, which messages name.
        trust: Modules that the file may import besides those that every file may; True for all.
            None keeps those of an outer `reading`.

    Raises:
        InputError: If an object cannot be built from what the file says.
    """
    try:
        with trusting(surrounding_trust() if trust is None else trust):
            yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        # The values in a damaged file may be anything, and so may the exceptions that they cause.
        raise InputError(
            f"{path} describes an object that cannot be built ({type(error).__name__}: {error}). "
            "The file is damaged, or the class has changed since."
        ) from error


@contextmanager
def trusting(trust: Trust) -> Iterator[None]:
    """Restrict `import_object` to trusted modules within a `with` statement.

    Args:
        trust: Modules that may be imported besides those that every file may; True for all.
    """
    token = _trust.set((trust,) if isinstance(trust, str) else trust)
    try:
        yield
    finally:
        _trust.reset(token)


def surrounding_trust() -> Trust:
    """The modules that the file trusts which is being read, none outside of `reading`."""
    trust = _trust.get()
    return () if trust is None else trust


def import_object(path: str) -> Any:
    """Import what a path names, with the restrictions for files while one is being read.

    Args:
        path: Import path, such as "lattgnn.hamiltonians.Holstein".

    Returns:
        The class or function.

    Raises:
        InputError: If a file names a module that is not trusted.
        ImportError: If there is no such module.
        AttributeError: If the module has no such name.
        ValueError: If the path has no module.
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise ValueError("it names no module")
    trust = _trust.get()
    if trust is not None and not _is_trusted(module, trust):
        raise InputError(
            f"the class {path!r} is in a module that is not part of lattgnn, and importing a module"
            f" runs its code. If you trust it, use --trust {module}, or trust=[{module!r}] in "
            "Python."
        )
    return getattr(importlib.import_module(module), name)


def _is_trusted(module: str, trust: Trust) -> bool:
    """Whether a file may import a module."""
    if trust is True or module in sys.modules:
        return True
    parts = module.split(".")
    if importlib.util.find_spec(parts[0]) is None:
        return True  # there is none, as the import will show
    if "__main__" in parts:  # such a module runs a program
        return False
    named = {*_ALWAYS, *(trust or ())}
    prefixes = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
    return bool(prefixes & named) or _is_on_python_path(parts[0])


def _is_on_python_path(package: str) -> bool:
    """Whether Python finds a package in a folder of PYTHONPATH other than the working directory."""
    folders = []
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if os.path.isabs(folder) and Path(folder).resolve() != Path.cwd():
            folders.append(folder)
    own, found = PathFinder.find_spec(package, folders), PathFinder.find_spec(package)
    # Another file of this name may come earlier on the path.
    return own is not None and found is not None and _place(own) == _place(found)


def _place(spec: ModuleSpec) -> tuple[str | None, list[str]]:
    return spec.origin, list(spec.submodule_search_locations or [])
