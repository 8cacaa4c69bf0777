"""A network joins the comparison by one YAML: also a network that lattgnn does not know."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RECIPE = """
data:
  lattice: {class_path: lattgnn.lattice.square, init_args: {extent: [6, 6]}}
  hamiltonian: {class_path: lattgnn.hamiltonians.Holstein}
  solver: {class_path: lattgnn.solvers.ExactDiagonalization, init_args: {kT: 0.1, mu: 0.0}}
  sources:
  - class_path: lattgnn.data.Quench
    init_args: {split: train, n_trajectories: 2, n_steps: 20, n_frames: 8}
  - class_path: lattgnn.data.Quench
    init_args: {split: val, n_trajectories: 1, n_steps: 8, n_frames: 4}
  - class_path: lattgnn.data.Quench
    init_args: {split: test, n_trajectories: 1, n_steps: 900, n_frames: 12}
  - {class_path: lattgnn.data.RandomFields, init_args: {split: test, n_samples: 3}}
  n_workers: 0
model: {net: {class_path: stranger.OnSite}}
trainer: {accelerator: cpu, devices: 1}
"""

STRANGER = """
from torch import nn
from lattgnn.nn import ForceNetwork

class OnSite(ForceNetwork):
    def __init__(self, lattice, field_type, width: int = 4):
        super().__init__()
        self.field_type, self.cutoff = field_type, 1.0
        self.hyperparameters = {"field_type": field_type, "width": width}
        self.net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
    def forward(self, field, graph):
        return None, self.net(field.unsqueeze(-1)).squeeze(-1)
"""


@pytest.mark.slow
def test_one_yaml_is_enough(tmp_path):
    (tmp_path / "on_site.yaml").write_text(RECIPE)
    (tmp_path / "stranger.py").write_text(STRANGER)
    command = [
        sys.executable,
        str(ROOT / "scripts/benchmark_models.py"),
        "--recipes=[on_site.yaml]",
    ]
    command += ["--minutes=[0.002]", "--out=results", "--workers=1"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "failed" not in done.stdout, done.stdout + done.stderr
    record = json.loads((tmp_path / "results/on_site-0.002min-seed0.json").read_text())
    assert record["parameters"] == 13 and record["mac"] == 8 and record["equivariance_error"] < 1e-6
    assert {"test/quench/mse", "test/random/mae", "test/601-1200/mse"} <= record["test"].keys()
    (row,) = [
        line for line in (tmp_path / "results.md").read_text().splitlines() if "on_site" in line
    ]
    assert "| 13 |" in row and "| 1 |" in row
    assert (tmp_path / "results.png").stat().st_size > 10_000
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0 and not again.stdout  # nothing is done twice
