"""The script's figures: errors of effective fields, and their table."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lattgnn.solvers import ExactDiagonalization

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def script():
    """The script as a module; its neighbors in the folder are importable while it loads."""
    spec = importlib.util.spec_from_file_location(
        "scripts.spin_solvers", SCRIPTS / "spin_solvers.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(SCRIPTS))
    spec.loader.exec_module(module)
    sys.path.remove(str(SCRIPTS))
    yield module
    del sys.modules[spec.name]


def test_errors_are_split_into_whole_and_tangent(script):
    spins = torch.tensor([0.0, 0.0, 1.0]).double().expand(2, 5, 3)
    difference = torch.tensor([0.3, 0.0, 0.6]).double().expand(2, 5, 3).clone()
    difference[1] *= 2
    found = script.squares(difference, spins)
    assert found["whole"] == pytest.approx([0.375, 0.225])
    assert found["tangent"] == pytest.approx([0.075, 0.045])


def test_series_have_the_electrons_of_the_network(script):
    warm = script.series(ExactDiagonalization(kT=0.3, mu=-1.0))
    assert {(solver.kT, solver.mu) for solver in warm} == {(0.3, -1.0)}
    cold = script.series(ExactDiagonalization(kT=0.0, filling=0.4))
    assert {solver.filling for solver in cold} == {0.4} and cold[-1].kT == 0


def test_the_table_compares_with_the_network(script):
    errors: dict[str, Any] = {when: {"tangent": [1e-4, 1e-6]} for when in ("random", "later")}
    rows = {
        script.LEARNED: {"cpu_seconds": 0.01, "errors": errors},
        "series": {"cpu_seconds": 0.5, "errors": errors},
    }
    assert "| series | 500 | 50 | 1.0e-04 ± 1e-06 | 1.0e-04 ± 1e-06 |" in script.table(rows)
