"""Test set-up: shapes are checked at run time, and one thread keeps timings and sums reproducible."""

import os

# Before torch and numpy are imported: the processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch
from jaxtyping import install_import_hook

# Before the first import of lattgnn. An int is welcome where a float is.
install_import_hook("lattgnn", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
torch.set_num_threads(1)


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator, fresh for each test."""
    return torch.Generator().manual_seed(0)
