"""Classes of the user: bugs keep their traceback, and wrong input is one line."""

import json
import sys

import pytest

from tests.command_line import QUENCH, refused, run

OWN = """
from dataclasses import dataclass

from lattgnn.dynamics import VerletLangevin
from lattgnn.errors import InputError
from lattgnn.hamiltonians import Holstein
from lattgnn.solvers import ExactDiagonalization


@dataclass(frozen=True)
class WrongModel(Holstein):
    def __post_init__(self):
        1 + "one"


@dataclass(frozen=True)
class WrongSolver(ExactDiagonalization):
    def __post_init__(self):
        self.nothing


@dataclass(frozen=True)
class WrongIntegrator(VerletLangevin):
    def __post_init__(self):
        int("one")


@dataclass(frozen=True)
class ColdSolver(ExactDiagonalization):
    def __post_init__(self):
        raise InputError("kT must be above 1, got 0.1. Use 2.")
"""


@pytest.fixture
def own_module(monkeypatch, tmp_path):
    """A directory on the path with a user's own modules, one of which cannot be imported."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own_classes.py").write_text(OWN)
    (folder / "own_broken.py").write_text('1 + "one"\nclass Model: pass\n')
    (folder / "own_needs.py").write_text("import no_such_package\nclass Model: pass\n")
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in ("own_classes", "own_broken", "own_needs"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("option", "last"),
    [
        ("--force_field.hamiltonian=own_classes.WrongModel", "TypeError: unsupported operand"),
        ("--force_field.solver=own_classes.WrongSolver", "AttributeError: 'WrongSolver' object"),
        ("--integrator=own_classes.WrongIntegrator", "ValueError: invalid literal for int()"),
        ("--force_field.hamiltonian=own_broken.Model", "TypeError: unsupported operand"),
    ],
)
def test_a_bug_in_a_class_of_the_user_shows_its_traceback(
    capsys, tmp_path, own_module, option, last
):
    assert run(*QUENCH, f"--out={tmp_path / 'run'}", option) == 1
    out, err = capsys.readouterr()
    *traceback, exception, advice = err.splitlines()
    assert out == "" and traceback[0].startswith("Traceback")
    assert any(str(own_module) in line for line in traceback)
    assert exception.startswith(last)
    assert "this is a bug in lattgnn or in a class of your own" in advice
    file = "own_broken.py, line 1" if "own_broken" in option else "own_classes.py, line "
    assert f"Your code was running at {own_module}/{file}" in advice
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("--force_field.solver=own_classes.ColdSolver", "error: kT must be above 1, got 0.1. Use"),
        ("--force_field.solver=own_classes.ColdSolvr", "Did you mean 'ColdSolver'?"),
        ("--force_field.hamiltonian=not_there.Model", "PYTHONPATH"),
        ("--force_field.hamiltonian=own_needs.Model", "No module named 'no_such_package'"),
    ],
)
def test_wrong_input_to_a_class_of_the_user_is_one_line(capsys, tmp_path, own_module, option, part):
    assert part in refused(capsys, *QUENCH, f"--out={tmp_path / 'run'}", option)
    assert not (tmp_path / "run").exists()


def test_the_recorded_command_keeps_the_imported_modules(capsys, tmp_path, own_module):
    out = tmp_path / "run"
    assert run(*QUENCH, "--import", "own_classes", f"--out={out}") == 0
    command = json.loads((out / "provenance.json").read_text())["command"]
    assert "--import own_classes" in command and command.startswith("lattgnn simulate")


def test_a_function_without_return_annotation_is_told_what_to_write(capsys, own_module):
    (own_module / "own_classes.py").write_text("def strip(n): ...\n")
    assert "def strip(...) -> Lattice." in refused(capsys, "lattice", "own_classes.strip")
