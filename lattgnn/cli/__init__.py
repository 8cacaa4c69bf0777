"""The command line: `lattgnn VERB ...`. Nothing heavy is imported before the verb is known."""

import importlib
import sys

from lattgnn import __version__
from lattgnn.errors import InputError

# verb -> (function that takes [verb, *arguments], what it does)
_VERBS = {
    "quickstart": (
        "lattgnn.cli.quickstart:main",
        "the whole road in minutes: data, fit, quench, report",
    ),
    "generate": ("lattgnn.cli.physics_verbs:generate_verb", "make a dataset of exact forces"),
    "fit": ("lattgnn.cli.trainer_verbs:main", "train a force field on a dataset"),
    "validate": (
        "lattgnn.cli.trainer_verbs:main",
        "evaluate a checkpoint on the validation trajectories",
    ),
    "test": ("lattgnn.cli.trainer_verbs:main", "evaluate a checkpoint on the test trajectories"),
    "predict": ("lattgnn.cli.trainer_verbs:main", "write the forces that a checkpoint predicts"),
    "simulate": (
        "lattgnn.cli.physics_verbs:simulate_verb",
        "dynamics of fields or spins with an exact or a learned force field",
    ),
    "analyze": (
        "lattgnn.cli.physics_verbs:analyze_verb",
        "order, structure factor and coarsening of a simulation",
    ),
    "export": (
        "lattgnn.cli.physics_verbs:export_verb",
        "write a force field for use without lattgnn, in C++ too",
    ),
    "lattice": ("lattgnn.cli.lattice_verb:main", "symmetries and orbits of bonds of a lattice"),
    "doctor": ("lattgnn.cli.doctor:main", "what is installed and what would run where"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: The verb and its arguments; those of the process by default.

    Returns:
        The exit code: 0, 2 for a mistake in the input, 1 for a run that failed; either told in one line.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else 2
    verb = argv[0]
    if verb in ("-V", "--version"):
        print(f"lattgnn {__version__}")
        return 0
    if verb not in _VERBS:
        return _fail("lattgnn", f"no verb {verb!r}{_nearest(verb)} `lattgnn --help` lists them.")
    module, function = _VERBS[verb][0].split(":")
    try:
        getattr(importlib.import_module(module), function)(list(argv))
    except (InputError, OSError, ArithmeticError) as error:
        from lattgnn.cli.parser import debugging, one_line

        if debugging():
            raise
        # a field that ran away stops a run, but nothing is wrong with the command
        code = 1 if isinstance(error, ArithmeticError) else 2
        return _fail(f"lattgnn {verb}", one_line(error) or type(error).__name__, code)
    except KeyboardInterrupt:
        return 130
    return 0


def _help() -> str:
    verbs = "\n".join(f"  {verb:<11} {what}" for verb, (_, what) in _VERBS.items())
    return (
        "usage: lattgnn VERB [--config FILE] [--KEY VALUE ...]\n\n"
        f"Learned and exact force fields for electrons on lattices.\n\n{verbs}\n\n"
        "`lattgnn VERB --help` lists the keys of a verb. Later configs win over earlier ones, the command\n"
        "line over all. LATTGNN_DEBUG=1 shows the traceback of an error."
    )


def _nearest(verb: str) -> str:
    import difflib

    close = difflib.get_close_matches(verb, _VERBS, n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def _fail(prog: str, message: str, code: int = 2) -> int:
    print(f"{prog}: error: {message}", file=sys.stderr)
    return code
