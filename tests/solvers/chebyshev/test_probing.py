import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import cubic, honeycomb, kagome, square, triangular
from lattgnn.solvers.chebyshev.probing import probing_vectors

MODELS = [
    Holstein(square(9, 7, periodic=(True, False))),
    Holstein(kagome(4)),
    Peierls(triangular(8)),
    DoubleExchange(honeycomb(5)),
    JahnTeller(square(8)),
    Holstein(cubic(4)),
]


@pytest.mark.parametrize("distance", [1, 2, 5])
@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{type(m).__name__}-{m.lattice.name}")
def test_sites_of_a_color_are_far_apart(model, distance):
    n = model.n_states // model.lattice.n_sites
    rows, cols = model.rows.numpy() // n, model.cols.numpy() // n
    hops = shortest_path(csr_array((np.ones(len(rows)), (rows, cols))), unweighted=True)
    probes = probing_vectors(model, distance, 0, is_complex=True)
    assert set(probes.colors) == set(range(probes.n_colors))
    for color in range(probes.n_colors):
        sites = np.flatnonzero(probes.colors == color) // n
        between = hops[np.ix_(sites, sites)][~np.eye(len(sites), dtype=bool)]
        assert between.size == 0 or between.min() >= distance


@pytest.mark.parametrize(
    ("extents", "distance", "expected"),
    [
        ((16, 16), 4, 8),
        ((16, 16), 8, 32),
        ((20, 20), 10, 50),
        ((20, 20), 6, 20),  # the greedy coloring has 33 colors
        ((13, 13), 5, 13),  # a perfect code
    ],
)
def test_how_many_colors_the_square_lattice_needs(extents, distance, expected):
    model = Holstein(square(*extents))
    assert probing_vectors(model, distance, 0, is_complex=False).n_colors == expected


def test_phases_depend_on_seed_and_state_alone():
    small, large = (DoubleExchange(square(n)) for n in (4, 6))
    phases = [probing_vectors(model, 2, 3, is_complex=True).phases for model in (small, large)]
    np.testing.assert_array_equal(phases[0], phases[1][:32])
    np.testing.assert_allclose(np.abs(phases[1]), 1, rtol=1e-15)
    assert not np.array_equal(phases[0], probing_vectors(small, 2, 4, is_complex=True).phases)
    signs = probing_vectors(small, 2, 3, is_complex=False).phases
    assert set(signs) == {1, -1}


def test_first_phases_are_those_of_the_published_generator():
    """Philox-4×64-10 with key 0; numbers of this generator are part of our results."""
    raw = np.random.Philox(key=0).random_raw(4)
    phases = probing_vectors(DoubleExchange(square(4)), 2, 0, is_complex=True).phases
    np.testing.assert_allclose(phases[:4], np.exp(2j * np.pi * raw / 2.0**64), rtol=1e-15)
