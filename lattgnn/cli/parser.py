"""Parsers whose errors are one line, for every verb, LightningCLI's included.

jsonargparse answers a wrong key with its usage, a tip and a tree of all the types it tried. The
parsers here say in one line which key is wrong and what was probably meant.
"""

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from lattgnn.cli.class_names import advice, kind_of, public_names
from lattgnn.cli.messages import debugging
from lattgnn.cli.yaml_files import install
from lattgnn.errors import InputError, one_line, suggestion
from lattgnn.serialize import describe

# Parts of jsonargparse's messages, and what replaces them.
_REPLACEMENTS = (
    (r'Parser key "([^"]*)"( element \d+)?:', r"\1\2:"),
    (r"Problem with given class_path '([^']*)':", r"\1:"),
    (r"Expected a dot import path string: ([\w.]+)", r"there is no class or function '\1'"),
    (r"Type \S+\[.*?\] expects a function or a callable class: ", ""),
    (r" - Expected a (<class 'NoneType'>|path but \S+ either not accessible or invalid)", ""),
    (r"Does not validate against any of the Union subtypes Subtypes: \[.*?\] Errors: - ", ""),
    (r" Given value type: <class '[\w.]+'> Given value:", ". Got value:"),
    (r"\.? Got value: (Namespace\(|NestedArg\(|\{).*$", ""),
    (r" (- )?Expected <class 'NoneType'>", ""),
    (r"[Ee]xpected (a )?<class '([\w.]+)'>", r"expected \2"),
    (r"Expected a typing\.Literal\[(.*?)\]", r"expected one of \1"),
    (r"Unexpected config:.*", "a configuration must be a YAML file with lines KEY: VALUE"),
    (r": - ", ": "),
    (r" - ", " or "),
    (r"(there is no class or function '([\w.]+)')\. Got value: \2$", r"\1"),
)

_NO_SUBCLASS = r"Import path ([\w.]+) does not correspond to .*? of (\w+)"


class _Annotated(Exception):
    """A function without a return annotation has got one, so the arguments are read again."""


class OneLineErrors:
    """Mixin for jsonargparse parsers: an error is one line on stderr and exit code 2.

    With LATTGNN_DEBUG=1 the original exception is raised instead.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        install()
        # Without this, argparse would take --n_step for --n_steps.
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse arguments. A function that makes a lattice need not say that it returns one.

        Args:
            *args: As for jsonargparse.
            **kwargs: As for jsonargparse.

        Returns:
            The configuration.
        """
        while True:  # ends because each time one more function has an annotation
            try:
                return super().parse_args(*args, **kwargs)  # type: ignore[misc]
            except _Annotated:
                continue

    def error(self: Any, message: str, ex: Exception | None = None) -> NoReturn:
        """Report an error with the likeliest correction, then exit with code 2.

        Args:
            message: The error as jsonargparse words it.
            ex: The exception behind it.
        """
        if not self.exit_on_error:  # an inner parser: the outer one catches this and reports it
            super().error(message, ex)  # type: ignore[misc]
        if _annotate(ex):
            raise _Annotated
        if debugging():
            raise ex if ex is not None else ValueError(message)
        bug = bug_in_module(ex)
        if bug is not None:
            raise bug from bug.__cause__  # hides jsonargparse's own exceptions
        parser = getattr(ex, "subcommand_parser", None) or self
        known = []
        for action in parser._actions:
            known += [action.dest, *action.option_strings]
        prog = parser.prog.replace(" [options]", "")
        kind = kind_of(parser._actions, message)
        self.exit(2, f"{prog}: error: {explain(message, known, kind)}\n")
        raise AssertionError("exit returned")


class Parser(OneLineErrors, ArgumentParser):
    """The parser of the verbs that are not trainer verbs."""


def instantiate(parser: ArgumentParser, config: Namespace) -> Namespace:
    """Build the objects of a parsed configuration; errors of their constructors stay as they are.

    For an argument with several possible types, jsonargparse tries one after the other and folds
    the exceptions of all into one message, so that a bug in a constructor looks like a wrong value.

    Args:
        parser: The parser that made the configuration.
        config: The result of its `parse_args`.

    Returns:
        The configuration with objects in place of class_path and init_args.
    """
    failures: list[Exception] = []

    def construct(class_type: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            _check_nulls(class_type, kwargs)
            return class_type(*args, **kwargs)
        except Exception as error:
            failures.append(error)
            raise

    try:
        return parser.instantiate(config, instantiators=[(construct, object, True)])
    except Exception:
        if failures:
            raise failures[0] from failures[0].__cause__
        raise


def _check_nulls(class_type: Any, arguments: dict[str, Any]) -> None:
    """Refuse null for an argument that does not take it; jsonargparse lets it pass everywhere."""
    parameters = inspect.signature(class_type).parameters
    for name, value in arguments.items():
        if value is not None or name not in parameters or parameters[name].default is None:
            continue
        annotation = parameters[name].annotation  # a text, or a type
        text = annotation if isinstance(annotation, str) else repr(annotation)
        if not any(word in text for word in ("None", "Optional", "Any", "empty", "object")):
            raise InputError(
                f"{name} of {class_type.__name__} must not be null. Leave it out for its default, "
                "or give a value."
            )


def bug_in_module(error: BaseException | None) -> BaseException | None:
    """The exception that stopped the import of a module, if one is behind a parser's error.

    Missing modules, missing packages and syntax errors do not count: one line says all about them.

    Args:
        error: An exception with those that caused it.

    Returns:
        The exception, or None.
    """
    for found in _chain(error):
        frame = None if isinstance(found, ImportError | SyntaxError) else found.__traceback__
        while frame is not None:
            if frame.tb_frame.f_code.co_name == "<module>":  # the body of a module was running
                return found
            frame = frame.tb_next
    return None


def explain(message: str, known: Iterable[str] = (), kind: type | None = None) -> str:
    """Fold an error of jsonargparse into one line and add what was probably meant.

    Args:
        message: The error as jsonargparse words it.
        known: Names of the options and keys of the parser, for a correction.
        kind: The class whose subclasses the option takes that the error is about, if there is one.

    Returns:
        One line: where, what, and a correction.
    """
    message = one_line(message)
    text = message
    for pattern, replacement in _REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    correction = None if kind is None else advice(message, kind)
    if correction is None:
        correction = _correction(message, list(known))
    return f"{text.strip().rstrip('.')}. {correction}" if correction else text.strip()


def _correction(message: str, known: list[str]) -> str:
    """What to do about a message of jsonargparse, or "" if nothing is known."""
    if match := re.search(r"No module named '([\w.]+)'", message):
        return (
            f"Check the spelling of {match[1]!r}. If it is a module of your own, use --import "
            f"{match[1]} in its directory, or put that directory on PYTHONPATH. If it is a package,"
            " install it."
        )
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        return suggestion(match[2], public_names(match[1]))
    if match := re.search(_NO_SUBCLASS, message):
        return _annotation_advice(*match.groups())
    if re.search(r"unrecognized arguments: \S+\.ya?ml", message):
        return "Use --config FILE for a configuration."
    if "the following arguments are required" in message:
        return ""
    if re.search(r"class 'float'>.*[Ee]xpected a (<class ')?tuple", message):
        return "Write a number, or a list in brackets and without spaces, such as [0.1,0.2]."
    if re.search(r"[Ee]xpected a (<class ')?tuple", message):
        return "Write a pair in brackets and without spaces, such as [10,100]."
    if match := re.search(r"unrecognized arguments: (--[\w.]+)", message):
        return _near(match[1], [name for name in known if name.startswith("--")], "See --help.")
    if match := re.search(r"(?:Option|accept option) '([\w.]+)'", message):
        # The class named last before the option; the one after it may be the class around it.
        owner = _class(message[: match.start()]) or _class(message)
        if owner is not None:
            names = inspect.signature(owner).parameters
            if match[1] in names:  # the lattice of a Hamiltonian
                return "Leave it out here: it has an option of its own."
            return _nested_option(owner, match[1]) or suggestion(match[1], names)
        keys = [name for name in known if not name.startswith("-")]
        return _near(match[1], keys, "Is it in the configuration of another verb? See --help.")
    return ""


def _annotate(error: Exception | None) -> bool:
    """Add the annotations whose lack is the error, if it is that of a function for a lattice."""
    from lattgnn.lattice import Lattice

    # For an option with several types, only the first exception names the function.
    match = re.search(_NO_SUBCLASS, " ".join(one_line(found) for found in _chain(error)))
    function = _without_annotation(match[1]) if match and match[2] == "Lattice" else None
    if not inspect.isfunction(function):
        return False
    # Parameters without a type take any value, as in Python.
    untyped = dict.fromkeys(inspect.signature(function).parameters, Any)
    function.__annotations__ = untyped | function.__annotations__ | {"return": Lattice}
    return True


def _annotation_advice(path: str, wanted: str) -> str:
    """Advice if the path names a function that does not say what it returns, else ""."""
    found, name = _without_annotation(path), path.rpartition(".")[2]
    return "" if found is None else f"Say what {path} returns: def {name}(...) -> {wanted}."


def _without_annotation(path: str) -> Any:
    """The function of this import path if it does not say what it returns, else None."""
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if isinstance(found, type) or not callable(found):
        return None
    is_silent = inspect.signature(found).return_annotation is inspect.Parameter.empty
    return found if is_silent else None


def _near(wrong: str, known: list[str], otherwise: str) -> str:
    """The option that was probably meant. A list of all options of a verb would be too long."""
    nearest = suggestion(wrong, [name for name in known if not name.endswith(".help")])
    return nearest if nearest.startswith("Did you mean") else otherwise


def _class(message: str) -> Any:
    """The class that an error is about, or None if it names none."""
    paths = re.findall(r"class_path[ =]'([\w.]+)'", message)
    if not paths:
        return None
    module, _, name = paths[-1].rpartition(".")
    return getattr(importlib.import_module(module), name)


def _nested_option(owner: Any, wrong: str) -> str:
    """Advice if the default object of an option of a class takes the argument, else "".

    A class that makes the default of an option itself has it as the attribute `standard_OPTION`.
    """
    for option, parameter in inspect.signature(owner).parameters.items():
        default = getattr(owner, f"standard_{option}", parameter.default)
        if is_dataclass(default) and wrong in inspect.signature(type(default)).parameters:
            yaml = str(describe(default)).replace("'", "")
            return f"It is an argument of {option!r}; the default is {option}: {yaml}"
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, the one that caused it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
