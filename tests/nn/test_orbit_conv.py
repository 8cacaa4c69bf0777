"""The orbit convolution: fast path against PyG's gather and scatter, its backward, its symmetry."""

import pytest
import torch

from lattgnn.graph import lattice_graph, orbit_matrices
from lattgnn.lattice import bond_orbits, honeycomb, kagome, lieb, site_permutations, square, triangular
from lattgnn.nn import OrbitConv

LATTICES = [
    square(6),
    triangular(6),
    honeycomb(5),
    kagome(4),
    lieb(4),
    square(extent=[7, 6], periodic=[True, False]),
]
CUTOFF = 2.3


def make_conv(lattice, in_channels=3, out_channels=4):
    torch.manual_seed(0)
    multiplicities = tuple(orbit.multiplicity for orbit in bond_orbits(lattice, CUTOFF).orbits)
    return OrbitConv(in_channels, out_channels, multiplicities).double()


@pytest.mark.aggregation
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_sparse_products_equal_gather_and_scatter(lattice, rng):
    conv, graph = make_conv(lattice), lattice_graph(lattice, CUTOFF)
    x = torch.randn(lattice.n_sites, 2, 3, generator=rng, dtype=torch.float64)
    fast = conv(x, orbit_matrices(lattice, CUTOFF, torch.float64))
    torch.testing.assert_close(fast, conv(x, graph.edge_index, graph.edge_type), rtol=1e-12, atol=1e-12)


@pytest.mark.aggregation
def test_gradients_of_both_paths_agree_to_second_order(rng):
    """Lieb has orbits whose reverse is another orbit: a transpose forgotten would show."""
    lattice = lieb(4)
    conv, graph = make_conv(lattice), lattice_graph(lattice, CUTOFF)
    matrices = orbit_matrices(lattice, CUTOFF, torch.float64)
    assert any(o != back for o, back in enumerate(matrices.reverse))
    x = torch.randn(lattice.n_sites, 2, 3, generator=rng, dtype=torch.float64)
    results = []
    for arguments in [(matrices,), (graph.edge_index, graph.edge_type)]:
        leaf = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(conv(leaf, *arguments).sin().sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad((first**2).sum(), leaf)
        results.append((first.detach(), second))
    torch.testing.assert_close(results[0], results[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_commutes_with_every_operation(lattice, rng):
    conv, graph = make_conv(lattice), orbit_matrices(lattice, CUTOFF, torch.float64)
    x = torch.randn(lattice.n_sites, 1, 3, generator=rng, dtype=torch.float64)
    y = conv(x, graph)
    for permutation in torch.from_numpy(site_permutations(lattice)):
        moved = torch.empty_like(x).index_copy(0, permutation, x)
        expected = torch.empty_like(y).index_copy(0, permutation, y)
        torch.testing.assert_close(conv(moved, graph), expected, rtol=0, atol=1e-12)


def test_edge_index_without_edge_type_is_refused():
    graph = lattice_graph(square(6), CUTOFF)
    with pytest.raises(TypeError, match="edge_type"):
        make_conv(square(6))(torch.zeros(36, 1, 3, dtype=torch.float64), graph.edge_index)
