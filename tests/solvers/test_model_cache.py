from dataclasses import dataclass, field, replace

import pytest
import torch

from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import Chebyshev, DomainDiagonalization, GreenFunction
from lattgnn.solvers.model_cache import model_cache


def test_equal_arguments_and_identical_unhashable_ones_are_computed_once():
    calls = []

    @model_cache(4)
    def count(model, size):
        calls.append((model, size))
        return len(calls)

    table, equal = {"g": 1.0}, {"g": 1.0}
    assert [count(table, 1), count(table, 1), count(table, 2), count(equal, 1)] == [1, 1, 2, 3]
    assert [count((1, 2), 1), count((1, 2), 1)] == [4, 4]
    assert [count(table, 1), count(equal, 1)] == [1, 3]


@dataclass(frozen=True)
class Tabulated(Holstein):
    """A user's model with a parameter that has no hash."""

    table: dict[str, float] = field(default_factory=lambda: {"a": 1.0})


@pytest.mark.parametrize(
    "solver",
    [
        DomainDiagonalization(0.1, mu=0.0, core=3, buffer=1),
        GreenFunction(0.1, mu=0.0, block=0),
        Chebyshev(0.1, mu=0.0, order=400),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_a_model_without_a_hash_is_solved_like_one_with_a_hash(solver, rng):
    model = Tabulated(square(8))
    with pytest.raises(TypeError, match="unhashable"):
        hash(model)
    fields = torch.randn(64, generator=rng, dtype=torch.float64)
    expected = solver.solve(Holstein(square(8)), fields)
    for same in (model, model, replace(model, g=model.g)):
        found = solver.solve(same, fields)
        assert torch.equal(found.density_elements, expected.density_elements)
