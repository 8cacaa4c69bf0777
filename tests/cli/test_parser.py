"""Errors of the parser: one line, with what was meant."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from jsonargparse import set_parsing_settings

from lattgnn.cli.parser import Parser, explain, instantiate
from lattgnn.lattice import Lattice, square


class Shape:
    """A base class."""


@dataclass
class Circle(Shape):
    """A class to choose."""

    radius: float = 1.0


@dataclass
class Disk(Shape):
    """A class with an object as an option, whose default it makes itself."""

    border: Circle | None = None

    standard_border = Circle(2.0)


def draw(
    shape: Shape,
    recipe: Callable[[], Shape] | None = None,
    n_times: int | None = None,
    gray: bool | str = True,
) -> None:
    """Arguments of many kinds."""


@pytest.fixture
def parser() -> Parser:
    set_parsing_settings(subclasses_enabled=[Shape])
    parser = Parser(prog="lattgnn draw")
    parser.add_argument("--config", action="config")
    parser.add_function_arguments(draw)
    return parser


CIRCLE = f"{__name__}.Circle"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["required: shape"]),
        (["--shape=Sphere"], ["shape:", "Sphere"]),
        (["--shape=lattgnn.lattice.sqare"], ["shape:", "'sqare'", "Did you mean 'square'?"]),
        ([f"--shape={CIRCLE}", "--shape.raduis=2"], ["'raduis'", "Did you mean 'radius'?"]),
        (
            [f"--shape={__name__}.Disk", "--shape.radius=2"],
            ["'radius'", "argument of 'border'", "border: {class_path: ", "radius: 2.0}}"],
        ),
        ([f"--shape={CIRCLE}", "--shape.radius=x"], ["shape:", "radius:", "expected float", "x"]),
        ([f"--shape={CIRCLE}", "--n_times=x"], ["n_times: expected int. Got value: x"]),
        ([f"--shape={CIRCLE}", "--n_tims=1"], ["--n_tims", "Did you mean '--n_times'?"]),
        (["--config=nowhere.yaml"], ["config:", "nowhere.yaml"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(parser, capsys, arguments, parts):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(arguments)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("lattgnn draw: error: ")
    for part in parts:
        assert part in err
    assert "Namespace" not in err
    assert "NestedArg" not in err


def test_debugging_keeps_the_traceback(parser, monkeypatch):
    monkeypatch.setenv("LATTGNN_DEBUG", "1")
    with pytest.raises(Exception, match="n_times"):
        parser.parse_args([f"--shape={CIRCLE}", "--n_times=x"])


def test_unknown_names_are_listed_if_none_is_close():
    message = "module 'lattgnn.hamiltonians' has no attribute 'Quark'"
    assert "Holstein" in explain(message)


def unannotated(n):
    return square(n)


@pytest.fixture
def lattices(monkeypatch):
    """A parser for lattices; the function gets its annotations for one test only."""
    monkeypatch.setattr(unannotated, "__annotations__", {})
    set_parsing_settings(subclasses_enabled=[Lattice])
    parser = Parser(prog="lattgnn")
    parser.add_argument("--lattice", type=Lattice | None)
    parser.add_argument("--other", type=Lattice)
    return parser


def test_a_function_need_not_say_that_it_makes_a_lattice(lattices):
    options = [f"--{name}={__name__}.unannotated" for name in ("lattice", "other")]
    options += ["--lattice.n=4", "--other.n=5"]
    made = instantiate(lattices, lattices.parse_args(options))
    assert (made.lattice, made.other) == (square(4), square(5))


def test_a_function_for_something_else_is_told_to_say_what_it_returns():
    message = f"Import path {__name__}.draw_all does not correspond to a subclass of Hamiltonian"
    advice = f"Say what {__name__}.draw_all returns: def draw_all(...) -> Hamiltonian."
    assert explain(message).endswith(advice)
    assert "Say what" not in explain(message.replace("draw_all", "Disk"))


def draw_all():
    return Disk()
