"""`lattgnn check`, and the same checks in `lattgnn generate`."""

import sys
from pathlib import Path

import pytest

from lattgnn import cli

MODULE = """
from dataclasses import dataclass

import torch

from lattgnn.hamiltonians import Holstein


@dataclass(frozen=True)
class Staggered(Holstein):
    delta: float = 0.0

    def elements(self, field):
        signs = torch.tensor((-1.0) ** self.lattice.cells.sum(1))
        return super().elements(field - self.delta / self.g * signs)


@dataclass(frozen=True)
class OneWay(Holstein):
    def elements(self, field):
        return super().elements(field) * torch.where(self.rows < self.cols, 1.2, 1.0)
"""

CONFIG = """
lattice: {class_path: lattgnn.lattice.square, init_args: {extent: [4, 4]}}
hamiltonian: {class_path: checked_models.MODEL, init_args: {t: 1.0}}
solver: {class_path: lattgnn.solvers.ExactDiagonalization, init_args: {kT: 0.1, mu: 0.0}}
sources:
  - {class_path: lattgnn.data.RandomFields, init_args: {split: train, n_samples: 2}}
root: datasets
n_workers: 0
progress: false
"""


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """A function that writes the configuration for one of the models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("checked_models.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "checked_models", raising=False)

    def write(model: str) -> str:
        Path("data.yaml").write_text(CONFIG.replace("MODEL", model))
        return "--config=data.yaml"

    return write


def test_a_good_model_gives_a_table_and_exit_code_0(configured, capsys):
    assert cli.main(["check", configured("Staggered")]) == 0
    out = capsys.readouterr().out
    assert out.count("\nok ") == 11 and "FAILED" not in out
    assert "symmetry" in out


def test_a_wrong_model_gives_exit_code_2_and_names_what_failed(configured, capsys):
    assert cli.main(["check", configured("OneWay")]) == 2
    out, err = capsys.readouterr()
    assert "FAILED  hermitian" in out
    assert err.startswith("lattgnn check: error: ") and "hermitian" in err
    assert err.count("\n") == 1


def test_the_claim_of_particle_hole_symmetry_is_checked_if_it_is_made(configured, capsys):
    config = configured("Staggered")
    options = ["--particle_hole=true", "--solver.init_args.mu=0.5"]
    assert cli.main(["check", config]) == 0
    assert cli.main(["check", config, *options]) == 2
    assert "FAILED  particle-hole" in capsys.readouterr().out


def test_generate_refuses_a_wrong_model_before_it_writes(configured, capsys):
    config = configured("OneWay")
    assert cli.main(["generate", config]) == 2
    err = capsys.readouterr().err
    assert "hermitian: " in err and err.count("\n") == 1
    assert not Path("datasets").exists()
    assert cli.main(["generate", config, "--model_check=false", "--symmetry_check=false"]) == 0


def test_generate_refuses_a_model_without_the_symmetry_of_its_lattice(configured, capsys):
    config = configured("Staggered")
    broken = [config, "--hamiltonian.init_args.delta=0.7"]
    assert cli.main(["generate", *broken]) == 2
    err = capsys.readouterr().err
    assert "the translation (x, y) → (x+1, y)" in err and "site_labels" in err
    assert not Path("datasets").exists()
    assert cli.main(["generate", *broken, "--symmetry_check=false"]) == 0
    first = capsys.readouterr().out
    # A complete dataset is checked as well, and the switch is not part of its name.
    assert cli.main(["generate", *broken]) == 2
    assert cli.main(["generate", *broken, "--symmetry_check=false", "--model_check=false"]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.slow
def test_fit_refuses_labels_without_the_symmetry_of_the_lattice(configured, capsys):
    config = configured("Staggered").removeprefix("--config=")
    fit = ["fit", f"--data={config}", "--data.hamiltonian.init_args.delta=0.7", "--run_dir=run"]
    fit += ["--model.net=lattgnn.nn.OrbitNetwork", "--model.net.n_layers=1"]
    fit += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.batch_size=1"]
    assert cli.main(fit) == 2
    assert "the translation (x, y) → (x+1, y)" in capsys.readouterr().err
    assert cli.main([*fit, "--data.symmetry_check=false"]) == 0
