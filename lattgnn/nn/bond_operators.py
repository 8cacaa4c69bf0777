"""Sparse matrices between sites and bonds: values at bond ends, and sums over incoming bonds."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.graph import LatticeGraph, graph_operator
from lattgnn.lattice import bond_orbits
from lattgnn.nn.kernel_operators import class_size, place_in_class, sparse_map
from lattgnn.nn.sparse_map import SparseMap
from lattgnn.symmetry import site_class_index


@graph_operator
def bond_ends(graph: LatticeGraph, cutoff: float) -> tuple[SparseMap, SparseMap]:
    """Values at the sources and at the destinations of all bonds: rows by bond, columns by site."""
    bonds = graph.lattice.bonds(cutoff)
    rows, ones = np.arange(len(bonds)), np.ones(len(bonds))
    shape = (len(bonds), graph.lattice.n_sites)
    sources = sparse_map(graph, [(rows, bonds.source, ones)], shape)
    return sources, sparse_map(graph, [(rows, bonds.destination, ones)], shape)


@graph_operator
def bond_sums(graph: LatticeGraph, cutoff: float) -> SparseMap:
    """Sums over the incoming bonds of each orbit.

    The rows are ordered by orbit, then by destination site within its class. They are scaled so
    that independent bond values of variance one give sums of variance one.
    """
    lattice, entries, n_rows = graph.lattice, [], 0
    bonds = lattice.bonds(cutoff)
    for orbit in bond_orbits(lattice, cutoff).orbits:
        number = site_class_index(lattice.cell, orbit.destination_sublattice)
        chosen = np.flatnonzero(bonds.orbit == orbit.index)
        rows = n_rows + place_in_class(graph, number, bonds.destination[chosen])
        entries.append((rows, chosen, np.full(len(rows), orbit.multiplicity**-0.5)))
        n_rows += class_size(graph, number)
    return sparse_map(graph, entries, (n_rows, len(bonds)))


@graph_operator
def neighbor_sum(graph: LatticeGraph) -> SparseMap:
    """The sum over all bonds of the graph that end on a site."""
    bonds = graph.lattice.bonds(graph.cutoff)
    n_sites = graph.lattice.n_sites
    entries = (bonds.destination, bonds.source, np.ones(len(bonds)))
    return sparse_map(graph, [entries], (n_sites, n_sites))


@graph_operator
def degrees(graph: LatticeGraph) -> Float[Tensor, "n_sites 1 1"]:
    """The number of bonds of the graph that end on each site, at least 1."""
    counts = np.bincount(
        graph.lattice.bonds(graph.cutoff).destination, minlength=graph.lattice.n_sites
    )
    return torch.from_numpy(counts.clip(min=1)).to(graph.device, graph.dtype)[:, None, None]
