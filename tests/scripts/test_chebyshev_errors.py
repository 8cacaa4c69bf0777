import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from lattgnn.forcefield import ExactForceField
from lattgnn.solvers import ExactDiagonalization


@pytest.fixture(scope="module")
def chebyshev_errors():
    """The script as a module; it is no part of the package."""
    spec = importlib.util.spec_from_file_location(
        "scripts.chebyshev_errors", Path(__file__).parents[2] / "scripts/chebyshev_errors.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_columns_of_the_density_matrix(chebyshev_errors):
    model, field = chebyshev_errors.random_spins(4)
    levels, vectors = torch.linalg.eigh(model.matrix(field))
    density = (vectors * torch.sigmoid((-3.5 - levels) / 0.1)) @ vectors.mH
    states = torch.tensor([3, 17, 18])
    found = chebyshev_errors.columns_of_density(model, field, 0.1, states)
    torch.testing.assert_close(found, density[:, states], rtol=0, atol=1e-8)


def test_mse_of_effective_fields(chebyshev_errors):
    model, field = chebyshev_errors.random_spins(4)
    solvers = [ExactDiagonalization(kT, mu=-3.5) for kT in (0.1, 0.5)]
    densities, forces = [], []
    for solver in solvers:
        densities.append(solver.solve(model, field).density_elements[-64:].view(16, 4))
        forces.append(ExactForceField(model, solver).electronic(field)[1])
    mse = chebyshev_errors.force_mse(model, densities[0] - densities[1])
    assert mse == pytest.approx(float((forces[0] - forces[1]).square().mean()), rel=1e-10)
