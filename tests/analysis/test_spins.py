"""Chirality, topological charge and vorticity of spins against closed forms."""

import numpy as np
import pytest

from lattgnn.analysis import (
    charge_density,
    chirality_length,
    scalar_chirality,
    spin_structure_factor,
    topological_charge,
    triangles,
    vector_chirality,
    vorticity,
)
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, chain, honeycomb, kagome, lieb, square, triangular
from lattgnn.spin_orders import SkyrmionCrystal, Spiral, tetrahedral, triple_q

SKEW = Lattice([[1.0, 0.0], [3.3, 1.2]], [[0, 0], ["1/3", "1/7"], ["1/2", "5/7"]], [4, 5])
LATTICES = [square(6, 5), triangular(6, 4), honeycomb(5, 4), kagome(4), lieb(4), SKEW]


def random_spins(*shape: int) -> np.ndarray:
    spins = np.random.default_rng(1).normal(size=(*shape, 3))
    return spins / np.linalg.norm(spins, axis=-1, keepdims=True)


def belavin_polyakov(lattice: Lattice, radius: float) -> np.ndarray:
    """w = (x + iy)/radius in the stereographic projection, in the middle of the lattice."""
    x, y = (lattice.positions - lattice.positions.mean(axis=0) - [0.113, 0.271]).T
    w = (x + 1j * y) / radius
    spins = np.stack([2 * w.real, 2 * w.imag, np.abs(w) ** 2 - 1], axis=-1)
    return spins / (1 + np.abs(w) ** 2)[:, None]


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_triangles_cover_the_lattice_once(lattice):
    found = triangles(lattice)
    assert len(found) == 2 * lattice.n_sites
    cell = abs(np.linalg.det(np.array(lattice.primitive_vectors)))
    np.testing.assert_allclose(found.areas.sum(), cell * lattice.n_cells)
    assert (found.areas > 0).all()
    # A closed oriented surface: each side is passed once in either direction.
    sides = np.concatenate([found.corners[:, [k, (k + 1) % 3]] for k in range(3)])
    codes, counts = np.unique(sides @ [lattice.n_sites, 1], return_counts=True)
    back, back_counts = np.unique(sides @ [1, lattice.n_sites], return_counts=True)
    np.testing.assert_array_equal(codes, back)
    np.testing.assert_array_equal(counts, back_counts)


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_the_charge_of_any_periodic_field_is_an_integer(lattice):
    charge = topological_charge(random_spins(2, 20, lattice.n_sites), lattice)
    assert charge.shape == (2, 20) and np.unique(charge.round()).size > 2
    assert np.abs(charge - charge.round()).max() < 1e-12


@pytest.mark.parametrize("make", [square, triangular, honeycomb, kagome, lieb])
def test_a_belavin_polyakov_skyrmion_has_unit_charge_on_any_mesh(make):
    lattice = make(24)
    spins = belavin_polyakov(lattice, 4.0)
    # Time reversal and the mirror image, an antiskyrmion, have the opposite charge.
    others = [-spins, spins * [1, -1, 1]]
    charges = topological_charge(np.stack([spins, *others]), lattice)
    np.testing.assert_allclose(charges, charges[0].round() * np.array([1, -1, -1]), atol=1e-12)
    assert abs(charges[0].round()) == 1


def test_the_density_of_a_skyrmion_is_that_of_the_continuum():
    """q(r) = ±(1/π) R²/(R² + r²)²: charge per area, triangle by triangle."""
    lattice, radius = triangular(60), 10.0
    found, spins = triangles(lattice), belavin_polyakov(triangular(60), radius)
    density = charge_density(spins, lattice) / found.areas
    middle = lattice.positions.mean(axis=0) + [0.113, 0.271]
    inner = np.linalg.norm(lattice.positions[found.corners] - middle, axis=-1).max(axis=1) < 15
    center = lattice.positions[found.corners[inner]].mean(axis=1) - middle
    exact = radius**2 / np.pi / (radius**2 + np.square(center).sum(axis=-1)) ** 2
    np.testing.assert_allclose(np.abs(density[inner]), exact, rtol=0.01)


def test_chirality_of_the_tetrahedral_order():
    lattice = triangular(6)
    for sign in (1, -1):
        chirality = scalar_chirality(tetrahedral(sign).spins(lattice), lattice)
        np.testing.assert_allclose(chirality, sign * 4 / (3 * np.sqrt(3)), atol=1e-14)
        # The four faces of the tetrahedron divide the sphere, so the solid angle of each is π.
        density = charge_density(tetrahedral(sign).spins(lattice), lattice)
        np.testing.assert_allclose(density, sign / 4, atol=1e-14)


def test_vector_chirality_of_the_120_degree_order():
    lattice = triangular(6)
    spins = Spiral(["1/3", "-1/3"]).spins(lattice)
    chirality = vector_chirality(spins, lattice)
    np.testing.assert_allclose(np.abs(chirality[:, 2]), 1, atol=1e-14)
    kinds = triangles(lattice).kinds
    np.testing.assert_allclose(chirality[kinds == 0, 2], -chirality[kinds == 1, 2])
    # In three sublattices that rotate by 120°, every triangle is a vortex or an antivortex.
    np.testing.assert_array_equal(vorticity(spins, lattice), chirality[:, 2].round())
    np.testing.assert_allclose(scalar_chirality(spins, lattice), 0, atol=1e-14)
    assert topological_charge(spins, lattice) == 0


def test_triple_q_and_skyrmion_crystals_have_their_charges_per_magnetic_cell():
    lattice = triangular(12)
    assert abs(topological_charge(triple_q(["1/6", 0], (7, 31, 11)).spins(lattice), lattice)) == (
        pytest.approx(2 * 4, abs=1e-12)
    )
    crystal = SkyrmionCrystal(["1/6", 0]).spins(lattice)
    assert abs(topological_charge(crystal, lattice)) == pytest.approx(4, abs=1e-12)


def test_vortices_on_a_periodic_lattice_cancel():
    lattice = triangular(16)
    winding = vorticity(random_spins(5, lattice.n_sites), lattice)
    np.testing.assert_array_equal(winding.sum(axis=-1), 0)
    assert np.unique(winding).tolist() == [-1, 0, 1]


def test_structure_factor_by_component():
    lattice = square(6)
    spins = random_spins(4, lattice.n_sites)
    structure = spin_structure_factor(spins, lattice)
    assert structure.shape == (4, 3, 6, 6)
    np.testing.assert_allclose(structure.sum(axis=(2, 3)), np.square(spins).sum(axis=1))
    waves = np.exp(-2j * np.pi / 6 * lattice.cells @ [1, 2])
    expected = np.abs(np.tensordot(spins, waves, axes=([1], [0]))) ** 2 / 36
    np.testing.assert_allclose(structure[:, :, 1, 2], expected)


def test_length_of_chirality_domains():
    """Stripes of width 12: C(r) along x falls linearly to one half, C(r) of rings a bit slower."""
    lattice = triangular(48)
    left, right = (tetrahedral(sign).spins(lattice) for sign in (1, -1))
    is_left = (lattice.cells[:, 0] // 12) % 2 == 0
    spins = np.where(is_left[:, None], left, right)
    assert 3 < float(chirality_length(spins, lattice)) < 6
    assert np.isnan(chirality_length(left, lattice))


def test_other_lattices_and_shapes_are_refused():
    with pytest.raises(InputError, match="two dimensions"):
        triangles(chain(4))
    with pytest.raises(InputError, match=r"shape \[\.\.\., 16, 3\]"):
        scalar_chirality(np.ones((15, 3)), square(4))


def test_open_boundaries_leave_triangles_out():
    lattice = square(5, periodic=False)
    assert len(triangles(lattice)) == 2 * 16
    spins = belavin_polyakov(square(41, periodic=False), 2.0)
    # All but the part of the sphere beyond the boundary, of the order of (radius/20)².
    assert abs(topological_charge(spins, square(41, periodic=False))) == pytest.approx(1, abs=0.02)
