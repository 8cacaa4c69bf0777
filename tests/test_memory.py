"""Sizes that do not fit into memory are refused in one line before the work begins."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from lattgnn.dynamics import initial_state
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import bond_orbits, cubic, kagome, square
from lattgnn.memory import require_memory
from lattgnn.solvers import ExactDiagonalization


@pytest.fixture
def two_gigabytes_free(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2e9))


def test_the_message_has_both_sizes(two_gigabytes_free):
    with pytest.raises(ValueError, match=r"^a table needs 58 GB of memory, and 2 GB are free\. Go"):
        require_memory(58e9, "a table", "Go on.")
    require_memory(1.9e9, "a table", "Go on.")


@pytest.mark.parametrize("n", [10**6, 10**10])
def test_lattices(n):
    lattice = square(n)
    assert lattice.n_sites == n * n
    for listing in (lambda: lattice.positions, lambda: lattice.bonds(1.0)):
        with pytest.raises(ValueError, match=r"^a .* needs .* GB of memory, and .* are free"):
            listing()


@pytest.mark.parametrize(("model", "n_bytes"), [(Holstein, 8), (DoubleExchange, 16)])
def test_exact_diagonalization(model, n_bytes, two_gigabytes_free):
    hamiltonian = model(square(100))
    field = torch.ones(hamiltonian.field_shape, dtype=torch.float64)
    needed = f"{3 * hamiltonian.n_states**2 * n_bytes / 1e9:.0f} GB"
    message = f"^diagonalizing a matrix of {hamiltonian.n_states:,} states needs {needed}"
    with pytest.raises(ValueError, match=message):
        ExactDiagonalization(kT=0.1, mu=0.0).solve(hamiltonian, field)


@pytest.mark.parametrize("cutoff", [1e4, 1e300])
@pytest.mark.parametrize("make", [square, kagome, cubic])
def test_cutoffs_with_too_many_bonds(make, cutoff):
    with pytest.raises(ValueError, match=r"^cutoff must be short enough for 200,000 bonds"):
        bond_orbits(make(4), cutoff)


def test_a_long_cutoff_on_a_small_torus_names_the_extent_that_it_needs():
    with pytest.raises(ValueError, match=r"got \(8, 8, 8\)\. Use \(17, 17, 17\)"):
        cubic(8).bonds(8.0)


def test_the_state_of_a_run(two_gigabytes_free):
    force_field = LearnedForceField.pretrained("holstein-square-small", square(10_000))
    with pytest.raises(ValueError, match="^a state of 100,000,000 numbers needs 4 GB of memory"):
        initial_state(force_field, seed=0)
