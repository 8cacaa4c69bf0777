"""Electronic energies of perfect orders: diagonalization in real space against momentum space.

In momentum space the spins of an order couple the momenta that differ by its wavevectors. The
matrices are made here from the dispersion and the Fourier components of the spins in plain numpy.
"""

from itertools import product

import numpy as np
import pytest
import torch

from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange
from lattgnn.lattice import Lattice, square, triangular
from lattgnn.solvers import ExactDiagonalization
from lattgnn.spin_orders import (
    SkyrmionCrystal,
    SpinOrder,
    Spiral,
    double_q,
    stripes,
    tetrahedral,
    triple_q,
)

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def triangular_band(x: np.ndarray, y: np.ndarray, t1: float, t3: float) -> np.ndarray:
    """Dispersion of first and third neighbors; x and y are k·a_1 and k·a_2."""
    first = np.cos(x) + np.cos(y) + np.cos(x - y)
    return -2 * t1 * first - 2 * t3 * (np.cos(2 * x) + np.cos(2 * y) + np.cos(2 * x - 2 * y))


def square_band(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Dispersion of nearest neighbors."""
    return -2 * (np.cos(x) + np.cos(y))


def momentum_levels(order: SpinOrder, lattice: Lattice, cell: int, band, J: float) -> np.ndarray:
    """Levels from blocks of the momenta that a magnetic cell of cell × cell sites couples."""
    n, m = lattice.extent
    spins = order.spins(lattice.with_extent(cell, cell)).reshape(cell, cell, 3)
    components = np.fft.fft2(spins, axes=(0, 1)) / cell**2  # S(G) = mean of S exp(−iG·r)
    index = np.arange(cell)
    shift = (index[:, None] - index) % cell
    # Coupling of G' to G: S(G − G'), for both axes.
    coupled = components[shift[:, None, :, None], shift[None, :, None, :]]
    coupled = coupled.reshape(cell**2, cell**2, 3)
    spin_part = np.einsum("abk,kst->asbt", coupled, PAULI).reshape(2 * cell**2, -1)
    g1, g2 = (g.ravel() * 2 * np.pi / cell for g in np.meshgrid(index, index, indexing="ij"))
    found = []
    for k1, k2 in product(range(n // cell), range(m // cell)):
        energies = band(g1 + 2 * np.pi * k1 / n, g2 + 2 * np.pi * k2 / m)
        found.append(np.linalg.eigvalsh(np.diag(np.repeat(energies, 2)) - J * spin_part))
    return np.sort(np.ravel(found))


def spiral_levels(wavevector, lattice: Lattice, band, J: float) -> np.ndarray:
    """The closed form (ε_k + ε_{k+Q})/2 ± √((ε_k − ε_{k+Q})²/4 + J²)."""
    axes = (2 * np.pi * np.arange(n) / n for n in lattice.extent)
    x, y = (k.ravel() for k in np.meshgrid(*axes, indexing="ij"))
    near = band(x, y)
    far = band(x + 2 * np.pi * wavevector[0], y + 2 * np.pi * wavevector[1])
    middle, gap = (near + far) / 2, np.sqrt((near - far) ** 2 / 4 + J**2)
    return np.sort(np.concatenate([middle - gap, middle + gap]))


def lowest(levels: np.ndarray, filling: float) -> float:
    """Energy per site at zero temperature; there are two levels per site."""
    n_electrons = round(filling * len(levels))
    return float(levels[:n_electrons].sum()) / (len(levels) / 2)


def diagonalized(order: SpinOrder, model: DoubleExchange, filling: float) -> float:
    """Energy per site from the package."""
    exact = ExactForceField(model, ExactDiagonalization(kT=0.0, filling=filling))
    spins = torch.from_numpy(order.spins(model.lattice))
    return float(exact.electronic(spins)[0]) / model.lattice.n_sites


ORDERS: dict[str, tuple[SpinOrder, int]] = {
    "ferromagnet": (Spiral([0, 0]), 1),
    "stripes": (stripes(["1/2", 0]), 2),
    "120": (Spiral(["1/3", "-1/3"]), 3),
    "tetrahedral": (tetrahedral(), 2),
    "spiral": (Spiral(["1/6", 0], axis=[1, 2, 0], reference=[0, 0, 1]), 6),
    "triple-Q": (triple_q(["1/6", 0], phases=[0, 20, 40]), 6),
    "skyrmions": (SkyrmionCrystal(["1/6", 0]), 6),
}
MODELS = {"t1": ([1.0], 3.0), "t1-t3": ([1.0, 0.0, -0.85], 1.0)}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("order", ORDERS)
def test_energies_of_orders_on_the_triangular_lattice(order, model):
    lattice, (t, J) = triangular(6), MODELS[model]
    t3 = t[2] if len(t) == 3 else 0.0

    def band(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return triangular_band(x, y, t[0], t3)

    state, cell = ORDERS[order]
    levels = momentum_levels(state, lattice, cell, band, J)
    for filling in (0.25, 0.5, 0.75):
        found = diagonalized(state, DoubleExchange(lattice, t=t, J=J), filling)
        assert found == pytest.approx(lowest(levels, filling), abs=1e-9)


@pytest.mark.parametrize("wavevector", [(0, 0), (1 / 2, 0), (1 / 3, -1 / 3), (1 / 6, 1 / 2)])
def test_energies_of_spirals_in_closed_form(wavevector):
    lattice = triangular(6)
    levels = spiral_levels(wavevector, lattice, lambda x, y: triangular_band(x, y, 1.0, 0.0), 2.0)
    for filling in (0.25, 0.5, 0.75):
        found = diagonalized(Spiral(wavevector), DoubleExchange(lattice, J=2.0), filling)
        assert found == pytest.approx(lowest(levels, filling), abs=1e-9)


@pytest.mark.parametrize(
    ("order", "cell"),
    [(stripes(["1/2", "1/2"]), 2), (stripes(["1/2", 0]), 2), (double_q(["1/2", 0]), 2)],
    ids=["neel", "stripes", "90"],
)
def test_energies_of_orders_on_the_square_lattice(order, cell):
    lattice = square(6)
    levels = momentum_levels(order, lattice, cell, square_band, 3.5)
    for filling in (0.25, 0.5):
        found = diagonalized(order, DoubleExchange(lattice), filling)
        assert found == pytest.approx(lowest(levels, filling), abs=1e-9)


def test_the_orders_of_the_papers_are_lowest_at_their_fillings():
    """On the triangular lattice: 120° at half filling, tetrahedral at quarter filling."""
    lattice = triangular(12)

    def band(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return triangular_band(x, y, 1.0, 0.0)

    for filling, J, expected in ((0.5, 4.0, "120"), (0.25, 2.0, "tetrahedral")):
        energies = {
            name: lowest(momentum_levels(order, lattice, cell, band, J), filling)
            for name, (order, cell) in ORDERS.items()
        }
        assert min(energies, key=lambda name: energies[name]) == expected, energies
