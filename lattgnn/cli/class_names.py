"""The classes and functions that an option takes, for advice about a wrong name."""

import importlib
import inspect
import re
from collections.abc import Iterable
from typing import Any, get_args

from lattgnn.errors import suggestion

# How jsonargparse says that a name is wrong; the group is the name as far as it is given.
_WRONG_NAMES = (
    r"Expected a dot import path string: ([\w.]+)",
    r"Import path ([\w.]*) ?does not correspond to a subclass of",
    r"Expected '([\w.]+)' to be a (?:subclass of|function that returns)",
)


def kind_of(actions: Iterable[Any], message: str) -> type | None:
    """The class of lattgnn whose subclasses the option takes that an error is about.

    Args:
        actions: The actions of a parser of jsonargparse.
        message: An error of that parser.

    Returns:
        The class, or None if the option takes others or is nested in another one.
    """
    keys = re.findall(r'Parser key "([^"]*)"', message)
    if len(keys) != 1:
        return None
    for action in actions:
        if action.dest == keys[0]:
            return _base(getattr(action, "_typehint", None))
    return None


def advice(message: str, kind: type) -> str | None:
    """Which name was probably meant, of the classes of one kind.

    Args:
        message: An error of jsonargparse in one line.
        kind: The class whose subclasses the option takes.

    Returns:
        A sentence; None if the error is not about such a name, or nothing is known.
    """
    home = _home(kind)
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        module, name = match.groups()
        if names := names_of_kind(module, kind):
            return suggestion(name, names)
    else:
        found = [re.search(pattern, message) for pattern in _WRONG_NAMES]
        matches = [match for match in found if match]
        if not matches:
            return None
        name = matches[0][1].rpartition(".")[2]
    names = names_of_kind(home, kind)
    text = suggestion(name, names)
    if text.startswith("Did you mean"):
        return text.replace("'", f"'{home}.", 1)
    return f"Use one of {', '.join(names)} of {home}." if names else None


def names_of_kind(module_path: str, kind: type) -> list[str]:
    """The public classes of a module that are subclasses of one, and functions that return one.

    Args:
        module_path: The module.
        kind: The class; it is one of the names unless it is abstract.

    Returns:
        Names in alphabetical order.
    """
    module = importlib.import_module(module_path)
    return [name for name in public_names(module_path) if _is_kind(getattr(module, name), kind)]


def public_names(module_path: str) -> list[str]:
    """The names that a module exports, or the public ones that it defines.

    Args:
        module_path: The module.

    Returns:
        Names in alphabetical order.
    """
    module = importlib.import_module(module_path)
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    names = []
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            names.append(name)
    return sorted(names)


def _base(annotation: Any) -> type | None:
    """The class of lattgnn in the type of an option: alone, returned by a callable, or optional."""
    if inspect.isclass(annotation):
        return annotation if annotation.__module__.startswith("lattgnn.") else None
    # Of Callable[[Lattice], Hamiltonian] only the last argument counts; the first is a list.
    for part in reversed(get_args(annotation)):
        base = None if isinstance(part, list) else _base(part)
        if base is not None:
            return base
    return None


def _home(kind: type) -> str:
    """The package that exports the classes of a kind, such as lattgnn.solvers."""
    return ".".join(kind.__module__.split(".")[:2])


def _is_kind(value: Any, kind: type) -> bool:
    if inspect.isclass(value):
        return issubclass(value, kind) and not inspect.isabstract(value)
    if not inspect.isfunction(value):
        return False
    returned = inspect.signature(value).return_annotation
    if isinstance(returned, str):  # where the module has `from __future__ import annotations`
        returned = value.__globals__.get(returned)
    return inspect.isclass(returned) and issubclass(returned, kind)
