"""Chirality and charge within domains, on fields whose domains are known."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from lattgnn.lattice import triangular
from lattgnn.spin_orders import tetrahedral, triple_q

SCRIPT = Path(__file__).parents[2] / "scripts/chirality_domains.py"


@pytest.fixture(scope="module")
def script():
    """The script as a module; it is no part of the package."""
    spec = importlib.util.spec_from_file_location("scripts.chirality_domains", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_perfect_order_is_one_domain(script):
    lattice = triangular(12)
    spins = tetrahedral().spins(lattice)
    chirality, _, share = script.domain_values(spins, lattice, 1, 7)
    assert chirality == pytest.approx(4 / (3 * np.sqrt(3))) and share == 1


def test_a_skyrmion_crystal_has_charge_two_per_magnetic_cell_of_48_sites(script):
    lattice = triangular(24)
    crystal = triple_q(["1/6", "1/12"]).spins(lattice)
    _, charge, share = script.domain_values(crystal, lattice, 12, 7)
    assert charge == pytest.approx(2 / 48) and share == 1


def test_cells_near_a_wall_are_left_out(script):
    lattice = triangular(24)
    spins = tetrahedral().spins(lattice).reshape(24, 24, 3)
    spins[:12] = tetrahedral(-1).spins(lattice).reshape(24, 24, 3)[:12]
    chirality, _, share = script.domain_values(spins.reshape(-1, 3), lattice, 1, 7)
    assert chirality == pytest.approx(4 / (3 * np.sqrt(3)))
    # Each of the two walls costs three columns to either side; the triangles of one column of cells
    # span the wall, and their chirality may vanish.
    assert 10 / 24 <= share <= 12 / 24


def test_replicas_without_a_domain_count_in_the_share_alone(script):
    lattice = triangular(12)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, lattice.n_sites, 3))
    noise /= np.linalg.norm(noise, axis=-1, keepdims=True)
    values = script.replica_values(noise, lattice, 1, 7)
    assert np.isnan(values[0]) and values[2] == 0
    assert script.in_words(np.empty(0)) == "no domain"
