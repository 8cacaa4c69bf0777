"""Every analysis gives the same answer for one crystal, however it is written.

The right values are those of the usual cell; other tests compare these
with direct sums.
"""

import numpy as np
import pytest
from hypothesis import given, strategies

from lattgnn import analysis
from lattgnn.lattice import Lattice, chain, cubic, honeycomb, site_permutations, square, triangular
from tests.same_crystal import EXAMPLES, rewrite, ways_to_write

SEEDS = strategies.integers(0, 10**6)


def fields(case, seed, shape=(2,)):
    """One random field, on the sites of the usual cell and on those of the other."""
    field = np.random.default_rng(seed).normal(size=(*shape, case.plain.n_sites))
    return field, field[..., case.site]


@given(ways_to_write(), SEEDS)
@EXAMPLES
def test_correlations(way, seed):
    case = rewrite(way, 4 if way[0] is cubic else 6)
    field, other_field = fields(case, seed)
    r, values = analysis.radial_correlation(field, case.plain)
    other_r, other_values = analysis.radial_correlation(other_field, case.other)
    np.testing.assert_allclose(other_r, case.scale * r, rtol=1e-9)
    np.testing.assert_allclose(other_values, values, atol=1e-12)
    np.testing.assert_allclose(
        analysis.nearest_neighbor_correlation(other_field, case.other),
        analysis.nearest_neighbor_correlation(field, case.plain),
        rtol=1e-9,
    )
    length = analysis.domain_length(r, values**2)
    other_length = analysis.domain_length(other_r, other_values**2)
    np.testing.assert_allclose(other_length, case.scale * length, rtol=1e-9)
    assert analysis.shortest_side(case.other) == pytest.approx(
        case.scale * analysis.shortest_side(case.plain)
    )


@given(ways_to_write((square, triangular, cubic)), SEEDS)
@EXAMPLES
def test_structure_factors_rings_and_lengths(way, seed):
    case = rewrite(way)
    field, other_field = fields(case, seed)
    structure = analysis.structure_factor(field, case.plain)
    other = analysis.structure_factor(other_field, case.other)
    k, rings = analysis.radial_average(structure, case.plain)
    other_k, other_rings = analysis.radial_average(other, case.other)
    np.testing.assert_allclose(case.scale * other_k, k, rtol=1e-9)
    np.testing.assert_allclose(other_rings, rings, rtol=1e-9)
    # π/2 is a wavenumber of the square lattice, so the limit is a tie.
    for limit in (None, np.pi / 2, np.pi):
        length = analysis.structure_factor_length(structure, case.plain, max_wavenumber=limit)
        scaled = limit and limit / case.scale
        other_length = analysis.structure_factor_length(other, case.other, max_wavenumber=scaled)
        np.testing.assert_allclose(other_length, case.scale * length, rtol=1e-9)


@given(ways_to_write(), SEEDS)
@EXAMPLES
def test_wavevectors_are_in_the_first_zone_and_have_their_structure_factor(way, seed):
    case = rewrite(way)
    field, other_field = fields(case, seed, ())
    q = analysis.wavevectors(case.other)
    lengths = np.sort(np.linalg.norm(q, axis=-1).ravel())
    right = np.sort(np.linalg.norm(analysis.wavevectors(case.plain), axis=-1).ravel())
    np.testing.assert_allclose(case.scale * lengths, right, rtol=1e-9, atol=1e-9)
    # The same wave on the usual positions, turned back; S does not depend on the origin.
    waves = np.exp(-1j * (case.scale * q @ case.turn) @ case.plain.positions.T)
    np.testing.assert_allclose(
        analysis.structure_factor(other_field, case.other),
        np.abs(waves @ field) ** 2 / case.plain.n_sites,
        atol=1e-6,
    )


@given(ways_to_write((square, honeycomb, cubic)), SEEDS)
@EXAMPLES
def test_checkerboard_order(way, seed):
    case = rewrite(way)
    field, other_field = fields(case, seed)
    sign = case.plain.bipartite_signs[case.site[0]]
    np.testing.assert_allclose(
        sign * analysis.checkerboard_order(other_field, case.other),
        analysis.checkerboard_order(field, case.plain),
        atol=1e-12,
    )
    np.testing.assert_allclose(
        sign * analysis.local_order(other_field, case.other),
        analysis.local_order(field, case.plain)[..., case.site],
        atol=1e-12,
    )
    if case.plain.n_sublattices == 1:
        q = analysis.checkerboard_wavevector(case.other)
        order = analysis.order_parameter(other_field, case.other, q)
        right = np.abs(analysis.checkerboard_order(field, case.plain))
        np.testing.assert_allclose(np.abs(order), right, atol=1e-9)
    else:
        with pytest.raises(ValueError, match="plane wave"):
            analysis.checkerboard_wavevector(case.other)


@given(ways_to_write(), SEEDS)
@EXAMPLES
def test_quench(way, seed):
    case = rewrite(way)
    frames, other_frames = fields(case, seed, (4, 2))
    times = np.arange(4.0)
    result = analysis.analyze_quench(times, frames, case.plain)
    other = analysis.analyze_quench(times, other_frames, case.other)
    for name, length in result.lengths.items():
        np.testing.assert_allclose(other.lengths[name], case.scale * length, rtol=1e-9)
    np.testing.assert_allclose(other.neighbor_correlation, result.neighbor_correlation, atol=1e-9)
    np.testing.assert_allclose(np.abs(other.order_parameter), np.abs(result.order_parameter))
    np.testing.assert_allclose(other.correlation, result.correlation, atol=1e-9)


@pytest.mark.parametrize(
    ("vectors", "basis"),
    [
        ([[1, 0], [0, 1]], [[0, 0]]),
        ([[1, 0], [1, 1]], [[0, 0]]),
        ([[1, 1], [0, 1]], [[0, 0]]),
        ([[1, 0], [0, 1.5]], [[0, 0]]),
        ([[1, 0], [1, 1.5]], [[0, 0]]),
        ([[2e-10, 0], [0, 2e-10]], [[0, 0], [0.5, 0], [0, 0.5], [0.5, 0.5]]),
        ([[2, 0], [0, 2]], [[0, 0], [0.5, 0], [0, 0.5]]),
        ([[1, 1], [1, -1]], [[0, 0], [0.5, 0.5]]),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1.5]], [[0, 0, 0]]),
        ([[1, 0, 0], [2, 1, 0], [-1, 2, 1]], [[0, 0, 0]]),
        ([[-1, 1, 1], [1, -1, 1], [1, 1, -1]], [[0, 0, 0]]),
        ([[1.7]], [[0]]),
        ([[2]], [[0], [0.5]]),
    ],
)
@pytest.mark.parametrize("periodic", [True, False])
def test_checkerboard_is_the_wave_of_its_wavevector(vectors, basis, periodic):
    lattice = Lattice(vectors, basis, [4] * len(vectors), periodic)
    q = analysis.checkerboard_wavevector(lattice)
    wave = np.exp(-1j * lattice.positions @ q)
    assert abs((lattice.bipartite_signs * wave).mean()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("vectors", [[[1, 0], [0, 1.5]], [[1, 0], [1, 1.5]], [[0, 1.5], [1, 0]]])
def test_chains_of_a_rectangular_lattice_alternate_among_each_other(vectors):
    lattice = Lattice(vectors, [[0, 0]], [4, 4])
    x, y = (lattice.positions / [1, 1.5]).round().astype(int).T
    assert (lattice.bipartite_signs == (-1) ** (x + y)).all()
    q = analysis.checkerboard_wavevector(lattice)
    np.testing.assert_allclose(np.abs(q), [np.pi, np.pi / 1.5])


def test_no_single_wavevector():
    with pytest.raises(ValueError, match="plane wave"):
        analysis.checkerboard_wavevector(Lattice([[1.0]], [[0], [0.45]], [6]))
    with pytest.raises(ValueError, match="must be bipartite"):
        analysis.checkerboard_wavevector(triangular(6))
    with pytest.raises(ValueError, match="must be bipartite"):
        analysis.checkerboard_wavevector(chain(5))


@pytest.mark.parametrize("a", [2.8665, 3.905, 5.43, np.pi, 1e-10])
@pytest.mark.parametrize("base", [triangular(6), honeycomb(4)], ids=lambda x: x.name)
def test_neighbor_correlation_at_any_lattice_constant(base, a):
    field = np.cos(base.positions[:, 0]) + np.random.default_rng(0).normal(size=base.n_sites)
    bonds = base.bonds(1.0)
    right = (field[bonds.source] * field[bonds.destination]).mean() / (field**2).mean()
    lattice = Lattice(a * np.array(base.primitive_vectors), base.basis, base.extent)
    assert analysis.nearest_neighbor_correlation(field, lattice) == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize(
    ("lattice", "limit"),
    [(square(12, 18), np.pi), (triangular(12), np.pi), (triangular(16), np.pi / 2)],
    ids=lambda x: getattr(x, "name", ""),
)
def test_ties_of_rings_and_limits_do_not_depend_on_rounding(lattice, limit):
    field = np.random.default_rng(1).normal(size=lattice.n_sites)
    turned = analysis.structure_factor(field[site_permutations(lattice)], lattice)
    rings = analysis.radial_average(turned, lattice)[1]
    lengths = analysis.structure_factor_length(turned, lattice, max_wavenumber=limit)
    assert np.ptp(rings, axis=0).max() < 1e-9 and np.ptp(lengths) < 1e-9


def test_a_skew_torus_has_the_images_and_the_zone_of_its_lattice():
    skew = Lattice([[1, 0], [5, 1]], [[0, 0]], [8, 8])  # as a torus, 8 × 8 squares
    field = np.random.default_rng(0).normal(size=64)
    x, y = skew.positions.round().astype(int).T % 8
    grid = np.empty((8, 8))
    grid[x, y] = field
    r, values = analysis.radial_correlation(field, skew)
    right_r, right = analysis.radial_correlation(grid.ravel(), square(8))
    np.testing.assert_allclose(r, right_r)
    np.testing.assert_allclose(values, right, atol=1e-12)
    longest = np.linalg.norm(analysis.wavevectors(skew), axis=-1).max()
    assert longest == pytest.approx(np.pi * np.sqrt(2))
    other = Lattice([[1, 0], [4, 1]], [[0, 0]], [8, 6])  # its shortest period is (0, 6)
    assert analysis.radial_correlation(np.ones(48), other)[0][-1] == pytest.approx(3.0)


def test_one_cell_has_no_neighbors():
    with pytest.raises(ValueError, match="two sites at the distance of nearest neighbors"):
        analysis.nearest_neighbor_correlation(np.ones(1), cubic(1))
