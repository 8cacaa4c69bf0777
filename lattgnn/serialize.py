"""Objects as plain data: how checkpoints, datasets and runs record what they were made from.

An object is described by {"class_path": "lattgnn.hamiltonians.Holstein", "init_args": {"g": 3.5,
...}}, as in the YAML files. A class can be described if it is a frozen dataclass or has a mapping
`hyperparameters`. Nothing is pickled, and `lattgnn.trust` says which modules a description may
import, so a file from a stranger cannot run code of its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import inspect
import json
import platform
import reprlib
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from lattgnn import __version__
from lattgnn.errors import InputError, InputTypeError, suggestion
from lattgnn.trust import import_object, surrounding_trust, trusting

T = TypeVar("T")

# The packages that numerical results may depend on; recorded with every result.
RECORDED_PACKAGES = (
    "torch",
    "torch-geometric",
    "torch-scatter",
    "lightning",
    "jsonargparse",
    "numpy",
    "scipy",
    "spglib",
    "zarr",
    "dask",
)


def describe(obj: Any) -> Any:
    """Describe an object in plain JSON types, from which `build` makes an equal object.

    Args:
        obj: A plain value, sequence or mapping; a dataclass, of which fields with
            `metadata={"describe": False}` are left out, and those with `metadata={"describe":
            "changed"}` if they have their default value; or an object with a mapping
            `hyperparameters`. They may be nested.

    Returns:
        {"class_path": ..., "init_args": {...}} for an object. Plain values are returned as they
        are, fractions and paths as text.

    Raises:
        InputTypeError: If `obj` or a part of it is none of these.
    """
    if obj is None or isinstance(obj, bool | int | float | str):
        return obj
    if isinstance(obj, Fraction | Path):
        return str(obj)
    if isinstance(obj, Mapping):
        return {str(key): describe(value) for key, value in obj.items()}
    if isinstance(obj, tuple | list):
        return [describe(value) for value in obj]
    if isinstance(getattr(obj, "hyperparameters", None), Mapping):
        return _class_description(obj, obj.hyperparameters)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        init_args = {}
        for field in dataclasses.fields(obj):
            value, wanted = getattr(obj, field.name), field.metadata.get("describe", True)
            if field.init and wanted and (wanted != "changed" or value != field.default):
                init_args[field.name] = value
        return _class_description(obj, init_args)
    to_list = getattr(obj, "tolist", None)  # numbers and arrays of numpy and torch have it
    if callable(to_list):
        return to_list()
    raise InputTypeError(
        f"an object of type {type(obj).__name__} cannot be described by class_path and init_args."
        " Make its class a dataclass, or give its field metadata={'describe': False}."
    )


def build(description: Any, base: type[T], *args: Any, **kwargs: Any) -> T:
    """Build the object that a description names.

    Nested descriptions are built first. Their classes must come from the package of the outer class
    or from lattgnn. A description counts as the contents of a file: `lattgnn.trust` says which
    modules it may import. Sequences are passed as tuples, so that a frozen dataclass comes out
    equal and hashable.

    Args:
        description: {"class_path": "package.module.Name", "init_args": {...}}. The path may also
            name a function that is annotated to return a `base`.
        base: The class that the object must be an instance of.
        *args: Positional arguments that the description leaves out, such as a lattice.
        **kwargs: Further keyword arguments; they override `init_args`.

    Returns:
        The object.

    Raises:
        InputError: If the path cannot be imported or is not trusted, does not give a `base`, or
            does not take these arguments.
    """
    path, init_args = _parse_description(description)
    with trusting(surrounding_trust()):
        factory = _import_callable(path)
        is_class = isinstance(factory, type)
        result_type = factory if is_class else get_type_hints(factory).get("return")
        if not (isinstance(result_type, type) and issubclass(result_type, base)):
            advice = f"Use a subclass of {_public_path(base)}"
            if not is_class and result_type is None:
                name = path.rpartition(".")[2]
                advice = f"Say what the function returns: def {name}(...) -> {base.__name__}"
            raise InputError(f"class_path must name a {base.__name__}, got {path!r}. {advice}.")
        packages = {"lattgnn", path.partition(".")[0]}
        arguments = {
            key: _build_value(value, packages) for key, value in init_args.items()
        } | kwargs
        _check_arguments(path, factory, args, arguments)
        return factory(*args, **arguments)


def config_hash(config: Mapping[str, Any], length: int = 12) -> str:
    """Hash a configuration by value: the order of keys and 1 or 1.0 make no difference.

    Args:
        config: Anything that `describe` accepts.
        length: Number of hexadecimal digits, at most 64.

    Returns:
        The first digits of the SHA-256 of the configuration as JSON.

    Raises:
        ValueError: If a number in it is not finite.
    """
    text = json.dumps(
        _whole_floats_as_integers(describe(config)),
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def config_differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """Find the entries in which two nested configurations differ; a missing entry equals None.

    Args:
        old: One configuration.
        new: The other one.

    Returns:
        {dotted name: (old value, new value)}, sorted by name at each level.
    """
    return dict(_differing_entries(old, new, ""))


def in_words(description: Mapping[str, Any]) -> str:
    """A described object as a message names it, such as "Holstein(t=1.0, g=3.5)".

    Args:
        description: What `describe` gives for an object.
    """
    arguments = ", ".join(f"{key}={value}" for key, value in description["init_args"].items())
    return f"{description['class_path'].rpartition('.')[2]}({arguments})"


def versions() -> dict[str, str]:
    """Look up the versions of lattgnn, Python and `RECORDED_PACKAGES` without importing them."""
    found = {"lattgnn": __version__, "python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _class_description(obj: Any, init_args: Mapping[str, Any]) -> dict[str, Any]:
    return {"class_path": _public_path(type(obj)), "init_args": describe(dict(init_args))}


def _public_path(cls: type) -> str:
    """Shortest import path of a class. It stays valid when a module moves within its package."""
    parts = cls.__module__.split(".")
    for n in range(1, len(parts)):
        module = sys.modules.get(".".join(parts[:n]))
        if module is not None and getattr(module, cls.__name__, None) is cls:
            return f"{module.__name__}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _parse_description(description: Any) -> tuple[str, Mapping[str, Any]]:
    """Split a description into its class_path and its init_args, which may be missing or None."""
    if isinstance(description, Mapping) and isinstance(description.get("class_path"), str):
        init_args = description.get("init_args")
        init_args = {} if init_args is None else init_args
        if isinstance(init_args, Mapping) and set(description) <= {"class_path", "init_args"}:
            return description["class_path"], init_args
    raise InputError(
        "a description must be a mapping with class_path and init_args, got "
        f"{reprlib.repr(description)}."
        " Use {'class_path': 'package.Name', 'init_args': {...}}."
    )


def _import_callable(path: str) -> Callable[..., Any]:
    try:
        found = import_object(path)
    except (ImportError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"class_path {path!r} cannot be imported ({error}). Use package.module.Name, and make "
            "sure that the package is installed or its directory is on PYTHONPATH."
        ) from error
    if not callable(found):
        raise InputError(
            f"class_path must name a class, got {path!r}, a {type(found).__name__}. Use its class."
        )
    return found


def _build_value(value: Any, packages: set[str]) -> Any:
    """Replace the descriptions inside a value of init_args by objects, and lists by tuples."""
    if isinstance(value, tuple | list):
        return tuple(_build_value(item, packages) for item in value)
    if not isinstance(value, Mapping):
        return value
    if "class_path" not in value:
        return {key: _build_value(item, packages) for key, item in value.items()}
    # A description may come from a stranger's file. Unlike the outer class, a nested one is not
    # compared with a base, so it is restricted to known packages and to classes that `describe`
    # could have written.
    path, _ = _parse_description(value)
    if path.partition(".")[0] not in packages:
        raise InputError(
            f"a nested class must come from one of the packages {sorted(packages)}, got {path!r}."
            " Use a class of the same package as the outer one."
        )
    cls = _import_callable(path)
    if not (
        isinstance(cls, type) and (dataclasses.is_dataclass(cls) or hasattr(cls, "hyperparameters"))
    ):
        raise InputError(
            f"a nested class must be a dataclass or have hyperparameters, got {path!r}."
            " Use a class that `describe` accepts."
        )
    return build(value, cls)


def _check_arguments(
    path: str, factory: Callable[..., Any], args: tuple, kwargs: Mapping[str, Any]
) -> None:
    """Refuse arguments that the signature does not accept, before anything is called."""
    try:
        signature = inspect.signature(factory)
    except ValueError:  # a class written in C may have no signature
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        known = list(signature.parameters)
        unknown = [key for key in kwargs if key not in known]
        advice = suggestion(unknown[0], known) if unknown else f"Use {', '.join(known)}."
        raise InputError(f"init_args must be arguments of {path}: {error}. {advice}") from error


def _whole_floats_as_integers(value: Any) -> Any:
    """1.0 becomes 1 everywhere, so that both have the same JSON text."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole_floats_as_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_floats_as_integers(item) for item in value]
    return value


def _differing_entries(old: Any, new: Any, name: str) -> list[tuple[str, tuple[Any, Any]]]:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return [] if old == new else [(name, (old, new))]
    found = []
    for key in sorted(old.keys() | new.keys()):
        path = f"{name}.{key}" if name else key
        found += _differing_entries(old.get(key), new.get(key), path)
    return found
