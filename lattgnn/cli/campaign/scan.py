"""The points of a campaign: which values the scanned parameters take together."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lattgnn.errors import InputError, suggestion

Grid = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """One point of a scan.

    Attributes:
        values: Value of each parameter, by name, in the order of the parameters.
        labels: The same as numbers or short texts, for names of folders and for axes.
    """

    values: Mapping[str, Any]
    labels: Mapping[str, float | str]

    def name(self, parameters: Sequence[str]) -> str:
        """Text such as "g=3.5,kT=0.1" of some of the parameters.

        Args:
            parameters: Names; those that this point does not have are left out.
        """
        shown = [name for name in self.labels if name in parameters]
        return ",".join(f"{name}={_text(self.labels[name])}" for name in shown)


def read_parameters(
    parameters: Mapping[str, Any] | None, grids: Sequence[Grid], where: str = "scan"
) -> dict[str, list[str]]:
    """The options that each scanned parameter sets; parameters without values are left out.

    Args:
        parameters: Option, or list of options, by the name of the parameter.
        grids: The grids. A key that is not the name of a parameter is itself a dotted option, whose
            last part becomes the name.
        where: The key of the configuration that has the grids, for messages.

    Returns:
        Lists of options by name.

    Raises:
        InputError: If a name cannot be a name of an array, or is not known.
    """
    found: dict[str, list[str]] = {}
    for name, options in (parameters or {}).items():
        found[name] = [options] if isinstance(options, str) else list(options)
    used = [short_name(key) for key in _keys(grids)]
    for key in _keys(grids):
        name = short_name(key)
        if key in found:
            continue
        if "." not in key:
            raise InputError(
                f"{where}: {key!r} must be a parameter or a dotted option of a stage, such as "
                f"simulate.integrator.init_args.kT. {suggestion(key, found)}"
            )
        if name in found and found[name] != [key]:
            raise InputError(
                f"{where}: {key!r} and {found[name][0]!r} would both be called {name!r}. Name them "
                f"under `parameters`, such as my_{name}: {key}."
            )
        found[name] = [key]
    for name in found:
        if not re.fullmatch(r"[A-Za-z]\w*", name) or name in ("seed", "time", "replica"):
            raise InputError(
                f"parameters: a name must consist of letters, digits and underscores and be none "
                f"of seed, time and replica, got {name!r}. Use another name."
            )
    return {name: options for name, options in found.items() if name in used}


def points(grids: Sequence[Grid], order: Sequence[str]) -> list[Point]:
    """The points of all grids, each once.

    The points of one grid are the product of its values. A key such as "g, kT" has pairs of values,
    which go together.

    Args:
        grids: The grids.
        order: Names of the parameters.

    Returns:
        The points; one without parameters if there is no grid.

    Raises:
        InputError: If a grid has no values, or its pairs have other lengths than their key.
    """
    found: dict[str, Point] = {}
    for grid in grids or [{}]:
        axes = [axis(key, values) for key, values in grid.items()]
        for combination in itertools.product(*axes):
            entries: dict[str, tuple[Any, float | str]] = {}
            for part in combination:
                entries |= part
            known = [name for name in order if name in entries]
            point = Point(
                {name: entries[name][0] for name in known},
                {name: entries[name][1] for name in known},
            )
            found.setdefault(point.name(order), point)
    return list(found.values())


def axis(key: str, values: Any, where: str = "scan") -> list[dict[str, tuple[Any, float | str]]]:
    """What one key of a grid sets: for each of its values, value and label by name.

    Args:
        key: A parameter or dotted option, or several that go together.
        values: A list of values, or a mapping of names to values.
        where: The key of the configuration that has the grid, for messages.

    Raises:
        InputError: If there is no list of values, it is empty, or a value comes twice.
    """
    if values in ([], {}):
        raise InputError(
            f"{where}: {key} must have at least one value, got {values!r}. Add a value, or leave "
            f"out {key}."
        )
    if not isinstance(values, list | dict):
        raise InputError(
            f"{where}: {key} must have a list of values, got {values!r}. Use [{values}]."
        )
    names = [short_name(part) for part in _split(key)]
    if len(names) == 1:
        pairs = values.items() if isinstance(values, dict) else [(label(v), v) for v in values]
        found = [{names[0]: (value, name)} for name, value in pairs]
    else:
        found = []
        for row in values:
            if not isinstance(row, list) or len(row) != len(names):
                raise InputError(
                    f"{where}: {key!r} must have lists of {len(names)} values each, got {row!r}."
                )
            found.append({n: (value, label(value)) for n, value in zip(names, row, strict=True)})
    shown = [tuple(name for _, name in entry.values()) for entry in found]
    if len(set(map(str, shown))) < len(shown):
        raise InputError(f"{where}: {key} has a value twice, got {values!r}. Remove one of them.")
    return found


def label(value: Any) -> float | str:
    """A value as a number or a short text.

    Args:
        value: A number, a text, or a list of numbers.

    Raises:
        InputError: If it is something else, which needs a name.
    """
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list) and all(isinstance(x, int | float) for x in value):
        return "x".join(f"{x:g}" for x in value)
    if isinstance(value, str):
        return value
    raise InputError(
        f"scan: a value that is a mapping must have a name, got {value!r}. Use a mapping of names "
        "to values, such as forces: {exact: {...}, learned: {...}}."
    )


def _text(short: float | str) -> str:
    """A label as part of a file name."""
    text = f"{short:.10g}" if isinstance(short, float) else str(short)
    return re.sub(r"[^\w.+-]+", "_", text)


def _keys(grids: Sequence[Grid]) -> list[str]:
    """The keys of all grids, each part of a joined key by itself."""
    found = []
    for grid in grids:
        for key in grid:
            found += _split(key)
    return found


def _split(key: str) -> list[str]:
    return [part.strip() for part in str(key).split(",")]


def short_name(key: str) -> str:
    """The name of a parameter that is given as a dotted option: its last part.

    Args:
        key: The option.
    """
    return key.rpartition(".")[2]
