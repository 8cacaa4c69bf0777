import warnings
from dataclasses import replace

import pytest
import torch

from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import square, triangular
from lattgnn.serialize import build, describe
from lattgnn.solvers import (
    Chebyshev,
    DomainDiagonalization,
    ExactDiagonalization,
    GreenFunction,
    Solver,
    calibration,
    estimate_error,
)
from lattgnn.solvers.calibration import REFERENCE_STD, density_error, reference_fields
from lattgnn.solvers.error_estimate import compare_solvers

# Domains that stay cut when their buffer grows by two, and other solvers whose errors are far above
# rounding.
CASES = [
    (Holstein(square(20)), DomainDiagonalization(0.1, 0.0, 4, 2), 5.27),
    (Holstein(square(20)), DomainDiagonalization(0.1, 0.0, 4, 2), 0.5),
    (Holstein(square(20)), DomainDiagonalization(0.1, core=4, buffer=3, filling=0.4), 2.0),
    (Holstein(square(20)), DomainDiagonalization(0.0, 0.2, 4, 2), 2.0),
    (Holstein(triangular(18)), DomainDiagonalization(0.1, -1.0, 4, 2), 2.0),
    (JahnTeller(square(14)), DomainDiagonalization(0.1, -1.0, 3, 2), 1.0),
    (Peierls(square(18)), DomainDiagonalization(0.1, 0.0, 4, 2), 0.3),
    (DoubleExchange(square(14)), DomainDiagonalization(0.1, -3.5, 3, 2), 1.0),
    (Holstein(square(14)), GreenFunction(0.1, 0.0, block=0), 5.27),
    (Holstein(square(14)), GreenFunction(0.1, 0.0, block=1), 0.5),
    (Holstein(square(14)), GreenFunction(0.02, 0.0, block=1), 2.0),
    (Holstein(triangular(12)), GreenFunction(0.1, -1.0, block=1), 2.0),
    (JahnTeller(square(10)), GreenFunction(0.1, -1.0, block=1), 1.0),
    (DoubleExchange(square(8)), GreenFunction(0.1, -3.5, block=1), 1.0),
    (DoubleExchange(square(8)), Chebyshev(0.1, -3.5, tolerance=1e-3), 1.0),
    (Holstein(square(14)), Chebyshev(0.1, filling=0.4, tolerance=1e-3), 2.0),
]


def exact_error(solver: Solver, model, fields):
    exact = ExactDiagonalization(solver.kT, solver.mu, solver.filling)
    return compare_solvers(solver, exact, model, fields)


def assert_within_a_factor(found, expected, factor):
    for part in ("density", "elements", "forces"):
        ratio = getattr(found, part).rms / getattr(expected, part).rms
        assert 1 / factor < ratio < factor, part


@pytest.mark.slow
@pytest.mark.parametrize(("model", "solver", "std"), CASES)
def test_estimates_agree_with_the_error_against_exact_diagonalization(model, solver, std):
    fields = reference_fields(model, std)
    found, exact = estimate_error(solver, model, fields), exact_error(solver, model, fields)
    assert_within_a_factor(found, exact, 3)
    for part in ("density", "elements", "forces"):
        of_part = getattr(exact, part)
        assert of_part.rms < of_part.maximum < 3 * getattr(found, part).maximum
        assert of_part.standard_error < 0.3 * of_part.rms


def test_an_estimate_agrees_with_exact_diagonalization_on_few_fields():
    model, solver = Holstein(square(14)), DomainDiagonalization(0.1, 0.0, 4, 2)
    fields = reference_fields(model, 1.0, 6)
    found = estimate_error(solver, model, fields.view(2, 3, -1))
    assert_within_a_factor(found, exact_error(solver, model, fields), 3)
    assert found.n_fields == 6 and found.forces.mse == found.forces.rms**2
    drawn = estimate_error(solver, model, fields, n_samples=2, seed=3)
    assert drawn.n_fields == 2 and drawn.forces.rms != found.forces.rms
    assert drawn == estimate_error(solver, model, fields, n_samples=2, seed=3)


def test_differences_are_those_of_density_and_force():
    model, solver = DoubleExchange(square(6)), DomainDiagonalization(0.1, -3.5, 2, 1)
    fields = reference_fields(model, 1.0, 2)
    found = exact_error(solver, model, fields)
    exact = ExactDiagonalization(0.1, -3.5)
    states = [each.solve(model, fields).density_elements for each in (solver, exact)]
    elements = states[0] - states[1]
    on_site = elements[:, model.rows == model.cols]
    forces = [ExactForceField(model, each).electronic(fields)[1] for each in (solver, exact)]
    differences = {"elements": elements, "density": on_site, "forces": forces[0] - forces[1]}
    for part, values in differences.items():
        rms = float(values.abs().square().mean().sqrt())
        assert getattr(found, part).rms == pytest.approx(rms, rel=1e-12)
        assert getattr(found, part).maximum == pytest.approx(float(values.abs().max()), rel=1e-12)


def test_the_standard_error_is_the_scatter_of_independent_estimates():
    model, solver = Holstein(square(12)), DomainDiagonalization(0.2, 0.0, 3, 2)
    fields = reference_fields(model, 1.0, 24)
    several = [exact_error(solver, model, four).density for four in fields.split(4)]
    scatter = float(torch.tensor([each.rms for each in several]).std())
    mean = float(torch.tensor([each.standard_error for each in several]).mean())
    assert 0.4 < mean / scatter < 2.5


def test_impossible_estimates_are_refused():
    model, fields = Holstein(square(6)), torch.zeros(3, 36)
    with pytest.raises(InputError, match="n_samples must be from 1 to 3, the number of fields"):
        estimate_error(DomainDiagonalization(0.1, 0.0, 2, 1), model, fields, n_samples=4)
    with pytest.raises(InputError, match="no refinement, because it is exact"):
        estimate_error(ExactDiagonalization(0.1, 0.0), model, fields)


def test_a_tolerance_becomes_the_smallest_buffer_that_reaches_it(monkeypatch):
    monkeypatch.setattr(calibration, "_N_FIELDS", 3)
    model = Holstein(square(30))
    wanted = DomainDiagonalization(0.2, 0.0, core=3, tolerance=3e-3, reference_std=3.0)
    found = wanted.resolved(model)
    assert found == DomainDiagonalization(0.2, 0.0, core=3, buffer=found.buffer)
    assert found.buffer is not None and found.buffer > 1
    assert found.resolved(model) is found
    assert set(describe(found)["init_args"]) == {"kT", "mu", "core", "buffer"}
    assert build(describe(wanted), Solver) == wanted
    small = calibration.reference_model(model, 3 + 2 * found.buffer + 2)
    fields = reference_fields(small, 3.0, 3)
    shorter = replace(found, buffer=found.buffer - 1)
    assert density_error(found, small, fields) <= 3e-3 < density_error(shorter, small, fields)
    field = reference_fields(model, 3.0, 1)
    assert ExactForceField(model, wanted).solver == found
    assert torch.equal(
        wanted.solve(model, field).density_elements, found.solve(model, field).density_elements
    )
    assert wanted.refined().tolerance == pytest.approx(3e-4)


def test_the_caller_can_give_reference_fields():
    model = Holstein(square(12))
    wanted = DomainDiagonalization(0.2, 0.0, core=3, tolerance=3e-3)
    strong, weak = (reference_fields(model, std, 2) for std in (8.0, 0.5))
    large, small = (wanted.resolved(model, fields).buffer for fields in (weak, strong))
    assert large is not None and small is not None and small < large


def test_a_tolerance_without_an_exact_reference_is_refused(monkeypatch):
    monkeypatch.setattr(calibration, "MOST_EXACT_STATES", 50)
    solver = DomainDiagonalization(0.1, 0.0, core=3, tolerance=1e-9)
    with pytest.raises(InputError, match="1e-09 is not reached by a buffer of 1 around a core of"):
        solver.resolved(Holstein(square(12)))


@pytest.mark.parametrize("arguments", [{}, {"buffer": 3, "tolerance": 1e-3}])
def test_either_buffer_or_tolerance_is_given(arguments):
    with pytest.raises(InputError, match="exactly one of buffer and tolerance"):
        DomainDiagonalization(0.1, 0.0, **arguments)


def test_the_default_strength_of_reference_fields_is_not_silent_for_displacements():
    """Errors in the weak fields of other models than Holstein's are larger."""
    with pytest.warns(UserWarning, match="standard deviation 5.*Peierls.*Set reference_std"):
        reference_fields(Peierls(square(4)), REFERENCE_STD, 1)
    for model, std in ((Peierls(square(4)), 0.2), (Holstein(square(4)), REFERENCE_STD)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reference_fields(model, std, 1)
