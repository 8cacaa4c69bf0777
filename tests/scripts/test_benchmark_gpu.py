"""The benchmark of GPUs runs on a CPU too, at tiny sizes."""

import importlib
import json
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("benchmark_gpu")


@pytest.mark.slow
def test_all_parts_run_on_a_cpu_at_tiny_sizes(script, tmp_path):
    script.main(device="cpu", tiny=True, out=str(tmp_path / "gpu"))
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["extent"] for row in results["steps"]] == [8, 16]
    assert all(row["median"] > 0 for row in results["steps"])
    # The same code on the same device gives the same bits.
    assert all(row["device"] == 0 for row in results["agreement"])
    assert 0 < results["agreement"][-1]["double"] < 1e-3
    assert "| 16² |" in (tmp_path / "gpu.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_line(script):
    with pytest.raises(SystemExit, match=r"^device 'cuda' cannot be used .* Use cpu\.$"):
        script.main()


def test_traffic_is_what_operations_read_and_write_in_memory(script):
    x = torch.zeros(100)
    with script.Traffic() as traffic:
        y = x.view(10, 10).expand(5, 10, 10)  # views move nothing
        y.add(1)  # reads the 400 bytes of x, writes 2000
    assert traffic.n_bytes == 400 + 2000
