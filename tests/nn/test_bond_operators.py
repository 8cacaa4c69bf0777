"""Sums over neighbors and bonds as sparse matrices: compared with the edges; symmetry."""

import pytest
import torch

from lattgnn.graph import apply_operation, lattice_graph
from lattgnn.lattice import chain, honeycomb, kagome, lieb, site_permutations, square
from lattgnn.nn.bond_operators import bond_ends, bond_sums, degrees, neighbor_sum

LATTICES = [chain(7), square(6, periodic=[True, False]), honeycomb(5), kagome(4), lieb(4)]


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_sums_over_neighbors_are_those_of_the_edges(lattice, rng):
    graph = lattice_graph(lattice, 1.0, torch.float64)
    assert graph.edge_index is not None
    source, destination = graph.edge_index
    x = torch.randn(lattice.n_sites, 2, 3, generator=rng, dtype=torch.float64)
    expected = torch.zeros_like(x).index_add(0, destination, x[source])
    torch.testing.assert_close(neighbor_sum(graph)(x), expected, rtol=0, atol=1e-12)
    counts = torch.bincount(destination, minlength=lattice.n_sites)
    assert degrees(graph).flatten().equal(counts.clamp(min=1).double())
    start, end = (ends(x) for ends in bond_ends(graph, 1.0))
    assert start.equal(x[source]) and end.equal(x[destination])


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_sums_commute_with_every_operation(lattice, rng):
    graph = lattice_graph(lattice, 1.0, torch.float64)
    field = torch.randn(2, lattice.n_sites, generator=rng, dtype=torch.float64)

    def summed(values):
        return neighbor_sum(graph)(values.T[..., None])[..., 0].T

    for permutation in site_permutations(lattice):
        moved = summed(apply_operation(field, permutation))
        expected = apply_operation(summed(field), permutation)
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


def test_bond_sums_have_unit_variance():
    graph = lattice_graph(square(6), 1.5, torch.float64)
    sums = bond_sums(graph, 1.5)
    squares = sums.matrix.to_dense().square().sum(1)
    torch.testing.assert_close(squares, torch.ones_like(squares))
