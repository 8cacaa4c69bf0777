"""Campaigns of tiny quenches: 4×4 sites, a few steps."""

import copy
from pathlib import Path

import pytest
import yaml

from lattgnn.cli import main

QUENCH = {
    "lattice": {"class_path": "lattgnn.lattice.square", "init_args": {"extent": [4, 4]}},
    "force_field": {
        "hamiltonian": {"class_path": "lattgnn.hamiltonians.Holstein"},
        "solver": {
            "class_path": "lattgnn.solvers.ExactDiagonalization",
            "init_args": {"kT": 0.1, "mu": 0.0},
        },
    },
    "integrator": {
        "class_path": "lattgnn.dynamics.VerletLangevin",
        "init_args": {"dt": 0.05, "kT": 0.1, "gamma": 0.2, "mass": 5.0},
    },
    "initial": {"field_std": 5.0, "momentum_std": 5.0},
    "save": {"class_path": "lattgnn.dynamics.Regular", "init_args": {"every": 2}},
    "n_steps": 4,
}
CAMPAIGN = {
    "simulate": QUENCH,
    "analyze": None,
    "parameters": {
        "g": "simulate.force_field.hamiltonian.init_args.g",
        "kT": ["simulate.integrator.init_args.kT", "simulate.force_field.solver.init_args.kT"],
        "dt": "simulate.integrator.init_args.dt",
    },
    "scan": {"g": [3.5], "kT": [0.1]},
    "out": "out",
    "n_workers": 0,
    "progress": False,
}


@pytest.fixture
def quench() -> dict:
    """The options of a tiny quench."""
    return copy.deepcopy(QUENCH)


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Write the configuration of a campaign with changes into the working directory; the file."""
    monkeypatch.chdir(tmp_path)

    def write(**changes) -> Path:
        path = tmp_path / "campaign.yaml"
        plain = copy.deepcopy(CAMPAIGN | changes)
        path.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def campaign(configured):
    """Run `lattgnn campaign` with changes of the configuration and options; the exit code."""

    def run(*options: str, **changes) -> int:
        try:
            return main(["campaign", f"--config={configured(**changes)}", *options])
        except SystemExit as stop:
            return int(stop.code or 0)

    return run
