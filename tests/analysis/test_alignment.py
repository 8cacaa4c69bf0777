"""Alignment of spins with their neighbors, and the shares of phases that coexist."""

import numpy as np
import pytest

from lattgnn.analysis import alignment_shares, analyze_spins, spin_alignment
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, chain, honeycomb, kagome, square, triangular
from lattgnn.spin_orders import Spiral, tetrahedral

UP = np.array([0.0, 0.0, 1.0])


def slabs(lattice: Lattice, width: int) -> np.ndarray:
    """Slabs of a ferromagnet and of an antiferromagnet in turn, across the first axis."""
    is_uniform = lattice.cells[:, :1] // width % 2 == 0
    return np.where(is_uniform, 1, lattice.bipartite_signs[:, None]) * UP


@pytest.mark.parametrize("lattice", [chain(6), square(5, 4), honeycomb(3), kagome(3)])
def test_alignment_is_the_mean_over_nearest_neighbors(lattice):
    spins = np.random.default_rng(0).normal(size=(2, lattice.n_sites, 3))
    spins /= np.linalg.norm(spins, axis=-1, keepdims=True)
    bonds = lattice.bonds(lattice.neighbor_distance)
    expected = np.zeros((2, lattice.n_sites))
    for site in range(lattice.n_sites):
        neighbors = bonds.source[bonds.destination == site]
        products = np.einsum("rc,rnc->rn", spins[:, site], spins[:, neighbors])
        expected[:, site] = products.mean(axis=1)
    np.testing.assert_allclose(spin_alignment(spins, lattice), expected, atol=1e-14)


def test_alignment_of_perfect_orders():
    lattice = triangular(12)
    orders = {-1 / 2: Spiral(["1/3", "-1/3"]), -1 / 3: tetrahedral(), 1.0: Spiral([0, 0])}
    for expected, order in orders.items():
        aligned = spin_alignment(order.spins(lattice), lattice)
        np.testing.assert_allclose(aligned, expected, atol=1e-12)
        assert np.isnan(alignment_shares(aligned, lattice).length)  # the same on all sites


def test_shares_of_a_ferromagnet_beside_an_antiferromagnet():
    lattice = square(16, 8)
    shares = alignment_shares(spin_alignment(slabs(lattice, 8), lattice), lattice)
    # Beside a boundary a site has one neighbor in the other phase, which is parallel on every
    # second site: A = ±1 or ±1/2 in turn.
    assert shares.parallel == shares.antiparallel == pytest.approx(7 / 16)
    assert shares.intermediate == pytest.approx(2 / 16)


def test_the_length_grows_with_the_regions():
    lattice = square(64)
    aligned = np.stack([spin_alignment(slabs(lattice, width), lattice) for width in (8, 16)])
    lengths = alignment_shares(aligned, lattice).length
    np.testing.assert_allclose(lengths[1] / lengths[0], 2, rtol=0.1)


def test_shares_and_histogram_along_a_run():
    lattice = square(16, 8)
    random = np.random.default_rng(0).normal(size=(lattice.n_sites, 3))
    random /= np.linalg.norm(random, axis=-1, keepdims=True)
    frames = np.stack([random, slabs(lattice, 8)])[:, None]
    result = analyze_spins(np.arange(2.0), frames, lattice)
    np.testing.assert_allclose(result.parallel_share[1], 7 / 16)
    np.testing.assert_allclose(result.intermediate_share[1], 2 / 16)
    assert result.parallel_share[0, 0] < 0.15 and result.alignment_length[0, 0] < 1
    histogram = result.alignment_histogram[-1]
    assert histogram.sum() == pytest.approx(1)
    np.testing.assert_allclose(histogram[[0, -1]], 7 / 16)


def test_spins_of_another_lattice_are_refused():
    with pytest.raises(InputError, match=r"shape \[..., 16, 3\], got \[9, 3\]"):
        spin_alignment(np.ones((9, 3)), square(4))
