"""Objects as plain data: how a checkpoint, a dataset and a run say what they were made of.

An object is `{"class_path": "lattgnn.hamiltonians.Holstein", "init_args": {"g": 3.5, ...}}`, the dialect of
the YAML files. What can be described is a frozen dataclass, or anything with a mapping `hyperparameters`.
Nothing is pickled, so a stranger's file brings no code along.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import platform
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from lattgnn import __version__
from lattgnn.errors import InputError

T = TypeVar("T")

PACKAGES = (
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
    """An object in plain JSON types, from which `build` makes an equal one.

    Args:
        obj: A plain value, sequence or mapping; a dataclass (fields with `metadata={"describe": False}` are
            left out); or an object with a mapping `hyperparameters`. All of these may be nested.

    Returns:
        {"class_path": ..., "init_args": {...}} for objects, plain values as they are, fractions and paths as
        text.

    Raises:
        TypeError: If something in it is none of these.
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
        return _spec(obj, obj.hyperparameters)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        fields = [
            f.name for f in dataclasses.fields(obj) if f.init and f.metadata.get("describe", True)
        ]
        return _spec(obj, {name: getattr(obj, name) for name in fields})
    if callable(plain := getattr(obj, "tolist", None)):  # numbers and arrays of numpy and torch
        return plain()
    raise TypeError(
        "only plain values, dataclasses and objects with hyperparameters can be described,"
        f" got {type(obj).__name__}. Make it a dataclass, or give its field metadata={{'describe': False}}."
    )


def build(spec: Any, base: type[T], *args: Any, **extra: Any) -> T:
    """Make the object that a description names.

    Args:
        spec: {"class_path": "package.module.Name", "init_args": {...}}; nested descriptions are built first,
            and must come from the package of the class that holds them, or from lattgnn. Sequences are passed
            as tuples, so that a frozen dataclass comes out equal and hashable.
        base: What the object has to be. The path may also name a function that returns such an object.
        *args: Leading positional arguments that the description leaves out, such as a lattice.
        **extra: Further keyword arguments; they win over `init_args`.

    Returns:
        The object.

    Raises:
        ValueError: In one line, if the path cannot be imported, is not a `base`, or does not take these
            arguments.
    """
    path, init_args = _checked(spec)
    factory = _import(path)
    made = factory if isinstance(factory, type) else get_type_hints(factory).get("return")
    if not (isinstance(made, type) and issubclass(made, base)):
        raise InputError(
            f"class_path must name a {base.__name__}, got {path!r}. Use a subclass of {_public_path(base)}."
        )
    packages = {"lattgnn", path.partition(".")[0]}
    kwargs = {key: _build_nested(value, packages) for key, value in init_args.items()} | extra
    _check_arguments(path, factory, args, kwargs)
    return factory(*args, **kwargs)


def config_hash(config: Mapping[str, Any], length: int = 12) -> str:
    """Hash of a configuration by value: the order of keys and 1 against 1.0 make no difference.

    Args:
        config: Anything `describe` accepts.
        length: Hexadecimal digits to return, at most 64.

    Raises:
        ValueError: If a number in it is not finite.
    """
    text = json.dumps(
        _canonical(describe(config)), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def versions() -> dict[str, str]:
    """Versions of lattgnn, Python and the packages that numbers depend on, without importing them."""
    found = {"lattgnn": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _spec(obj: Any, init_args: Mapping[str, Any]) -> dict[str, Any]:
    return {"class_path": _public_path(type(obj)), "init_args": describe(dict(init_args))}


def _public_path(cls: type) -> str:
    """Shortest import path of a class: it stays valid when a module moves inside its package."""
    parts = cls.__module__.split(".")
    for n in range(1, len(parts)):
        module = sys.modules.get(".".join(parts[:n]))
        if module is not None and getattr(module, cls.__name__, None) is cls:
            return f"{module.__name__}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _checked(spec: Any) -> tuple[str, Mapping[str, Any]]:
    """The path and arguments of a description."""
    if isinstance(spec, Mapping) and isinstance(spec.get("class_path"), str):
        init_args = spec.get("init_args")
        init_args = {} if init_args is None else init_args
        if isinstance(init_args, Mapping) and set(spec) <= {"class_path", "init_args"}:
            return spec["class_path"], init_args
    raise InputError(
        f"a description must be a mapping with class_path and init_args, got {spec!r}."
        " Use {'class_path': 'package.Name', 'init_args': {...}}."
    )


def _import(path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"class_path must name something that can be imported, got {path!r} ({error})."
            " Use package.module.Name, and install the package."
        ) from None
    if not callable(found):
        raise InputError(
            f"class_path must name a class, got {path!r}, a {type(found).__name__}. Use its class."
        )
    return found


def _build_nested(value: Any, packages: set[str]) -> Any:
    if isinstance(value, Mapping):
        if "class_path" not in value:
            return {key: _build_nested(item, packages) for key, item in value.items()}
        path, _ = _checked(value)
        if path.partition(".")[0] not in packages:
            raise InputError(
                f"a nested class must come from one of the packages {sorted(packages)}, got {path!r}."
                " Use a class of the package that holds it."
            )
        found = _import(path)
        if not (
            isinstance(found, type)
            and (dataclasses.is_dataclass(found) or hasattr(found, "hyperparameters"))
        ):
            raise InputError(
                f"a nested class must be a dataclass or have hyperparameters, got {path!r}, which could do"
                " anything. Use a class that `describe` can describe."
            )
        return build(value, found)
    if isinstance(value, tuple | list):
        return tuple(_build_nested(item, packages) for item in value)
    return value


def _check_arguments(
    path: str, factory: Callable[..., Any], args: tuple, kwargs: Mapping[str, Any]
) -> None:
    try:
        signature = inspect.signature(factory)
    except ValueError:  # classes written in C have none
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        known = list(signature.parameters)
        wrong = [key for key in kwargs if key not in known]
        close = difflib.get_close_matches(wrong[0], known, 1) if wrong else []
        advice = f"Did you mean {close[0]!r}?" if close else f"Use {', '.join(known)}."
        raise InputError(f"init_args must be arguments of {path}: {error}. {advice}") from None


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    return [_canonical(item) for item in value] if isinstance(value, list) else value
