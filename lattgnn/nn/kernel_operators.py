"""Equivariant kernels on a finite lattice as sparse matrices.

They hold the geometry of a layer, without its weights. Rows and columns of a block of channels are
numbered by the site within its class, then by component (fastest).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.graph import LatticeGraph, graph_operator
from lattgnn.lattice import Lattice
from lattgnn.nn.sparse_map import Entries, SparseMap
from lattgnn.symmetry import SiteType, orbit_kernels, site_classes

UnitCellBond = tuple[int, int, tuple[int, ...]]
"""(source sublattice, destination sublattice, cell of the destination minus cell of the source)."""


@graph_operator
def kernel_sums(
    graph: LatticeGraph, source: SiteType, destinations: tuple[SiteType, ...], cutoff: float
) -> SparseMap:
    """All kernels on bonds up to `cutoff` from `source` to each of `destinations`, as one matrix.

    The rows are ordered by destination type, then kernel, then site, then component. They are
    scaled so that independent components of variance one give components of variance one. On-site
    kernels are not included; see `on_site_kernels`.
    """
    entries, n_rows = [], 0
    for destination in destinations:
        n_kernels, found = _kernel_entries(graph, source, destination, cutoff)
        entries += [(rows + n_rows, columns, values) for rows, columns, values in found]
        n_rows += n_kernels * block_rows(graph, destination)
    return sparse_map(graph, entries, (n_rows, block_rows(graph, source)))


@graph_operator
def on_site_kernels(graph: LatticeGraph, source: SiteType, destination: SiteType) -> SparseMap:
    """The on-site kernels as one matrix, rows ordered by kernel, then site, then component."""
    (kernels,) = orbit_kernels(graph.lattice.cell, source, destination, None)
    maps = next(iter(kernels.kernels.values()))
    n_sites = class_size(graph, source.site_class)
    sites = np.arange(n_sites)
    entries = map_entries(maps, sites, sites, n_sites, destination.dim**0.5)
    shape = (len(maps) * n_sites * destination.dim, n_sites * source.dim)
    return sparse_map(graph, [entries], shape)


@graph_operator
def neighbor_gather(
    graph: LatticeGraph, source_class: int, sublattice: int, cutoff: float | None
) -> SparseMap | None:
    """A matrix that copies the neighbors, in one class, of each site of a sublattice.

    Its rows are ordered by bond of the unit cell, then by cell. The bond of a site with itself
    comes first. The result is None if no bond starts in the class.
    """
    lattice = graph.lattice
    members = site_classes(lattice.cell)[source_class].sublattices
    ends = []
    if sublattice in members:
        own = np.flatnonzero(lattice.sublattices == sublattice)
        ends.append((own, own))
    if cutoff is not None:
        bonds = lattice.bonds(cutoff)
        for number, (start, end, _) in enumerate(bonds.cell_bonds):
            if end == sublattice and start in members:
                chosen = bonds.cell_bond == number
                ends.append((bonds.source[chosen], bonds.destination[chosen]))
    if not ends:
        return None
    one, n_cells, entries = np.ones((1, 1, 1)), lattice.n_cells, []
    for number, (start, end) in enumerate(ends):
        sources = place_in_class(graph, source_class, start)
        # Sites are numbered cell by cell, so this is the cell of the destination.
        cells = end // lattice.n_sublattices
        entries.append(map_entries(one, sources, cells, n_cells, 1.0, number))
    return sparse_map(graph, entries, (len(ends) * n_cells, n_cells * len(members)))


@graph_operator
def basis_kernels(
    graph: LatticeGraph,
    source: SiteType,
    destination: SiteType,
    sublattice: int,
    cutoff: float | None,
) -> Float[Tensor, "bonds kernels dim_out dim_in"]:
    """The basis kernels of each bond of `neighbor_gather`, scaled as in `kernel_sums`.

    The second axis runs over the kernels of all orbits; the kernels of other orbits are zero.
    """
    bonds = arriving_bonds(graph.lattice, source.site_class, sublattice, cutoff)
    orbits = orbit_kernels(graph.lattice.cell, source, destination, cutoff)
    array = np.zeros((len(bonds), sum(map(len, orbits)), destination.dim, source.dim))
    first = 0
    for orbit in orbits:
        scale = (destination.dim / orbit.multiplicity) ** 0.5
        for number, bond in enumerate(bonds):
            if bond in orbit.kernels:
                array[number, first : first + len(orbit)] = scale * orbit.kernels[bond]
        first += len(orbit)
    return torch.from_numpy(array).to(graph.device, graph.dtype)


def arriving_bonds(
    lattice: Lattice, source_class: int, sublattice: int, cutoff: float | None
) -> list[UnitCellBond]:
    """Bonds of the unit cell from a class of sites to a sublattice, the on-site one first."""
    members = site_classes(lattice.cell)[source_class].sublattices
    bonds: list[UnitCellBond] = []
    if sublattice in members:
        bonds.append((sublattice, sublattice, (0,) * lattice.dim))
    if cutoff is not None:
        cell_bonds = lattice.bonds(cutoff).cell_bonds
        bonds += [bond for bond in cell_bonds if bond[1] == sublattice and bond[0] in members]
    return bonds


def block_rows(graph: LatticeGraph, site_type: SiteType) -> int:
    """Rows of a block of this type."""
    return class_size(graph, site_type.site_class) * site_type.dim


def class_size(graph: LatticeGraph, site_class: int) -> int:
    """Number of sites of a class."""
    return graph.lattice.n_cells * len(site_classes(graph.lattice.cell)[site_class].sublattices)


@graph_operator
def class_sites(graph: LatticeGraph, site_class: int) -> Tensor:
    """The sites of a class in the order of its rows."""
    members = site_classes(graph.lattice.cell)[site_class].sublattices
    chosen = np.isin(graph.lattice.sublattices, members)
    return torch.from_numpy(np.flatnonzero(chosen)).to(graph.device)


def in_site_order(graph: LatticeGraph, parts: Sequence[Tensor], dim: int) -> Tensor:
    """Join values given class by class along axis `dim` into values in the order of all sites."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat(list(parts), dim).index_select(dim, _class_order(graph, len(parts)))


@graph_operator
def _class_order(graph: LatticeGraph, n_classes: int) -> Tensor:
    """For each site, its position when the classes are listed one after another."""
    return torch.cat([class_sites(graph, number) for number in range(n_classes)]).argsort()


def place_in_class(graph: LatticeGraph, site_class: int, sites: np.ndarray) -> np.ndarray:
    """Positions of sites within their class."""
    members = site_classes(graph.lattice.cell)[site_class].sublattices
    # Sites are numbered cell by cell with the sublattice fastest, and those of a class in the same
    # order.
    cell, sublattice = np.divmod(sites, graph.lattice.n_sublattices)
    return cell * len(members) + np.searchsorted(members, sublattice)


def sparse_map(graph: LatticeGraph, entries: list[Entries], shape: tuple[int, int]) -> SparseMap:
    """A sparse matrix in the precision and on the device of a graph."""
    return SparseMap.from_entries(entries, shape, graph.dtype, graph.device)


def map_entries(
    maps: np.ndarray,
    source: np.ndarray,
    destination: np.ndarray,
    n_out: int,
    scale: float,
    first: int = 0,
) -> Entries:
    """Rows, columns and values of kernels on bonds.

    Args:
        maps: The kernels, [n_kernels, dim_out, dim_in].
        source: Position of the source of each bond within its class.
        destination: Position of the destination of each bond within its class.
        n_out: Number of destination sites.
        scale: Factor applied to all kernels.
        first: Number of kernels whose rows precede these.
    """
    kernel, out, into = maps.nonzero()
    dim_out, dim_in = maps.shape[1:]
    # Arrays with one row per nonzero element of the kernels and one column per bond. A matrix row
    # is numbered by kernel, then site, then component; a matrix column by site, then component.
    rows = ((first + kernel[:, None]) * n_out + destination) * dim_out + out[:, None]
    columns = source * dim_in + into[:, None]
    values = np.repeat(scale * maps[kernel, out, into], len(source))
    return rows.reshape(-1), columns.reshape(-1), values


def _kernel_entries(
    graph: LatticeGraph, source: SiteType, destination: SiteType, cutoff: float
) -> tuple[int, list[Entries]]:
    """The number of bond kernels, and their matrix entries."""
    lattice = graph.lattice
    bonds = lattice.bonds(cutoff)
    number_of = {bond: number for number, bond in enumerate(bonds.cell_bonds)}
    n_out = class_size(graph, destination.site_class)
    n_kernels, entries = 0, []
    for orbit in orbit_kernels(lattice.cell, source, destination, cutoff):
        if orbit.orbit < 0:  # on-site kernels
            continue
        scale = (destination.dim / orbit.multiplicity) ** 0.5
        for bond, maps in orbit.kernels.items():
            chosen = bonds.cell_bond == number_of[bond]
            start = place_in_class(graph, source.site_class, bonds.source[chosen])
            end = place_in_class(graph, destination.site_class, bonds.destination[chosen])
            entries.append(map_entries(maps, start, end, n_out, scale, n_kernels))
        n_kernels += len(orbit)
    return n_kernels, entries
