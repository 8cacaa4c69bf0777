"""The blocks of a Hamiltonian: which sites are solved together around each site."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lattgnn.lattice import Lattice
from lattgnn.solvers.green.schedule import Block
from lattgnn.solvers.green.site_graph import SiteGraph, repeated_axes, slots_by_row

Node = TypeVar("Node")
"""A site of any graph: its number, or something else that can be a key of a dictionary."""

# Longer cycles do not count: their bonds are treated like those of a tree.
LONGEST_CYCLE = 12


@dataclass(frozen=True, eq=False)
class BlockGroup:
    """Blocks of equal shape, one around each of some sites. The center comes first in its block.

    Attributes:
        sites: The sites of each block, [n_blocks, n_in_block].
        rows: First site, numbered within the block, of each directed bond inside the block.
        cols: Second site of each of these bonds.
        slots: For each site of the block its bonds inside the block, numbers of the two tensors
            above, filled up with n_inside.
    """

    sites: Int[Tensor, "n_blocks n_in_block"]
    rows: Int[Tensor, " n_inside"]
    cols: Int[Tensor, " n_inside"]
    slots: Int[Tensor, "n_in_block max_degree"]

    @cached_property
    def ends(self) -> Int[Tensor, " n"]:
        """The neighbors of the center inside the block, numbered within the block."""
        return self.cols[self.rows == 0]

    def to(self, device: torch.device) -> "BlockGroup":
        """The same blocks on a device."""
        names = ("sites", "rows", "cols", "slots")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def around(self, centers: Int[Tensor, " n"]) -> "BlockGroup":
        """Only the blocks around some sites."""
        return replace(self, sites=self.sites[torch.isin(self.sites[:, 0], centers)])


def block_groups(lattice: Lattice, graph: SiteGraph, block: Block) -> tuple[BlockGroup, ...]:
    """The block of every site, grouped by shape.

    Along axes where the bonds of H repeat from cell to cell, blocks are found for one cell and
    translated to all others.

    Args:
        lattice: The lattice of H.
        graph: The graph of H.
        block: Shape of the blocks.
    """
    finder, axes = BlockFinder(_GraphNeighbors(graph)), repeated_axes(lattice, graph)
    if is_treelike(lattice, graph):
        block = Block("ring", 0)
    # Blocks of equal shape have the same bonds between the same numbers within the block.
    by_shape: defaultdict[tuple, list] = defaultdict(list)
    for center in _first_sites(lattice, axes):
        sites = finder.sites(center, block)
        by_shape[len(sites), *finder.bonds_inside(sites)].append(sites)
    groups = []
    for (_, rows, cols), members in by_shape.items():
        sites = _translated(lattice, axes, np.array(members))
        first, second = (torch.tensor(part, dtype=torch.int64) for part in (rows, cols))
        slots = slots_by_row(first, sites.shape[1])
        groups.append(BlockGroup(torch.from_numpy(sites), first, second, slots))
    return tuple(groups)


def is_treelike(lattice: Lattice, graph: SiteGraph) -> bool:
    """Whether no bond of H lies on a cycle of at most 12 bonds, so that messages converge to ρ."""
    if graph.is_forest:
        return True
    finder = BlockFinder(_GraphNeighbors(graph))
    sites = _first_sites(lattice, repeated_axes(lattice, graph))
    return not any(map(finder.is_on_cycle, sites))


def bonds_outside(graph: SiteGraph, groups: tuple[BlockGroup, ...]) -> Bool[Tensor, " n_bonds"]:
    """Which bonds lead out of the block of their row site."""
    outside = torch.ones(graph.n_bonds, dtype=torch.bool)
    for group in groups:
        ends = group.sites[:, group.ends]
        outside[graph.bonds_between(group.sites[:, :1], ends)] = False
    return outside


def _first_sites(lattice: Lattice, axes: tuple[int, ...]) -> list[int]:
    """The sites of the first cell along these axes; their copies are all sites."""
    return np.flatnonzero((lattice.cells[:, list(axes)] == 0).all(1)).tolist()


def _translated(
    lattice: Lattice, axes: tuple[int, ...], blocks: Int[np.ndarray, "n n_in_block"]
) -> Int[np.ndarray, "n_all n_in_block"]:
    """Copies of the blocks, moved by all numbers of cells along the axes."""
    extent = np.array(lattice.extent)
    repeats = np.where(np.isin(np.arange(lattice.dim), axes), extent, 1)
    shifts = np.stack(np.unravel_index(np.arange(repeats.prod()), repeats), axis=-1)
    cells = (lattice.cells[blocks] + shifts[:, None, None]) % extent
    sites = lattice.ravel(cells, np.broadcast_to(lattice.sublattices[blocks], cells.shape[:-1]))
    return sites.reshape(-1, blocks.shape[1])


class _GraphNeighbors:
    """The neighbors of each site of a graph.

    Args:
        graph: The graph of H.
    """

    def __init__(self, graph: SiteGraph) -> None:
        rows, self._cols = graph.rows.cpu().numpy(), graph.cols.cpu().numpy()
        self._first = np.searchsorted(rows, np.arange(graph.n_sites + 1))

    def __call__(self, site: int) -> list[int]:
        return self._cols[self._first[site] : self._first[site + 1]].tolist()


class BlockFinder(Generic[Node]):
    """Finds blocks by walks on a graph.

    Args:
        neighbors: Gives the neighbors of a site.
    """

    def __init__(self, neighbors: Callable[[Node], list[Node]]) -> None:
        self.neighbors = neighbors
        self._grown: dict[Node, frozenset[Node]] = {}

    def sites(self, center: Node, block: Block) -> list[Node]:
        """The sites of the block around a site, the center first and the others ascending."""
        found = {center}
        if block.kind == "ring":
            for _ in range(block.size):
                found = set().union(*map(self._with_cycles, found))
        elif block.kind == "ball":
            for _ in range(block.size):
                found = found.union(*map(self.neighbors, found))
            found = self._without_tips(found, center)
        return [center, *sorted(found - {center})]  # type: ignore[type-var]

    def is_on_cycle(self, site: Node) -> bool:
        """Whether a site lies on a cycle that is not too long."""
        return any(self._shortest_cycles(site, other) for other in self.neighbors(site))

    def bonds_inside(self, sites: list[Node]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Both ends, numbered within the block, of the directed bonds inside a block."""
        number = {site: n for n, site in enumerate(sites)}
        pairs = [
            (n, number[other])
            for site, n in number.items()
            for other in self.neighbors(site)
            if other in number
        ]
        rows, cols = zip(*sorted(pairs), strict=True) if pairs else ((), ())
        return rows, cols

    def _with_cycles(self, site: Node) -> frozenset[Node]:
        """A site, its neighbors, and all sites of the shortest cycles through each of its bonds."""
        if site not in self._grown:
            neighbors = self.neighbors(site)
            cycles = (self._shortest_cycles(site, other) for other in neighbors)
            self._grown[site] = frozenset({site, *neighbors}.union(*cycles))
        return self._grown[site]

    def _shortest_cycles(self, start: Node, end: Node) -> set[Node]:
        """All sites of the shortest cycles through a bond; none if they are too long."""
        # Breadth first from start to end without the bond itself.
        distance, layer = {start: 0}, [start]
        while end not in distance:
            previous, layer = layer, []
            if distance[previous[0]] == LONGEST_CYCLE - 1:
                return set()
            for site in previous:
                for other in self.neighbors(site):
                    if other not in distance and (site, other) != (start, end):
                        distance[other] = distance[site] + 1
                        layer.append(other)
            if not layer:
                return set()
        # Back from end to start, along all shortest ways.
        found, front = {end}, {end}
        for step in reversed(range(distance[end])):
            front = {
                other
                for site in front
                for other in self.neighbors(site)
                if distance.get(other) == step
            }
            found |= front
        return found

    def _without_tips(self, sites: set[Node], center: Node) -> set[Node]:
        """Repeatedly without the sites other than the center that have one neighbor inside."""
        while True:
            inner = {s for s in sites if s == center or self._degree(s, sites) > 1}
            if inner == sites:
                return inner
            sites = inner

    def _degree(self, site: Node, sites: set[Node]) -> int:
        return sum(other in sites for other in self.neighbors(site))
