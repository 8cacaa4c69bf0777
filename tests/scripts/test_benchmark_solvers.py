"""The solver benchmark at tiny sizes: each method has an error and a cost, and a report is made."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_benchmark_measures_every_method(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    script = importlib.import_module("benchmark_solvers")
    out = tmp_path / "solvers"
    script.main(["holstein-strong"], quick=True, out=str(out))
    found = json.loads(out.with_suffix(".json").read_text())["cases"]["holstein-strong"]
    methods = {row["method"] for row in found["costs"]}
    assert methods == {script.EXACT, *found["errors"]}
    assert {name.split()[0] for name in methods} == {
        *("exact", "domains", "Green", "Chebyshev", "network")
    }
    assert all(row["seconds"] > 0 for row in found["costs"])
    assert all(0 < error["mse"] < 1e-2 for error in found["errors"].values())
    assert "| domains 5+1 |" in out.with_suffix(".md").read_text()
    assert out.with_suffix(".png").stat().st_size > 10_000
