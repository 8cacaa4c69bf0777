"""Errors that the caller can mend, told apart from errors of the program.

The command line prints an `InputError` as one line. Every other exception keeps its traceback, because
it is a bug, in lattgnn or in a class of the user.
"""


class InputError(ValueError):
    """An argument, a file or a configuration is wrong; the message says what to do about it."""


class InputTypeError(InputError, TypeError):
    """An argument has the wrong type; the message says what to do about it."""


class MissingExtraError(InputError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""
