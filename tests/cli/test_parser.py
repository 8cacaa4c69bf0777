"""Errors of the parser: one line, with what was meant."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from jsonargparse import set_parsing_settings

from lattgnn.cli.parser import Parser, explain


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


def unannotated(radius):
    return Disk(radius)


def test_a_function_that_does_not_say_what_it_returns_is_told_to():
    message = f"Import path {__name__}.unannotated does not correspond to a subclass of Lattice"
    assert explain(message).endswith(
        "Say what the function returns: def unannotated(...) -> Lattice."
    )
    assert "Say what" not in explain(message.replace("unannotated", "Disk"))
