"""The command line: `lattgnn VERB ...`. Nothing heavy is imported before the verb is known."""

import importlib
import io
import os
import signal
import sys
import warnings

from lattgnn import __version__
from lattgnn.cli.messages import (
    Arguments,
    bug_report,
    debugging,
    is_out_of_memory,
    out_of_memory,
    print_warning,
)
from lattgnn.errors import InputError, StoppedRunError, one_line, suggestion
from lattgnn.signals import StoppedBySignal, exit_codes_of_signals

# verb -> (function that takes [verb, *arguments], what the verb does)
_VERBS = {
    "quickstart": (
        "lattgnn.cli.quickstart:main",
        "a complete example in minutes: data, fit, quench, report",
    ),
    "check": (
        "lattgnn.cli.check_verb:main",
        "check a Hamiltonian and its lattice before labels are made",
    ),
    "generate": (
        "lattgnn.cli.physics_verbs:generate_verb",
        "make a dataset of fields and their exact forces",
    ),
    "fit": ("lattgnn.cli.trainer_verbs:main", "train a force field on a dataset"),
    "validate": (
        "lattgnn.cli.trainer_verbs:main",
        "evaluate a checkpoint on the validation data",
    ),
    "test": ("lattgnn.cli.trainer_verbs:main", "evaluate a checkpoint on the test data"),
    "predict": (
        "lattgnn.cli.trainer_verbs:main",
        "write the forces that a checkpoint predicts for the test data",
    ),
    "compare": ("lattgnn.cli.compare_verb:main", "compare fits: a table and their curves"),
    "simulate": (
        "lattgnn.cli.simulate_verb:main",
        "run dynamics of fields or spins with an exact or a learned force field",
    ),
    "analyze": (
        "lattgnn.cli.physics_verbs:analyze_verb",
        "report order, structure factor and coarsening of a simulation",
    ),
    "campaign": (
        "lattgnn.cli.campaign.verb:main",
        "run a grid of simulations, fits or whole chains on many processes",
    ),
    "audit": (
        "lattgnn.cli.audit_verb:main",
        "measure how wrong the forces of a simulation are",
    ),
    "export": (
        "lattgnn.cli.physics_verbs:export_verb",
        "write a force field for use without lattgnn, for example from C++",
    ),
    "lattice": (
        "lattgnn.cli.lattice_verb:main",
        "show the symmetries and the bond orbits of a lattice",
    ),
    "doctor": (
        "lattgnn.cli.doctor:main",
        "show what is installed and which hardware would be used",
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb.

    Errors in the input are printed as one line. Any other exception is a bug: its traceback is
    printed, with a line that says how to report it. With LATTGNN_DEBUG=1 every exception is raised.

    Args:
        argv: The verb and its arguments. Default: those of the process.

    Returns:
        The exit code: 0 for success, 1 for a run that failed, 2 for an error in the input, 128 plus
        the number of the signal that stopped it (130 after Ctrl-C, 143 after SIGTERM).
    """
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the locale may have no μ
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else 2
    verb, *rest = argv
    if verb in ("-V", "--version"):
        print(f"lattgnn {__version__}")
        return 0
    if verb not in _VERBS:
        return _fail("lattgnn", f"there is no verb {verb!r}. {suggestion(verb, _VERBS)}", 2)
    # Restores what is changed here when `main` is called from Python.
    with warnings.catch_warnings():
        if not sys.warnoptions:  # python -W and PYTHONWARNINGS have priority
            warnings.showwarning = print_warning
        # Messages belong to the block: a signal must not end the process before they are printed.
        with exit_codes_of_signals():
            return _run(verb, rest)


def _run(verb: str, arguments: list[str]) -> int:
    """Import and call the function of a verb; the exit code as in `main`."""
    module, function = _VERBS[verb][0].split(":")
    try:
        others = import_own_modules(arguments)
        call = Arguments([verb, *others], typed=[verb, *arguments])
        getattr(importlib.import_module(module), function)(call)
    except KeyboardInterrupt:
        return 130
    except StoppedBySignal as stop:
        if not stop.told:
            text = f"stopped by {signal.Signals(stop.number).name}. What is complete is kept"
            print(f"lattgnn {verb}: {text}; repeat the command to continue.", file=sys.stderr)
        return 128 + stop.number
    except Exception as error:
        if debugging():
            raise
        if isinstance(error, InputError | OSError | StoppedRunError):
            # The input of a run that diverged is valid, hence the other exit code.
            code = 1 if isinstance(error, StoppedRunError) else 2
            return _fail(f"lattgnn {verb}", one_line(error) or type(error).__name__, code)
        if is_out_of_memory(error):
            return _fail(f"lattgnn {verb}", out_of_memory(error), 2)
        print(bug_report(verb, error), file=sys.stderr)
        return 1
    return 0


def import_own_modules(arguments: list[str]) -> list[str]:
    """Import the modules of --import and --trust, and return the other arguments.

    They are imported before the options are parsed, so that configurations and files may name their
    classes.

    Args:
        arguments: Arguments of a verb.

    Raises:
        InputError: If one cannot be imported.
    """
    others, names = [], []
    remaining = iter(arguments)
    for argument in remaining:
        option, has_value, value = argument.partition("=")
        if option in ("--import", "--trust"):
            names.append((option, value if has_value else next(remaining, "")))
        else:
            others.append(argument)
    for option, name in names:
        if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
            raise InputError(
                f"{option} must name a module, such as my_models for the file my_models.py, got "
                f"{name!r}."
            )
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # last, so that it hides no other module
        try:
            importlib.import_module(name)
        except (ImportError, SyntaxError) as error:  # any other exception is a bug in the module
            raise InputError(
                f"{option} {name}: {error}. A module is looked for in the working directory, in the"
                " folders of PYTHONPATH and among the installed packages."
            ) from error
    return others


def _help() -> str:
    verbs = "\n".join(f"  {verb:<11} {what}" for verb, (_, what) in _VERBS.items())
    return (
        "usage: lattgnn VERB [--config FILE] [--KEY VALUE ...]\n\n"
        f"Exact and learned force fields for electrons on lattices.\n\n{verbs}\n\n"
        "`lattgnn VERB --help` lists the options of a verb. Of several config files, later ones "
        "override\n"
        "earlier ones, and the command line overrides all. LATTGNN_DEBUG=1 shows the traceback of "
        "any error.\n\n"
        "  --import MODULE   with any verb: import your module first, also from the working "
        "directory,\n"
        "                    so that configurations and files may name its classes\n"
        "  --trust MODULE    the same, for a module that a file of someone else names"
    )


def _fail(prog: str, message: str, code: int) -> int:
    print(f"{prog}: error: {message}", file=sys.stderr)
    return code
