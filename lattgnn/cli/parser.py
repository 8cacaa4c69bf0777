"""Argument errors in one line, the same for every verb, LightningCLI's included.

jsonargparse answers a wrong key with a usage, a tip and a tree. People and scripts want one line that
says which key is wrong and what was meant.
"""

import difflib
import importlib
import inspect
import os
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

_FOLD = (  # what jsonargparse says -> what is said here
    (r'Parser key "([^"]*)"( element \d+)?:', r"\1\2:"),
    (r"Problem with given class_path '([^']*)':", r"\1:"),
    (r"Type \S+\[.*?\] expects a function or a callable class: ", ""),
    (r" - Expected a (<class 'NoneType'>|path but \S+ either not accessible or invalid)", ""),
    (r"Does not validate against any of the Union subtypes Subtypes: \[.*?\] Errors: - ", ""),
    (r" Given value type: <class '[\w.]+'> Given value:", ". Got value:"),
    (r"\.? Got value: (Namespace\(|NestedArg\(|\{).*$", ""),
    (r"[Ee]xpected a <class '([\w.]+)'>", r"expected \1"),
    (r": - ", ": "),
    (r" - ", " or "),
)


def debugging() -> bool:
    """Whether errors keep their traceback: the environment variable LATTGNN_DEBUG is set, and not to 0."""
    return os.environ.get("LATTGNN_DEBUG", "0") not in ("", "0")


def one_line(text: object) -> str:
    """``text`` without line breaks."""
    return " ".join(str(text).split())


class OneLineErrors:
    """Mixin for jsonargparse parsers: an error is one line on stderr and exit code 2.

    With LATTGNN_DEBUG=1 the original exception is raised instead.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # --n_step is a mistake, not short for --n_steps
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self: Any, message: str, ex: Exception | None = None) -> NoReturn:
        """Report ``message`` and the likeliest correction, then exit with code 2."""
        if not self.exit_on_error:  # an inner parser: the outer one catches this and reports
            super().error(message, ex)  # type: ignore[misc]
        if debugging():
            raise ex if ex is not None else ValueError(message)
        parser = getattr(ex, "subcommand_parser", None) or self
        known = [
            name for action in parser._actions for name in (action.dest, *action.option_strings)
        ]
        prog = parser.prog.replace(" [options]", "")
        self.exit(2, f"{prog}: error: {explain(message, known)}\n")
        raise AssertionError("exit returned")


class Parser(OneLineErrors, ArgumentParser):
    """The parser of the verbs that are not trainer verbs."""


def explain(message: str, known: Iterable[str] = ()) -> str:
    """Fold an error of jsonargparse into one line and add what was probably meant.

    Args:
        message: The error as jsonargparse words it.
        known: Names of the options and keys of the parser, for a correction.

    Returns:
        One line: where, what, and a correction.
    """
    message = one_line(message)
    text = message
    for pattern, replacement in _FOLD:
        text = re.sub(pattern, replacement, text)
    return text.strip() + _correction(message, list(known))


def _correction(message: str, known: list[str]) -> str:
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        module = importlib.import_module(match[1])
        public = getattr(
            module, "__all__", [name for name in dir(module) if not name.startswith("_")]
        )
        return _meant(match[2], public)
    if match := re.search(r"unrecognized arguments: (--[\w.]+)", message):
        return _meant(match[1], [name for name in known if name.startswith("--")])
    if match := re.search(r"Option '([\w.]+)' is not accepted", message):
        return _meant(match[1], _parameters(message) or [name for name in known if name[:1] != "-"])
    return ""


def _parameters(message: str) -> list[str]:
    """Arguments of the class that the error is about, if it names one."""
    paths = re.findall(r"class_path[ =]'([\w.]+)'", message)
    if not paths:
        return []
    module, _, name = paths[-1].rpartition(".")
    return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)


def _meant(wrong: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(wrong, names, n=1)
    if close:
        return f". Did you mean {close[0]!r}?"
    return f". Known: {', '.join(sorted(names))}." if names else ""
