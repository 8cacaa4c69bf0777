"""Rashba coupling and magnetic flux: bands in closed form, the symmetry that is left."""

from itertools import product

import numpy as np
import pytest
import torch

from lattgnn.checks import check_model
from lattgnn.checks.symmetry import check_symmetry
from lattgnn.errors import InputError
from lattgnn.hamiltonians import DoubleExchange, Hamiltonian, Holstein
from lattgnn.lattice import chain, cubic, honeycomb, square, triangular
from lattgnn.serialize import build, describe
from lattgnn.solvers import ExactDiagonalization

SOLVER = ExactDiagonalization(kT=0.2, mu=-1.0)


def levels(model: Hamiltonian, field: torch.Tensor | None = None) -> np.ndarray:
    """Levels in a field, zero unless given."""
    zero = torch.zeros(model.field_shape, dtype=torch.float64)
    return np.linalg.eigvalsh(model.matrix(zero if field is None else field).numpy())


def test_rashba_bands_of_a_ferromagnet():
    """E = −2t (cos x + cos y) ± √(J² + 4λ² (sin² x + sin² y)) for spins along z."""
    lattice, bands = square(5, 6), []
    for n, m in product(range(5), range(6)):
        x, y = 2 * np.pi * n / 5, 2 * np.pi * m / 6
        gap = np.sqrt(1.2**2 + 4 * 0.4**2 * (np.sin(x) ** 2 + np.sin(y) ** 2))
        bands += [-2 * (np.cos(x) + np.cos(y)) + sign * gap for sign in (1, -1)]
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(30, 3)
    model = DoubleExchange(lattice, J=1.2, rashba=0.4)
    assert abs(levels(model, up) - np.sort(bands)).max() < 1e-12


def test_a_field_in_the_plane_shifts_the_rashba_bands():
    """−J σ_x adds to 2λ σ_x sin y − 2λ σ_y sin x, which fixes sign and direction."""
    lattice, bands = square(5, 6), []
    for n, m in product(range(5), range(6)):
        x, y = 2 * np.pi * n / 5, 2 * np.pi * m / 6
        gap = np.hypot(2 * 0.4 * np.sin(y) - 1.2, 2 * 0.4 * np.sin(x))
        bands += [-2 * (np.cos(x) + np.cos(y)) + sign * gap for sign in (1, -1)]
    along = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(30, 3)
    model = DoubleExchange(lattice, J=1.2, rashba=0.4)
    assert abs(levels(model, along) - np.sort(bands)).max() < 1e-12


def harper_levels(p: int, q: int, n: int, m: int) -> np.ndarray:
    """Levels of the square lattice of n × m sites with the flux p/q, from q × q matrices."""
    found = []
    for k, other in product(range(n // q), range(m)):
        x, y = 2 * np.pi * k / (n // q), 2 * np.pi * other / m
        matrix = np.diag(-2 * np.cos(y - 2 * np.pi * p / q * np.arange(q))).astype(complex)
        for row in range(q):
            hop = -np.exp(1j * x) if row == q - 1 else -1
            matrix[row, (row + 1) % q] += hop
            matrix[(row + 1) % q, row] += np.conj(hop)
        found.append(np.linalg.eigvalsh(matrix))
    return np.sort(np.ravel(found))


def test_hofstadter_levels():
    expected = harper_levels(1, 3, 6, 5)
    assert abs(levels(Holstein(square(6, 5), flux="1/3")) - expected).max() < 1e-12
    both = np.sort(np.concatenate([expected - 2, expected + 2]))
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(30, 3)
    model = DoubleExchange(square(6, 5), J=2.0, flux="1/3")
    assert abs(levels(model, up) - both).max() < 1e-12
    # The gauge does not fit the cells along one axis, the flux does fit the lattice.
    assert abs(levels(Holstein(square(5, 6), flux="1/3")) - expected).max() < 1e-12


@pytest.mark.parametrize(
    ("lattice", "loop", "cells"),
    [(square(4), 4, 1.0), (triangular(4), 3, 0.5), (honeycomb(4), 6, 1.0)],
    ids=lambda x: getattr(x, "name", None),
)
def test_loops_gain_the_flux_through_them(lattice, loop, cells):
    """Walks that turn left at each site go around one face, counterclockwise."""
    flux = 3 / lattice.n_cells
    matrix = Holstein(lattice, flux=flux).matrix(torch.zeros(lattice.n_sites).double()).numpy()
    hop = -matrix  # t = 1, so these are the phases
    bonds = lattice.bonds(lattice.neighbor_distance)
    ends = zip(bonds.source, bonds.destination, bonds.displacement, strict=True)
    following = {(j, *(step.round(6) + 0.0)): i for j, i, step in ends}
    turn = 2 * np.pi / loop
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    phases = []
    for start, step in zip(bonds.source, bonds.displacement, strict=True):
        phase, site, direction = 1.0, start, step
        for _ in range(loop):
            end = following[site, *(direction.round(6) + 0.0)]
            phase, site, direction = phase * hop[end, site], end, rotation @ direction
        assert site == start
        phases.append(phase)
    assert np.abs(np.array(phases) - np.exp(2j * np.pi * flux * cells)).max() < 1e-12


@pytest.mark.parametrize(
    "model",
    [
        DoubleExchange(square(4), rashba=0.4),
        DoubleExchange(triangular(4), t=[1.0, 0.0], rashba=0.4, J=2.0),
        DoubleExchange(honeycomb(4), rashba=0.4),
        DoubleExchange(chain(8), rashba=0.4),
        DoubleExchange(square(4), flux=0.25),
        DoubleExchange(triangular(4), flux=0.25),
        DoubleExchange(square(4), flux=0.25, rashba=0.4),
        Holstein(triangular(4), flux=0.25),
    ],
    ids=lambda model: f"{type(model).__name__}-{model.lattice.name}",
)
def test_the_declared_symmetry_is_that_of_the_model(model):
    result = check_symmetry(model, SOLVER)
    assert result.passed, result.message


def test_a_model_with_spin_orbit_coupling_passes_all_checks():
    for model in (DoubleExchange(square(4), rashba=0.4), Holstein(square(4), flux=0.25)):
        failed = [result for result in check_model(model, SOLVER) if not result.passed]
        assert not failed, failed


def test_models_are_described_and_built_again():
    model = DoubleExchange(square(6), rashba=[0.0, 0.2], flux="1/3")
    assert build(describe(model), Hamiltonian, square(6)) == model
    plain = describe(DoubleExchange(square(6)))["init_args"]
    assert set(plain) == {"t", "J"}
    assert "flux" not in describe(Holstein(square(6)))["init_args"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Holstein(square(4), flux="1/3"), "whole number of flux quanta"),
        (lambda: Holstein(chain(4), flux=0.5), "needs a lattice in the plane"),
        (lambda: Holstein(square(4), flux="x"), "flux: a coordinate must be"),
        (lambda: DoubleExchange(square(5), flux=0.5), "a multiple of 2"),
        (lambda: DoubleExchange(cubic(3), rashba=0.1), "rashba needs a lattice in the plane"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
