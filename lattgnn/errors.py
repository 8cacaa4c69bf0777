"""Errors that the caller can fix, kept apart from errors of the program.

The command line prints an `InputError` as one line. Any other exception keeps its traceback,
because it is a bug, in lattgnn or in a class of the user.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from numbers import Real


class InputError(ValueError):
    """An argument, a file or a configuration is wrong; the message says how to fix it."""


class InputTypeError(InputError, TypeError):
    """An argument has the wrong type; the message says how to fix it."""


class MissingExtraError(InputError, ImportError):
    """An optional package is not installed; the message names the extra that provides it."""


class StoppedRunError(ArithmeticError):
    """A run had to stop, although its input is valid and the program works: a field diverged."""


@contextmanager
def errors_about(subject: str) -> Iterator[None]:
    """Begin the message of an `InputError` raised inside with what it is about.

    Args:
        subject: Such as "the bonds of OrbitNetwork".
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{subject}: {error}") from None


def check_number(
    name: str, value: object, minimum: float = -math.inf, maximum: float = math.inf
) -> None:
    """Refuse a value that is not a finite number within limits.

    Args:
        name: Name of the argument, for the message.
        value: Its value.
        minimum: Smallest allowed value.
        maximum: Largest allowed value.

    Raises:
        InputError: If the value is not a finite number, or beyond a limit.
    """
    # Numbers of numpy are of type Real; bool is too, but True is not a physical quantity.
    if isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):  # an integer beyond all floats
            if math.isfinite(value) and minimum <= float(value) <= maximum:
                return
    limits = f" >= {minimum:g}" if minimum > -math.inf else ""
    limits += f"{' and' if limits else ''} <= {maximum:g}" if maximum < math.inf else ""
    raise InputError(f"{name} must be a finite number{limits}, got {value!r}.")


def one_line(text: object) -> str:
    """The text without line breaks and repeated spaces."""
    return " ".join(str(text).split())


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """A sentence that tells the user which name was probably meant.

    Upper and lower case are treated as equal when names are compared.

    Args:
        wrong: The name that was given.
        known: The names that exist.

    Returns:
        "Did you mean 'x'?", or the list of all names if none is close, or "" if there are none.
    """
    # Of names that differ in case alone the first is kept.
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(name.lower(), name)
    close = get_close_matches(wrong.lower(), names, n=1)
    if close:
        return f"Did you mean {names[close[0]]!r}?"
    return f"Use one of {', '.join(names.values())}." if names else ""
