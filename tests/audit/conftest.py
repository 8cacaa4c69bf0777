"""A run whose forces are wrong by a known amount."""

import pytest

from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import DomainDiagonalization
from tests.audit.runs import simulated


@pytest.fixture(scope="package")
def rough():
    """Holstein on 12 × 12 sites by domains that are far too small."""
    return ExactForceField(Holstein(square(12)), DomainDiagonalization(0.1, 0.0, core=2, buffer=1))


@pytest.fixture(scope="package")
def rough_run(rough):
    """A run of it with two replicas and nine frames, in memory."""
    return simulated(rough)
