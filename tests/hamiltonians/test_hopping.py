"""Hopping by shell and by orbit: levels of every model against bands in momentum space."""

from itertools import product

import numpy as np
import pytest
import torch

from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Hamiltonian, Holstein, JahnTeller, Peierls
from lattgnn.lattice import Lattice, chain, kagome, lieb, shastry_sutherland, square, triangular
from lattgnn.serialize import build, describe
from lattgnn.solvers import Chebyshev, DomainDiagonalization, ExactDiagonalization, GreenFunction


def levels(model: Hamiltonian) -> np.ndarray:
    """Levels without a field."""
    field = torch.zeros(model.field_shape, dtype=torch.float64)
    return np.linalg.eigvalsh(model.matrix(field).numpy())


def momenta(lattice: Lattice) -> np.ndarray:
    """Allowed momenta as phases k·a_1, k·a_2, [n_cells, 2]."""
    axes = [2 * np.pi * np.arange(n) / n for n in lattice.extent]
    return np.array(list(product(*axes)))


def triangular_bands(lattice: Lattice, t1: float, t2: float, t3: float) -> np.ndarray:
    """−2 t_s Σ cos k·r over half of the neighbors of each of three shells."""
    x, y = momenta(lattice).T
    first = np.cos(x) + np.cos(y) + np.cos(x - y)
    second = np.cos(x + y) + np.cos(2 * x - y) + np.cos(2 * y - x)
    third = np.cos(2 * x) + np.cos(2 * y) + np.cos(2 * x - 2 * y)
    return np.sort(-2 * (t1 * first + t2 * second + t3 * third))


def test_shells_of_the_triangular_lattice():
    lattice = triangular(6, 5)
    bands = triangular_bands(lattice, 1.0, 0.3, -0.85)
    assert abs(levels(Holstein(lattice, t=[1.0, 0.3, -0.85])) - bands).max() < 1e-12
    # Third neighbors alone, and spins up and down with the energies ∓J.
    bands = triangular_bands(lattice, 1.0, 0.0, -0.85)
    model = DoubleExchange(lattice, t=[1.0, 0.0, -0.85], J=2.0)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(30, 3)
    both = np.sort(np.concatenate([bands - 2, bands + 2]))
    assert abs(np.linalg.eigvalsh(model.matrix(up).numpy()) - both).max() < 1e-12


def test_farther_neighbors_of_the_peierls_model():
    lattice = square(5, 6)
    x, y = momenta(lattice).T
    bands = -2 * 2.5 * (np.cos(x) + np.cos(y)) - 4 * 0.5 * np.cos(x) * np.cos(y)
    bands -= 2 * 0.2 * (np.cos(2 * x) + np.cos(2 * y))
    for t2 in ([0.5, 0.2], {"orbit 1": 0.5, "orbit 2": 0.2}):
        assert abs(levels(Peierls(lattice, t2=t2)) - np.sort(bands)).max() < 1e-12


def test_diagonal_hopping_of_two_orbitals():
    """Along a diagonal only the orbital 3z²−r² has σ bonds in the plane, of strength 1/4."""
    lattice = square(6, 5)
    bands = []
    for x, y in momenta(lattice):
        same = -2 * np.array([[1 / 4, 0], [0, 3 / 4]]) * (np.cos(x) + np.cos(y))
        mixed = 2 * 3**0.5 / 4 * np.array([[0, 1], [1, 0]]) * (np.cos(x) - np.cos(y))
        diagonal = -4 * 0.3 * np.array([[1 / 4, 0], [0, 0]]) * np.cos(x) * np.cos(y)
        bands.append(np.linalg.eigvalsh(same + mixed + diagonal))
    assert abs(levels(JahnTeller(lattice, t=[1.0, 0.3])) - np.sort(np.ravel(bands))).max() < 1e-12


def test_orbits_of_equal_length_have_hoppings_of_their_own():
    """Across the hexagons of the kagome lattice each sublattice hops along one line."""
    lattice = kagome(5)
    x, y = momenta(lattice).T
    bands = -2 * 0.7 * np.cos(np.concatenate([y - x, y, x]))
    assert abs(levels(Holstein(lattice, t={"orbit 3": 0.7})) - np.sort(bands)).max() < 1e-12


def test_an_orbit_and_its_reverse_have_one_hopping():
    lattice = lieb(3)  # orbit 0 points from corners, orbit 1 to corners
    expected = levels(Holstein(lattice, t=0.9))
    assert abs(levels(Holstein(lattice, t={"orbit 0": 0.9})) - expected).max() < 1e-12
    assert abs(levels(Holstein(lattice, t={"orbit 1": 0.9})) - expected).max() < 1e-12


def test_the_number_of_nearest_neighbors_is_the_list_of_one_shell():
    lattice = square(4)
    assert Holstein(lattice, t=[1.0, 0.0]) == Holstein(lattice, t=1.0)
    assert describe(Holstein(lattice, t=[1.0])) == describe(Holstein(lattice, t=1.0))
    for t in ([1.0, 0.0, -0.85], {"orbit 0": 1.0, "orbit 2": -0.85}):
        model = Holstein(square(6), t=t)
        assert build(describe(model), Hamiltonian, square(6)) == model


@pytest.mark.parametrize(
    "solver",
    [
        Chebyshev(0.6, mu=-0.5, tolerance=1e-9),
        GreenFunction(0.6, mu=-0.5, block=2, tolerance=1e-5, conservative=True),
        DomainDiagonalization(0.6, mu=-0.5, core=6, buffer=2),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_solvers_see_all_bonds(solver, rng):
    """On a chain whose hopping to third neighbors is as strong as that to first neighbors."""
    model = Holstein(chain(24), t=[1.0, 0.0, 0.9], g=2.0)
    field = torch.randn(24, dtype=torch.float64, generator=rng)
    exact = ExactForceField(model, ExactDiagonalization(0.6, mu=-0.5))(field)[1]
    found = ExactForceField(model, solver)(field)[1]
    assert (found - exact).abs().max() < 5e-3
    without = ExactForceField(Holstein(chain(24), g=2.0), ExactDiagonalization(0.6, mu=-0.5))(field)
    assert (without[1] - exact).abs().max() > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Holstein(triangular(4), t=[1.0, 0.0, -0.85]), "t, a list of 3 shells: extent"),
        (lambda: Holstein(square(4), t=[1.0] * 9), r"t, a list of 9 shells: .* Use \(\d+, \d+\)"),
        (lambda: Holstein(square(4), t=[]), "must hold at least one number"),
        (lambda: Holstein(square(4), t=[1.0, float("nan")]), "t must be a finite number"),
        (lambda: Holstein(square(4), t=[1.0, True]), "t must be a finite number"),
        (lambda: Holstein(square(4), t={"orbit x": 1.0}), "one value for each label"),
        (lambda: Holstein(lieb(3), t={"orbit 0": 1.0, "orbit 1": 2.0}), "both directions"),
        (lambda: Holstein(chain(3, periodic=False), t=[1.0, 0, 0, 0.5]), "none of orbit 3"),
        (lambda: Holstein(square(4), t={"orbit 0": float("inf")}), "t must be finite"),
        (lambda: Peierls(square(4), t2={"orbit 0": 1.0}), "must not join nearest neighbors"),
        (lambda: Holstein(shastry_sutherland(2), t={"dimer": 1.0}), "one value for each label"),
    ],
)
def test_hoppings_without_bonds_are_refused(make, message):
    with pytest.raises(InputError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
