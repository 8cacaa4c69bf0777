"""What the command line prints on stderr when something goes wrong. Imports nothing heavy."""

import importlib.metadata
import os
import re
import site
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TextIO

from lattgnn.errors import one_line

PACKAGE = Path(__file__).resolve().parents[1]


class Arguments(list[str]):
    """A verb and its arguments without --import and --trust.

    Args:
        parsed: The verb and the arguments that it parses.
        typed: All that was typed after the program's name, to be recorded with a run.
    """

    def __init__(self, parsed: list[str], typed: list[str]) -> None:
        super().__init__(parsed)
        self.typed = typed


def debugging() -> bool:
    """Whether every error keeps its traceback: LATTGNN_DEBUG is set, and not to 0."""
    return os.environ.get("LATTGNN_DEBUG", "0") not in ("", "0")


def bug_report(verb: str, error: Exception) -> str:
    """The traceback of a bug, and a last line that says how to report it.

    Args:
        verb: The verb that was running.
        error: An exception that is not the user's to avoid by another input.

    Returns:
        Text of several lines.
    """
    lines = "".join(traceback.format_exception(error))
    report = (
        f"please report it {_issue_tracker()}, with the traceback and the output of `lattgnn "
        f"doctor`."
    )
    place = _own_place(error)
    if place is None:
        return f"{lines}lattgnn {verb}: this is a bug in lattgnn; {report}"
    return (
        f"{lines}lattgnn {verb}: this is a bug in lattgnn or in a class of your own. Your code was "
        f"running at {place}. If the bug is in lattgnn, {report}"
    )


def _own_place(error: BaseException) -> str | None:
    """File, line and function of the innermost code of the user behind an exception, or None."""
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not file.startswith("<") and not _is_installed(file):
            place = f"{file}, line {line}, in {frame.f_code.co_name}"
    return place


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of Python, numpy or torch says that there is not enough memory."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("can't allocate memory" in text or "out of memory" in text)
    )


def out_of_memory(error: Exception) -> str:
    """One line about an array that is too large for the memory.

    Args:
        error: An exception for which `is_out_of_memory` is true.

    Returns:
        How much was needed and how much there is, and what to do.
    """
    import psutil

    free = psutil.virtual_memory().available / 1e9
    found = re.search(r"allocate (\d+) bytes", str(error))
    needed = f"one array of {int(found[1]) / 1e9:.1f} GB was needed" if found else one_line(error)
    return (
        f"not enough memory: {needed}, and {free:.1f} GB are free. Use a smaller lattice, fewer "
        "replicas or smaller batches."
    )


def print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line; the arguments are those of `warnings.showwarning`.

    Deprecations inside lattgnn and installed packages are not printed, because a user cannot act on
    them. Those in a user's own modules are.
    """
    deprecated = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
    if issubclass(category, deprecated) and _is_installed(filename):
        return
    stream = sys.stderr if file is None else file
    place = "" if _is_installed(filename) else f" ({filename}, line {lineno})"
    print(f"lattgnn: warning: {one_line(message)}{place}", file=stream)


def _is_installed(filename: str) -> bool:
    """Whether a source file belongs to lattgnn, the standard library or an installed package."""
    folders = {PACKAGE, *map(Path, site.getsitepackages())}
    folders |= {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
    path = Path(filename).resolve()
    return any(path.is_relative_to(folder.resolve()) for folder in folders)


def _issue_tracker() -> str:
    """Where bugs are reported, from the metadata of the installed package."""
    try:
        urls = importlib.metadata.metadata("lattgnn").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        urls = []
    for entry in urls:
        name, _, url = entry.partition(", ")
        if "issue" in name.lower() or "bug" in name.lower():
            return f"at {url}"
    return "to its authors"
