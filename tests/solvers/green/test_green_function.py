"""`GreenFunction` against exact diagonalization, and what it refuses."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.graph import apply_operation
from lattgnn.hamiltonians import DoubleExchange, Hamiltonian, Holstein, JahnTeller, Peierls
from lattgnn.lattice import (
    chain,
    cubic,
    honeycomb,
    kagome,
    site_permutations,
    square,
    triangular,
)
from lattgnn.serialize import build, describe
from lattgnn.solvers import Chebyshev, ExactDiagonalization, GreenFunction, Solver


@dataclass(frozen=True)
class RandomTree(Hamiltonian):
    """Complex hoppings with random bonds of a tree, and a field on each site."""

    n_orbitals = 2

    @cached_property
    def _parents(self) -> np.ndarray:
        rng = np.random.default_rng(3)
        return np.array([rng.integers(max(0, i - 4), i) for i in range(1, self.lattice.n_sites)])

    @cached_property
    def pattern(self) -> Tensor:
        ends = torch.tensor(np.stack([np.arange(1, self.lattice.n_sites), self._parents]))
        own = torch.arange(self.lattice.n_sites).expand(2, -1)
        sites = torch.cat([ends, ends.flip(0), own], dim=1)
        orbitals = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]])
        return (2 * sites[:, :, None] + orbitals[:, None]).flatten(1)

    def elements(self, field: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        n_bonds = self.lattice.n_sites - 1
        down = torch.randn(n_bonds, 2, 2, dtype=torch.complex128, generator=generator)
        coupling = torch.tensor([[1.0, 0.4j], [-0.4j, -0.7]], dtype=torch.complex128)
        own = field[..., None, None] * coupling
        batch = field.shape[:-1]
        blocks = [down.expand(*batch, -1, -1, -1), down.mH.expand(*batch, -1, -1, -1), own]
        return torch.cat(blocks, dim=-3).flatten(-3)

    def classical_energy(self, field: Tensor) -> Tensor:
        return 0 * field.sum(-1)


def random_field(model: Hamiltonian, rng: torch.Generator, std: float = 1.0) -> Tensor:
    field = std * torch.randn(model.field_shape, dtype=torch.float64, generator=rng)
    if model.field_type.is_spin:
        return torch.nn.functional.normalize(field, dim=-1)
    return field


def rms_error(solver: Solver, model: Hamiltonian, fields: Tensor) -> float:
    """Root mean square of the error of all density elements."""
    kT, mu, filling = solver.kT, solver.mu, solver.filling
    exact = ExactDiagonalization(kT, mu, filling).solve(model, fields)
    error = solver.solve(model, fields).density_elements - exact.density_elements
    return float(error.abs().square().mean().sqrt())


# The model and μ of each tree.
TREES = {
    "one state": (Holstein(chain(12, periodic=False)), 0.3),
    "spin": (DoubleExchange(chain(8, periodic=False)), -1.0),
    "two orbitals": (JahnTeller(square(8, 1, periodic=False)), 0.0),
    "hopping that depends on the field": (Peierls(chain(8, periodic=False), t2=0.0), 0.0),
    "branches and complex hopping": (RandomTree(chain(15)), 0.2),
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_is_exact_to_the_tolerance(name, rng):
    model, mu = TREES[name]
    field = random_field(model, rng)
    exact = ExactDiagonalization(0.2, mu).solve(model, field)
    found = GreenFunction(0.2, mu, tolerance=1e-10, block=0).solve(model, field)
    torch.testing.assert_close(found.density_elements, exact.density_elements, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.energy, exact.energy, rtol=0, atol=1e-6)


def test_a_long_chain_is_exact_to_the_tolerance_although_it_is_closed(rng):
    model = Holstein(chain(40))
    field = random_field(model, rng)
    solver = GreenFunction(0.2, 0.1, tolerance=1e-8, block=0)
    assert rms_error(solver, model, field) < 1e-8


@pytest.mark.parametrize(
    "model", [Holstein(square(4)), DoubleExchange(square(4)), Holstein(triangular(4))]
)
def test_a_block_that_covers_the_lattice_is_exact_to_the_tolerance(model, rng):
    field = random_field(model, rng)
    exact = ExactDiagonalization(0.2, -0.5).solve(model, field)
    found = GreenFunction(0.2, -0.5, tolerance=1e-10, block=2).solve(model, field)
    torch.testing.assert_close(found.density_elements, exact.density_elements, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.energy, exact.energy, rtol=0, atol=1e-6)


# The model, the standard deviation of its fields, μ, and the temperature.
LOOPS = {
    "square": (Holstein(square(7)), 1.5, 0.0, 0.1),
    "square, open": (Holstein(square(6, periodic=False)), 1.5, 0.0, 0.1),
    "triangular": (Holstein(triangular(6)), 2.0, 0.0, 0.1),
    "honeycomb": (Holstein(honeycomb(5)), 1.5, 0.0, 0.1),
    "kagome": (Holstein(kagome(4)), 2.0, 0.0, 0.1),
    "cubic": (Holstein(cubic(5)), 2.0, 0.0, 0.1),
    "hopping that depends on the field": (Peierls(square(7)), 0.5, 0.0, 0.1),
    "two orbitals": (JahnTeller(square(7)), 1.0, 0.0, 0.1),
    "spin": (DoubleExchange(square(7)), 1.0, -3.0, 0.05),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOPS)
def test_the_error_falls_with_the_block(name, rng):
    model, std, mu, kT = LOOPS[name]
    fields = torch.stack([random_field(model, rng, std) for _ in range(8)])
    blocks = range(3 if name == "cubic" else 4)
    errors = [rms_error(GreenFunction(kT, mu, block=b), model, fields) for b in blocks]
    assert all(later < 0.75 * earlier for earlier, later in pairwise(errors)), errors


def test_larger_blocks_help_on_a_small_lattice(rng):
    model = Holstein(square(7))
    fields = torch.stack([random_field(model, rng, 2.0) for _ in range(4)])
    solvers = [GreenFunction(0.2, 0.0, block=b, tolerance=1e-3) for b in range(3)]
    errors = [rms_error(solver, model, fields) for solver in solvers]
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < 0.5 * errors[1]


SCHEDULE = ("ring2:1", "ball3:1", "ring1:2", "ring0:0", "mean")


@pytest.mark.parametrize(
    "solver",
    [
        GreenFunction(0.2, 0.1, schedule=SCHEDULE, tolerance=1e-3),
        GreenFunction(0.2, filling=0.4, block=1, tolerance=1e-3),
    ],
)
@pytest.mark.parametrize("model", [Holstein(square(4, 5)), DoubleExchange(triangular(4))])
def test_the_result_does_not_depend_on_the_rest_of_the_batch(model, solver, rng):
    # The second field has a wider spectrum, and thereby other poles.
    fields = torch.stack([random_field(model, rng), 30 * random_field(model, rng)])
    together = solver.solve(model, fields)
    for number, field in enumerate(fields):
        alone = solver.solve(model, field)
        assert torch.equal(together.density_elements[number], alone.density_elements)
        assert torch.equal(together.energy[number], alone.energy)
        assert torch.equal(together.mu[number], alone.mu)


@pytest.mark.parametrize("lattice", [square(5), honeycomb(3), square(4, periodic=False)])
def test_forces_have_the_symmetry_of_the_lattice(lattice, rng):
    solver = GreenFunction(0.2, 0.1, schedule=("ring1:1", "ball2:2", "mean"), tolerance=1e-3)
    force_field = ExactForceField(Holstein(lattice), solver)
    field = torch.randn(lattice.n_sites, dtype=torch.float64, generator=rng)
    energy, forces = force_field(field)
    for permutation in site_permutations(lattice):
        moved_energy, moved = force_field(apply_operation(field, permutation))
        torch.testing.assert_close(moved, apply_operation(forces, permutation))
        torch.testing.assert_close(moved_energy, energy)


@pytest.mark.parametrize("filling", [0.4, 0.5])
def test_fixed_filling_gives_the_number_of_electrons_and_the_free_energy(filling, rng):
    model = Holstein(square(4))
    field = random_field(model, rng)
    exact = ExactDiagonalization(0.2, filling=filling).solve(model, field)
    found = GreenFunction(0.2, filling=filling, tolerance=1e-10, block=2).solve(model, field)
    diagonal = model.rows == model.cols
    assert float(found.density_elements[diagonal].sum()) == pytest.approx(16 * filling, abs=1e-7)
    torch.testing.assert_close(found.mu, exact.mu, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.energy, exact.energy, rtol=0, atol=1e-6)


def test_a_guess_of_the_chemical_potential_gives_the_same_result(rng):
    model = Holstein(square(4))
    fields = torch.stack([random_field(model, rng), random_field(model, rng)])
    solver = GreenFunction(0.2, filling=0.4, tolerance=1e-3, block=1)
    alone = solver.solve(model, fields)
    guessed = solver.solve_from(model, fields, alone.mu + 0.02)
    torch.testing.assert_close(guessed.mu, alone.mu, rtol=0, atol=1e-7)
    torch.testing.assert_close(guessed.energy, alone.energy, rtol=0, atol=1e-7)


def test_the_description_builds_an_equal_solver():
    solver = GreenFunction(0.1, filling=0.4, schedule=SCHEDULE, tolerance=1e-5)
    assert build(describe(solver), Solver) == solver


def test_with_a_block_the_text_says_that_the_tolerance_is_that_of_the_poles():
    text = repr(GreenFunction(0.1, mu=0.0, block=2, tolerance=1e-3))
    assert "block=2" in text and "tolerance" not in text and "poles within 0.0001" in text
    assert "tolerance=0.001" in repr(GreenFunction(0.1, mu=0.0, tolerance=1e-3))
    assert "tolerance" not in repr(Chebyshev(0.1, mu=0.0, order=100))


def test_a_refined_solver_has_larger_blocks_and_finer_poles():
    assert GreenFunction(0.1, 0.0, block=1).refined() == GreenFunction(
        0.1, 0.0, block=2, tolerance=1e-5
    )
    refined = GreenFunction(0.1, 0.0, schedule=("ring2:1", "ball3:2", "mean")).refined()
    assert refined.schedule == ("ring3:2", "ball4:3", "ring0:0")
    assert GreenFunction(0.1, 0.0).refined() == GreenFunction(0.1, 0.0, tolerance=1e-5)


def test_the_ground_state_is_refused_with_the_solvers_that_have_it():
    with pytest.raises(InputError, match="Use ExactDiagonalization or DomainDiagonalization"):
        GreenFunction(0.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mu": 0.0, "filling": 0.5}, "only one of mu and filling"),
        ({}, "one of mu and filling must be given"),
        ({"mu": 0.0, "block": 1, "schedule": ("ring1:1",)}, "only one of block and schedule"),
        ({"mu": 0.0, "block": -1}, "block must be a whole number"),
        ({"mu": 0.0, "schedule": ("ring1",)}, "an entry of a schedule"),
        ({"mu": 0.0, "schedule": ()}, "at least one entry"),
        ({"mu": 0.0, "tolerance": 0.0}, "tolerance must be"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        GreenFunction(0.1, **arguments)


def test_a_field_too_strong_for_the_temperature_is_refused():
    model = Holstein(square(4))
    field = torch.full((16,), 1e9, dtype=torch.float64)
    with pytest.raises(InputError, match="Use a higher kT"):
        GreenFunction(0.1, 0.0, block=0).solve(model, field)


def test_sites_with_unequal_numbers_of_states_are_refused():
    @dataclass(frozen=True)
    class OneStateMore(Holstein):
        @property
        def n_states(self) -> int:
            return self.lattice.n_sites + 1

    with pytest.raises(InputError, match="equally many states on each site"):
        GreenFunction(0.1, 0.0, block=0).solve(OneStateMore(square(4)), torch.zeros(16))


@pytest.mark.parametrize(
    ("model", "ensemble"),
    [
        (Holstein(square(4, 5)), {"mu": 0.3}),
        (Holstein(square(4, 5)), {"filling": 0.4}),
        (DoubleExchange(square(3)), {"mu": -2.0}),
    ],
)
def test_conservative_forces_are_the_derivative_of_the_energy(model, ensemble, rng):
    field, direction = random_field(model, rng), random_field(model, rng)
    solver = GreenFunction(0.2, block=1, tolerance=1e-3, conservative=True, **ensemble)
    force_field, step = ExactForceField(model, solver), 1e-4
    _, forces = force_field(field)
    energies = [force_field(field + sign * step * direction)[0] for sign in (1, -1)]
    slope = (energies[0] - energies[1]) / (2 * step)
    torch.testing.assert_close((forces * direction).sum(), -slope, rtol=1e-6, atol=1e-6)
