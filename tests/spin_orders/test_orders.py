"""Perfect orders: scalar products, chirality and topological charge in closed form."""

import numpy as np
import pytest

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, chain, honeycomb, kagome, square, triangular
from lattgnn.serialize import build, describe
from lattgnn.spin_orders import (
    PlaneWaves,
    SkyrmionCrystal,
    SpinOrder,
    Spiral,
    double_q,
    stripes,
    tetrahedral,
    triple_q,
)


def products(spins: np.ndarray, lattice: Lattice) -> np.ndarray:
    """S_i·S_j on nearest-neighbor bonds."""
    bonds = lattice.bonds(lattice.neighbor_distance)
    return (spins[bonds.source] * spins[bonds.destination]).sum(-1)


def triangles(spins: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Both counterclockwise triangles of each cell of a triangular lattice, [2 n_cells, 3, 3]."""
    n, m = lattice.extent
    grid = spins.reshape(n, m, 3)
    right, up = np.roll(grid, -1, 0), np.roll(grid, -1, 1)
    both = np.roll(right, -1, 1)
    upward = np.stack([grid, right, up], axis=2)
    downward = np.stack([right, both, up], axis=2)
    return np.concatenate([upward, downward]).reshape(-1, 3, 3)


def topological_charge(spins: np.ndarray, lattice: Lattice) -> float:
    """Sum of the solid angles of all triangles over 4π (Berg and Lüscher)."""
    a, b, c = triangles(spins, lattice).transpose(1, 0, 2)
    triple = (a * np.cross(b, c)).sum(-1)
    scalar = 1 + (a * b).sum(-1) + (b * c).sum(-1) + (c * a).sum(-1)
    return float(2 * np.arctan2(triple, scalar).sum() / (4 * np.pi))


def test_a_spiral_turns_by_its_wavevector_about_its_axis():
    lattice = chain(12)
    spins = Spiral(["1/12"], axis=[1, 0, 0], reference=[0, 0, 2]).spins(lattice)
    angle = 2 * np.pi * np.arange(12) / 12
    exact = np.stack([np.zeros(12), -np.sin(angle), np.cos(angle)], axis=-1)
    assert abs(spins - exact).max() < 1e-15


def test_a_cone_keeps_its_component_along_the_axis():
    spins = Spiral(["1/8"], reference=[1, 0, 1]).spins(chain(8))
    assert abs(spins[:, 2] - 0.5**0.5).max() < 1e-15
    assert abs(np.linalg.norm(spins, axis=1) - 1).max() < 1e-15


@pytest.mark.parametrize(
    ("order", "lattice", "product"),
    [
        (Spiral([0, 0]), square(3), 1.0),
        (stripes(["1/2", "1/2"], [1, 2, 3]), square(4), -1.0),
        (Spiral(["1/3", "-1/3"]), triangular(3), -0.5),
        (tetrahedral(), triangular(2), -1 / 3),
        (double_q(["1/2", 0]), square(2), 0.0),
        (Spiral([0, 0], reference=[[0, 0, 1], [0, 0, -1]]), honeycomb(2), -1.0),
        (
            Spiral([0, 0], reference=[[2, 0, 0], [-1, 3**0.5, 0], [-1, -(3**0.5), 0]]),
            kagome(2),
            -0.5,
        ),
    ],
    ids=["ferromagnet", "neel", "120", "tetrahedral", "90", "honeycomb-neel", "kagome-120"],
)
def test_neighbors_have_the_scalar_product_of_the_order(order, lattice, product):
    # A lattice larger than one magnetic cell, so that all bonds exist.
    large = lattice.with_extent(*(3 * n for n in lattice.extent))
    assert abs(products(order.spins(large), large) - product).max() < 1e-14


@pytest.mark.parametrize("sign", [1, -1])
def test_all_triangles_of_the_tetrahedral_order_have_its_chirality(sign):
    lattice = triangular(4)
    a, b, c = triangles(tetrahedral(sign).spins(lattice), lattice).transpose(1, 0, 2)
    chirality = (a * np.cross(b, c)).sum(-1)
    assert abs(chirality - sign * 4 / 3**1.5).max() < 1e-14


def test_magnetic_cells_hold_the_topological_charge_of_the_order():
    lattice = triangular(24)
    # Four magnetic cells: 12 × 12 sites each.
    charge = {
        helicity: topological_charge(
            SkyrmionCrystal(["1/12", 0], helicity=helicity).spins(lattice), lattice
        )
        for helicity in (0.0, 90.0)
    }
    assert charge == pytest.approx({0.0: charge[0.0], 90.0: charge[0.0]}, abs=1e-9)
    assert abs(charge[0.0]) == pytest.approx(4, abs=1e-9)
    down = SkyrmionCrystal(["1/12", 0], magnetization=-0.5).spins(lattice)
    assert topological_charge(down, lattice) == pytest.approx(-charge[0.0], abs=1e-9)
    # Phases away from zeros of all three waves on a site.
    triple = triple_q(["1/12", 0], phases=[0, 10, 20]).spins(lattice)
    assert abs(topological_charge(triple, lattice)) == pytest.approx(8, abs=1e-9)


def test_the_core_of_a_skyrmion_points_down_in_a_background_that_points_up():
    lattice = triangular(12)
    spins = SkyrmionCrystal(["1/12", 0], magnetization=1.0).spins(lattice)
    assert spins[0, 2] == pytest.approx(-1)
    assert spins[:, 2].max() == pytest.approx(1, abs=0.01)
    # Bloch: spins near the core are perpendicular to the vector from the core.
    assert spins[lattice.site_index((1, 0)), :2] @ [1, 0] == pytest.approx(0, abs=1e-12)


def test_orders_are_described_and_built_again():
    for order in (Spiral(["1/3", "-1/3"]), tetrahedral(), SkyrmionCrystal(["1/6", 0])):
        assert build(describe(order), SpinOrder) == order


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spiral(["1/3"]).spins(chain(4)), r"wavevector \(1/3\) must fit"),
        (lambda: Spiral(["1/3"]).spins(square(3)), "must have 2 fractions"),
        (lambda: Spiral("1/3"), "must be a list of fractions"),
        (lambda: Spiral(["x"]), "a coordinate must be a finite number or a fraction"),
        (lambda: Spiral([0], axis=[0, 0, 0]), "axis must not be zero"),
        (lambda: Spiral([0], reference=[1, 0]), "reference must hold three numbers"),
        (lambda: Spiral([0, 0], reference=[[0, 0, 1]]).spins(kagome(2)), "one for each of the 3"),
        (lambda: stripes(["1/3"]), "must consist of 0 and 1/2"),
        (lambda: stripes(["1/2"], [0, 0, 0]), "direction must not be zero"),
        (lambda: tetrahedral().spins(square(4)), "must be of equal length"),
        (lambda: tetrahedral(2), "chirality must be 1 or -1"),
        (lambda: triple_q(["1/2"]), "must have 2 fractions"),
        (lambda: triple_q(["1/2", 0], [0]), "phases must be 3 angles"),
        (lambda: SkyrmionCrystal([0, 0]), "must not be zero"),
        (lambda: PlaneWaves([[0]], []), "must be equally many"),
        (lambda: PlaneWaves([["1/4"]], [[1, 0, 0]]).spins(chain(4)), "must not cancel"),
    ],
)
def test_orders_that_do_not_exist_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_an_open_axis_holds_any_wavevector():
    spins = Spiral(["1/3"]).spins(chain(4, periodic=False))
    assert abs((spins[:-1] * spins[1:]).sum(-1) + 0.5).max() < 1e-15
