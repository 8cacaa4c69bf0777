"""Multiple-Q decomposition, skyrmions, and the analysis of a run of spins."""

import numpy as np
import pytest

from lattgnn.analysis import analyze_spins, find_skyrmions, multi_q, wavevectors
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, chain, kagome, square, triangular
from lattgnn.spin_orders import SkyrmionCrystal, Spiral, double_q, stripes, tetrahedral, triple_q


def skyrmions(lattice: Lattice, centers: list, radii: list) -> np.ndarray:
    """Belavin–Polyakov skyrmions in a row: the sum of poles in the stereographic projection."""
    x, y = lattice.positions.T
    w = sum(r / (x + 1j * y - complex(*c)) for c, r in zip(centers, radii, strict=True))
    spins = np.stack([2 * w.real, 2 * w.imag, 1 - np.abs(w) ** 2], axis=-1)
    return spins / (1 + np.abs(w) ** 2)[:, None]


@pytest.mark.parametrize(
    ("order", "lattice", "weights"),
    [
        (Spiral(["1/3", "-1/3"]), triangular(6), [1.0]),
        (Spiral(["1/6", 0]), triangular(6), [1.0, 0, 0]),
        (stripes(["1/2", 0]), square(4), [1.0, 0]),
        (double_q(["1/2", 0]), square(4), [0.5, 0.5]),
        (tetrahedral(), triangular(4), [1 / 3] * 3),
        (Spiral([0, 0]), square(4), [1.0]),
        (Spiral([0, 0]), kagome(4), [1.0]),
    ],
)
def test_weights_of_perfect_orders(order, lattice, weights):
    found = multi_q(order.spins(lattice)[None], lattice)
    np.testing.assert_allclose(np.sort(found.weights[0])[::-1], weights, atol=1e-12)
    assert found.n_q[0] == pytest.approx(1 / np.square(weights).sum())


def test_amplitudes_give_the_spins_back():
    lattice = triangular(6)
    spins = tetrahedral().spins(lattice)
    found = multi_q(spins, lattice)
    waves = np.exp(1j * lattice.positions @ found.wavevectors.T)
    np.testing.assert_allclose(waves @ found.amplitudes[:, 0], spins, atol=1e-12)
    products = found.amplitudes[:, 0] @ found.amplitudes[:, 0].conj().T
    np.testing.assert_allclose(products, np.eye(3) / 3, atol=1e-12)


def test_a_uniform_magnetization_is_no_part_of_the_waves():
    lattice = triangular(12)
    spins = SkyrmionCrystal(["1/6", 0], magnetization=1.0).spins(lattice)
    mean = np.square(spins.mean(axis=0)).sum()
    q = wavevectors(lattice)[2, 0]
    for found in (multi_q(spins, lattice, q), multi_q(spins, lattice)):
        assert len(found.weights) == 3 and found.n_q == pytest.approx(3)
        assert 0.3 < found.weights.sum() < 1 - mean
        assert found.uniform == pytest.approx(mean, rel=1e-12)


def test_a_canted_antiferromagnet_is_told_from_a_ferromagnet():
    lattice, noise = square(8), np.random.default_rng(0).normal(size=(64, 3))
    staggered = lattice.bipartite_signs[:, None] * np.array([0.4, 0, 0])
    for waves, length in ((staggered, np.pi * np.sqrt(2)), (0.2 * noise, 0.0)):
        spins = np.array([0, 0, 1.0]) + waves
        spins /= np.linalg.norm(spins, axis=-1, keepdims=True)
        found = multi_q(spins, lattice)
        np.testing.assert_allclose(np.linalg.norm(found.wavevectors, axis=-1), [length])
        assert found.uniform > 0.8


def test_skyrmions_are_counted_and_measured():
    lattice = triangular(96)
    middle = lattice.positions.mean(axis=0)
    centers = [middle + [-18.2, 0.3], middle + [18.1, -0.4]]
    found = find_skyrmions(skyrmions(lattice, centers, [3.0, 6.0]), lattice)
    assert len(found) == 2
    np.testing.assert_allclose(found.radii, [6, 3], rtol=0.1)  # they deform each other a little
    np.testing.assert_allclose(np.abs(found.core_charges), 0.5, atol=0.02)
    distance = np.linalg.norm(lattice.positions[found.centers] - centers[::-1], axis=1)
    assert (distance < 1).all()


@pytest.mark.parametrize("lattice", [square(48), triangular(48), kagome(24)])
def test_the_radius_of_one_skyrmion(lattice):
    center = lattice.positions.mean(axis=0) + [0.13, 0.21]
    found = find_skyrmions(skyrmions(lattice, [center], [5.0]), lattice, np.array([0, 0, 2.0]))
    np.testing.assert_allclose(found.radii, [5.0], rtol=0.01)


def test_what_is_no_skyrmion_is_not_counted():
    lattice = square(12)
    spins = np.tile([0.0, 0.0, 1.0], (144, 1))
    assert len(find_skyrmions(spins, lattice)) == 0
    spins[40] *= -1  # a flipped spin has no charge
    assert len(find_skyrmions(spins, lattice)) == 0
    with pytest.raises(InputError, match="background"):
        find_skyrmions(lattice.bipartite_signs[:, None] * np.array([0, 0, 1.0]), lattice)


def test_chirality_domains_along_a_run():
    lattice = triangular(24)
    one, other = (tetrahedral(sign).spins(lattice) for sign in (1, -1))
    frames = []
    for width in (4, 12, 24):
        is_one = (lattice.cells[:, 0] // width) % 2 == 0
        frames.append(np.where(is_one[:, None], one, other))
    random = np.random.default_rng(0).normal(size=one.shape)
    frames.insert(0, random / np.linalg.norm(random, axis=-1, keepdims=True))
    result = analyze_spins(np.arange(4.0), np.stack(frames)[:, None], lattice)
    length = result.chirality_length[:, 0]
    assert np.isnan(length[0]) and 1 < length[1] < length[2] and np.isinf(length[3])
    assert result.scalar_chirality[3, 0] == pytest.approx(4 / (3 * np.sqrt(3)))
    assert abs(result.scalar_chirality[2, 0]) < 0.1 < 0.6 < result.chirality_strength[2, 0]
    assert result.n_q[3, 0] == pytest.approx(3) and len(result.wavevectors) == 3
    assert result.charge_per_cell[3, 0] == pytest.approx(0.5)
    assert result.structure.shape == (1, 3, 24, 24)


def test_orders_of_a_run_are_told_apart():
    lattice = triangular(12)
    crystal = SkyrmionCrystal(["1/6", 0], magnetization=1.0)
    orders = (Spiral(["1/3", "-1/3"]), triple_q(["1/6", 0], (7, 31, 11)), crystal)
    spins = np.stack([order.spins(lattice) for order in orders])[:, None]
    result = analyze_spins(np.arange(3.0), spins, lattice)
    np.testing.assert_allclose(result.vector_chirality[0], 1)
    np.testing.assert_allclose(result.vector_chirality_strength[0], 1)
    np.testing.assert_allclose(np.abs(result.topological_charge[:, 0]), [0, 8, 4], atol=1e-12)
    assert np.isnan(result.skyrmions[0, 0]) and result.skyrmions[2, 0] == 4
    assert 1 < result.skyrmion_radius[2, 0] < 3
    assert result.vortices[0, 0] == pytest.approx(2)


def test_runs_in_other_dimensions_are_refused():
    with pytest.raises(InputError, match="two dimensions"):
        analyze_spins(np.zeros(1), np.ones((1, 1, 4, 3)), chain(4))


def test_regions_of_120_degree_order_in_different_planes_are_local_order():
    """Left half in the x-y plane, right half in the y-z plane: their κ are perpendicular."""
    lattice = triangular(24)
    one = Spiral(["1/3", "-1/3"]).spins(lattice)
    other = Spiral(["1/3", "-1/3"], axis=(1, 0, 0), reference=(0, 1, 0)).spins(lattice)
    spins = np.where(lattice.cells[:, :1] < 12, one, other)
    result = analyze_spins(np.arange(1.0), spins[None, None], lattice)
    # The mean of two perpendicular unit vectors has the length 1/√2. The walls, two of 24 rows,
    # lower both numbers.
    assert result.vector_chirality[0, 0] == pytest.approx(0.5**0.5, abs=0.05)
    assert result.vector_chirality_strength[0, 0] == pytest.approx(1, abs=0.05)
