"""A tolerance becomes a schedule."""

import pytest
import torch

from lattgnn.errors import InputError
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import chain, square
from lattgnn.solvers import ExactDiagonalization, GreenFunction, Solver
from lattgnn.solvers.green.schedule import parse_entry


def rms_error(solver: Solver, model: Holstein, fields: torch.Tensor) -> float:
    """Root mean square of the error of on-site density elements."""
    exact = ExactDiagonalization(solver.kT, solver.mu).solve(model, fields)
    error = solver.solve(model, fields).density_elements - exact.density_elements
    return float(error[..., model.rows == model.cols].square().mean().sqrt())


@pytest.mark.slow
def test_a_tolerance_is_reached_on_the_reference_fields_with_smaller_blocks_at_higher_poles(rng):
    model = Holstein(square(6))
    fields = 2 * torch.randn(2, 36, dtype=torch.float64, generator=rng)
    solver = GreenFunction(0.2, 0.0, tolerance=5e-3).resolved(model, fields)
    assert solver.schedule is not None
    assert rms_error(solver, model, fields) <= 5e-3
    assert rms_error(GreenFunction(0.2, 0.0, block=0), model, fields) > 5e-3
    kinds = [parse_entry(entry)[0].kind for entry in solver.schedule]
    assert kinds[0] != "mean"
    assert kinds[-1] == "mean"
    # The schedule and the tolerance of the poles determine all numbers.
    assert solver == GreenFunction(0.2, 0.0, tolerance=5e-3, schedule=solver.schedule)
    assert solver.resolved(model) == solver


def test_on_a_tree_the_tolerance_needs_no_calibration():
    solver = GreenFunction(0.1, 0.0).resolved(Holstein(chain(8, periodic=False)))
    assert solver.schedule == ("ring0:8",)


def test_reference_fields_of_too_many_states_are_refused():
    model = Holstein(square(41))
    with pytest.raises(InputError, match="Use fields on a smaller lattice"):
        GreenFunction(0.1, 0.0).resolved(model, torch.zeros(1681))


@pytest.mark.slow
def test_a_tolerance_that_no_block_reaches_is_refused():
    model = Holstein(square(14))
    with pytest.raises(InputError, match="is not reached by the largest blocks"):
        GreenFunction(0.05, 0.0, tolerance=1e-6).resolved(model, torch.full((1, 196), 0.3))


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [1e-3, 1e-4])
def test_the_tolerance_holds_in_other_fields_of_the_same_strength(tolerance, rng):
    model = Holstein(square(20))
    fields = 5 * torch.randn(20, 400, dtype=torch.float64, generator=rng)
    solver = GreenFunction(0.1, 0.0, tolerance=tolerance).resolved(Holstein(square(64)))
    error = rms_error(solver, model, fields)
    assert 0.1 * tolerance < error < tolerance
