from functools import partial
from pathlib import Path

import pytest

from lattgnn.data import Quench, RandomFields, generate
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization

SOURCES = [
    Quench("train", n_trajectories=2, n_steps=12, n_frames=6),
    RandomFields("train", n_samples=5, block_size=3),
    Quench("val", n_trajectories=1, n_steps=8, n_frames=4),
    Quench("test", n_trajectories=1, n_steps=8, n_frames=4),
    RandomFields("test", n_samples=3),
]


@pytest.fixture(scope="session")
def recipe() -> dict:
    """Arguments of `generate` for a dataset that takes a second."""
    return {
        "lattice": square(6),
        "hamiltonian": partial(Holstein, g=3.5),
        "solver": ExactDiagonalization(kT=0.1, mu=0.0),
        "sources": SOURCES,
        "seed": 7,
        "name": "tiny",
        "n_workers": 1,
        "progress": False,
    }


@pytest.fixture(scope="session")
def made(recipe: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset; tests must not change it."""
    return generate(**recipe, root=tmp_path_factory.mktemp("datasets"))
