"""What is printed on stderr: bugs with the way to report them, and few warnings."""

import importlib.metadata
import os
import subprocess
import sys
import warnings

import pytest
import yaml

import lattgnn
from lattgnn.cli.messages import bug_report, print_warning


def warn(capsys, category: type[Warning], filename: str) -> str:
    """What is printed for a warning of this kind from this file."""
    print_warning(category("this\nis old"), category, filename, 7)
    return capsys.readouterr().err


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning])
def test_deprecations_inside_packages_are_hidden(capsys, category, tmp_path):
    for module in (lattgnn, yaml, warnings):
        assert warn(capsys, category, str(module.__file__)) == ""
    own = str(tmp_path / "own.py")
    assert warn(capsys, category, own) == f"lattgnn: warning: this is old ({own}, line 7)\n"


def test_other_warnings_are_one_line(capsys):
    assert warn(capsys, UserWarning, str(lattgnn.__file__)) == "lattgnn: warning: this is old\n"


PROGRAM = """
import sys, types, warnings
from lattgnn import cli

def main(argv):
    warnings.warn_explicit("old", FutureWarning, warnings.__file__, 1)
    warnings.warn_explicit("weak", UserWarning, cli.__file__, 1)

sys.modules["lattgnn.cli.doctor"] = types.SimpleNamespace(main=main)
sys.exit(cli.main(["doctor"]))
"""


@pytest.mark.parametrize(
    ("options", "code", "parts"),
    [
        ([], 0, ["lattgnn: warning: weak"]),
        (["-Wdefault"], 0, ["FutureWarning: old", "UserWarning: weak"]),
        (["-Werror"], 1, ["FutureWarning: old"]),
    ],
)
def test_the_filters_of_the_user_have_priority(options, code, parts):
    environment = {name: x for name, x in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM], capture_output=True, text=True, env=environment
    )
    assert done.returncode == code, done.stderr
    assert all(part in done.stderr for part in parts), done.stderr
    assert options or done.stderr.count("\n") == 1


def test_a_bug_report_names_the_issue_tracker(monkeypatch):
    class Metadata:
        def get_all(self, name: str) -> list[str]:
            return ["Homepage, https://a.org", "Issues, https://a.org/issues"]

    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: Metadata())
    assert "report it at https://a.org/issues, with" in bug_report("fit", ValueError("x"))


def test_a_bug_report_without_metadata(monkeypatch):
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", missing)
    report = bug_report("fit", ValueError("x"))
    assert report.startswith("ValueError: x\nlattgnn fit: ")
    assert "report it to its authors" in report
