"""The notebooks: each runs from top to bottom at toy sizes, and says the same as its paired
script.
"""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


def cells(notebook):
    return [
        (cell.cell_type, cell.source.strip(), cell.metadata.get("tags", []))
        for cell in notebook.cells
    ]


def test_there_are_notebooks():
    assert "01_quickstart" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_notebook_and_script_are_in_step(name):
    """`jupytext --sync notebooks/*.py` brings them together again."""
    script, notebook = jupytext.read(FOLDER / f"{name}.py"), jupytext.read(FOLDER / f"{name}.ipynb")
    nbformat.validate(notebook)
    assert cells(script) == cells(notebook)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LATTGNN_NOTEBOOK_FAST", "1")
    monkeypatch.setenv("LATTGNN_NOTEBOOK_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = jupytext.read(FOLDER / f"{name}.py")
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert pictures
