"""The verb lattice: tables, pictures and mistakes."""

import subprocess
import sys

import pytest

from tests.command_line import refused, run


def test_lattice_prints_the_table_and_draws(capsys, tmp_path):
    picture = tmp_path / "square.png"
    assert (
        run("lattice", "square", "--extent", "8", "8", "--cutoff", "2.3", "--plot", str(picture))
        == 0
    )
    table = capsys.readouterr().out
    assert "8 operations" in table
    assert "4 orbits, 4 distinct lengths" in table
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_lattice_shows_labels_and_lattices_of_the_user(capsys, tmp_path, monkeypatch):
    assert run("lattice", "shastry_sutherland", "--cutoff", "1.5") == 0
    assert "itself   dimer" in capsys.readouterr().out
    text = """
from lattgnn.lattice import Lattice

def ionic(extent) -> Lattice:
    return Lattice([[2]], [[0], ["1/2"]], extent, site_labels=["Na", "Cl"])
"""
    (tmp_path / "own_lattices.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert run("lattice", "own_lattices.ionic", "--extent", "6", "--open", "0") == 0
    table = capsys.readouterr().out
    assert "open boundaries" in table and "Na" in table and "Cl" in table


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["sqare"], "Did you mean 'square'?"),
        (["no_such_module.lattice"], "Put the folder of its file on PYTHONPATH."),
        (["square", "--extent", "3"], "Use (5, 5)"),
        (["square", "--extent", "x"], "expected int"),
        (["square", "--open", "5"], "open"),
        (["square", "--plot", "a.xyz"], "plot must end in .png"),
        (["square", "--cutof", "2"], "Did you mean '--cutoff'?"),
    ],
)
def test_lattice_refuses(capsys, arguments, part):
    assert part in refused(capsys, "lattice", *arguments)


def test_lattice_needs_no_torch():
    code = (
        "import sys; from lattgnn import cli;"
        "cli.main(['lattice', 'lieb']); exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
