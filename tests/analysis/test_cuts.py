"""Cuts of S(q) along lines of high symmetry."""

from dataclasses import replace

import numpy as np
import pytest

from lattgnn.analysis import structure_factor, structure_factor_cut, wavevectors, zone_path
from lattgnn.lattice import (
    Lattice,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    square,
    staggered_square,
    triangular,
)


@pytest.mark.parametrize(
    ("lattice", "names", "lengths"),
    [
        (chain(8), "Γ X", [1.0]),
        (square(8), "Γ X M Γ", [1.0, 1.0, 2**0.5]),
        (triangular(6), "Γ M K Γ", [2 / 3**0.5, 2 / 3, 4 / 3]),
        (honeycomb(6), "Γ M K Γ", [2 / 3, 2 / 27**0.5, 4 / 27**0.5]),
        (kagome(6), "Γ M K Γ", [1 / 3**0.5, 1 / 3, 2 / 3]),
        (cubic(4), "Γ X M R Γ", [1.0, 1.0, 1.0, 3**0.5]),
        (Lattice([[1, 0], [0, 2]], [[0, 0]], [4, 4]), "Γ X S Γ", [0.5, 1.0, 1.25**0.5]),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_paths_of_known_zones(lattice, names, lengths):
    path = zone_path(lattice)
    assert " ".join(path.names) == names
    steps = np.linalg.norm(np.diff(path.points, axis=0), axis=1) / np.pi
    np.testing.assert_allclose(steps, lengths, rtol=1e-9)


def test_the_path_does_not_depend_on_the_cell():
    skew = Lattice([[1, 0], [7, 1]], [[0, 0]], [6, 6])
    np.testing.assert_allclose(
        np.linalg.norm(zone_path(skew).points, axis=1),
        np.linalg.norm(zone_path(square(6)).points, axis=1),
    )


@pytest.mark.parametrize(
    ("labeled", "plain"),
    [
        (staggered_square(8), square(8)),
        (shastry_sutherland(4), square(8)),
        (Lattice([[2.0]], [[0], ["1/2"]], 6, site_labels=["A", "B"]), chain(12)),
        (replace(honeycomb(6), site_labels=("B", "N")), honeycomb(6)),
        (Lattice([[2, 1], [0, 1]], [[0, 0], ["1/2", "1/2"]], [4, 8]), square(8)),
    ],
    ids=["staggered", "Shastry-Sutherland", "chain", "boron nitride", "two sites per cell"],
)
def test_labels_do_not_change_the_zone(labeled, plain):
    """A cut through a lattice with a staggered potential still meets the checkerboard's peak."""
    path, expected = zone_path(labeled), zone_path(plain)
    assert path.names == expected.names
    np.testing.assert_allclose(path.points, expected.points, atol=1e-12)
    field = np.random.default_rng(1).normal(size=labeled.n_sites)
    if labeled.bipartite_signs is not None and plain.n_sublattices == 1:
        field = labeled.bipartite_signs
    cut = structure_factor_cut(field, labeled)
    if plain.n_sublattices == 1:  # the peak, N, at M (or X of the chain) and nowhere else
        corner = min(2, len(path.names) - 1)
        peak = np.isclose(cut.position, cut.corners[corner])
        np.testing.assert_allclose(cut.structure[peak], labeled.n_sites)
        np.testing.assert_allclose(cut.structure[~peak], 0, atol=1e-10)


@pytest.mark.parametrize(
    "lattice", [square(8), square(9), triangular(6), cubic(4), chain(10)], ids=lambda x: x.name
)
def test_a_cut_has_the_values_of_the_map(lattice):
    """On a Bravais lattice each value is a mean over equivalent wavevectors of one zone."""
    field = np.random.default_rng(0).normal(size=(3, lattice.n_sites))
    structure = structure_factor(field, lattice)
    cut = structure_factor_cut(field, lattice)
    assert cut.structure.shape == (3, len(cut.position)) and np.all(np.diff(cut.position) > 0)
    np.testing.assert_allclose(cut.structure[:, 0], structure.reshape(3, -1)[:, 0])  # Γ
    assert np.all(cut.structure <= structure.reshape(3, -1).max(axis=1, keepdims=True) + 1e-9)


def test_a_cut_through_a_symmetric_structure_factor_is_the_function_itself():
    """S(q) of a single site is 1/N everywhere; that of a plus is known in closed form."""
    lattice = square(12)
    field = np.zeros(lattice.n_sites)
    field[0] = 1.0
    np.testing.assert_allclose(structure_factor_cut(field, lattice).structure, 1 / 144)
    for step in ([1, 0], [-1, 0], [0, 1], [0, -1]):
        field[lattice.site_index(np.array(step) % 12)] = 1.0
    cut = structure_factor_cut(field, lattice)
    inside = cut.position <= np.pi + 1e-9  # from Γ to X, q = (x, 0)
    expected = (1 + 2 * np.cos(cut.position[inside]) + 2) ** 2 / 144
    np.testing.assert_allclose(cut.structure[inside], expected, atol=1e-12)


def test_a_basis_has_its_own_phases():
    """Two equal sites per cell of the Lieb lattice cancel where their phases are opposite."""
    lattice = lieb(4)
    field = (lattice.sublattices == 1).astype(float) + (lattice.sublattices == 2)
    cut = structure_factor_cut(field, lattice)
    q = wavevectors(lattice)
    assert cut.structure[0] == pytest.approx(field.sum() ** 2 / lattice.n_sites)
    np.testing.assert_allclose(cut.structure[1:-1], 0, atol=1e-12)
    assert q.shape == (4, 4, 2)
