"""YAML as the command line reads it: UTF-8 in every locale, no key twice, no bombs of aliases.

jsonargparse opens files in the encoding of the locale, takes the last of two equal keys, and
expands aliases without a limit. `install` puts checks before its YAML loader.
"""

import locale
import pathlib
from contextlib import suppress
from typing import Any

import yaml
from jsonargparse import Path, get_loader, set_loader

# Configurations have some hundred values. Ten lines with aliases of aliases can have a billion.
_MAX_VALUES = 100_000


_load = get_loader("yaml")
_read_in_locale = Path.read_text


def install() -> None:
    """Check all YAML that the parsers of jsonargparse read from now on."""
    set_loader("yaml", checked_load, (yaml.YAMLError,))
    # jsonargparse has no option for the encoding.
    Path.read_text = read_text  # pyright: ignore[reportAttributeAccessIssue]


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in the encoding of the user's locale if it is not UTF-8.

    Args:
        path: A path of jsonargparse.

    Returns:
        The text.

    Raises:
        TypeError: If it is neither; jsonargparse reports this exception.
    """
    file = pathlib.Path(path)
    if not file.is_file():
        return _read_in_locale(path)  # standard input
    content = file.read_bytes()
    for encoding in ("utf-8-sig", locale.getpreferredencoding(False)):
        with suppress(UnicodeDecodeError):
            return content.decode(encoding)
    raise TypeError(f"{path} must be a text in UTF-8. Save it with that encoding.")


def checked_load(text: str) -> Any:
    """Load YAML.

    Args:
        text: Contents of a file, or a value of the command line.

    Returns:
        The value.

    Raises:
        yaml.YAMLError: If it is no YAML, or has a key twice, or too many aliases.
    """
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if root is not None:
            _count(root, {})
        return _load(text)
    except RecursionError:
        raise yaml.YAMLError("YAML that is nested too deeply") from None


def _count(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Number of values that a node stands for, with each alias counted as what it repeats."""
    if id(node) in sizes:
        size = sizes[id(node)]
        if size is None:
            raise _problem("an alias that contains itself", node)
        return size
    sizes[id(node)] = None  # until its children are counted
    total = 1
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            total += _count(child, sizes)
    elif isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            name = (key.tag, str(key.value))
            if name in keys and isinstance(key, yaml.ScalarNode):
                raise _problem(f"the key {key.value!r} twice; remove one of them", key)
            keys.add(name)
            total += _count(key, sizes) + _count(value, sizes)
    if total > _MAX_VALUES:
        raise _problem(f"more than {_MAX_VALUES} values, by aliases of aliases", node)
    sizes[id(node)] = total
    return total


def _problem(text: str, node: yaml.Node) -> yaml.YAMLError:
    mark = node.start_mark
    return yaml.YAMLError(f"YAML with {text} (line {mark.line + 1}, column {mark.column + 1})")
