"""Which sites belong to a block, against counts by hand."""

import pytest
import torch

from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import chain, cubic, honeycomb, kagome, square, triangular
from lattgnn.solvers.green.blocks import block_groups, bonds_outside, is_treelike
from lattgnn.solvers.green.schedule import Block
from lattgnn.solvers.green.site_graph import SiteGraph


def groups_of(lattice, text: str):
    return block_groups(lattice, SiteGraph.of(Holstein(lattice)), Block.parse(text))


@pytest.mark.parametrize(
    ("lattice", "text", "n_in_block"),
    [
        (square(10), "ring0", 1),
        (square(10), "ring1", 9),
        (square(10), "ring3", 49),
        (square(10), "ball2", 9),  # the diamond of 13 sites without its four tips
        (square(10), "ball3", 21),
        (triangular(8), "ring2", 19),
        (honeycomb(8), "ring1", 13),  # three hexagons
        (honeycomb(8), "ball2", 1),  # nothing but tips
        (kagome(6), "ring1", 5),  # two triangles
        (cubic(5), "ring1", 19),  # twelve squares
        (chain(20), "ring2", 1),
    ],
)
def test_a_block_has_the_sites_of_the_cycles_or_balls_around_its_center(lattice, text, n_in_block):
    groups = groups_of(lattice, text)
    assert {group.sites.shape[1] for group in groups} == {n_in_block}
    centers = torch.cat([group.sites[:, 0] for group in groups])
    assert torch.equal(centers.sort().values, torch.arange(lattice.n_sites))


def test_blocks_at_an_open_boundary_are_cut_and_those_inside_are_not():
    sizes = {}
    for group in groups_of(square(6, periodic=False), "ring1"):
        for sites in group.sites.tolist():
            sizes[sites[0]] = len(sites)
    assert (sizes[0], sizes[1], sizes[7]) == (4, 6, 9)  # corner, edge, inside


def test_blocks_of_one_cell_are_translated_to_all_others():
    lattice = square(5, 7)
    (group,) = groups_of(lattice, "ring1")
    cells = lattice.cells[group.sites.numpy()]
    offset = (cells - cells[:, :1] + 2) % lattice.extent - 2
    assert abs(offset).max() == 1
    assert (offset == offset[:1]).all()


def test_bonds_lead_out_of_a_block_only_without_a_cycle():
    lattice = square(5)
    graph = SiteGraph.of(Holstein(lattice))
    assert bonds_outside(graph, groups_of(lattice, "ring0")).all()
    assert not bonds_outside(graph, groups_of(lattice, "ring1")).any()


@pytest.mark.parametrize(
    ("lattice", "expected"),
    [
        (chain(9, periodic=False), True),
        (chain(13), True),
        (chain(12), False),  # a cycle of 12 bonds still counts
        (square(4, periodic=False), False),
        (honeycomb(3), False),
    ],
)
def test_trees_and_long_chains_need_no_blocks(lattice, expected):
    assert is_treelike(lattice, SiteGraph.of(Holstein(lattice))) == expected
