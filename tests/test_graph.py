# PyG types every attribute of Data as optional, and a Batch has none.
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false, reportAttributeAccessIssue=false

import copy
import pickle
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch
from torch_geometric.data.data import BaseData

from lattgnn.graph import LatticeGraph, apply_operation, graph_operator, lattice_graph, to_pyg
from lattgnn.lattice import (
    bond_orbits,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    site_permutations,
    square,
    translation_permutation,
    triangular,
)

CASES = [
    (chain(9), 2.0),
    (square(6, 8), 2.3),
    (square(6, 8, periodic=[True, False]), 2.3),
    (triangular(6), 1.8),
    (honeycomb(5), 2.7),
    (kagome(4), 3.0),
    (lieb(4, periodic=False), 2.3),
    (cubic(4), 1.5),
]
ids = [f"{lattice.name}-{cutoff}" for lattice, cutoff in CASES]


@pytest.mark.parametrize(("lattice", "cutoff"), CASES, ids=ids)
def test_graph_is_the_bonds_of_the_lattice(lattice, cutoff):
    graph = lattice_graph(lattice, cutoff)
    bonds = lattice.bonds(cutoff)
    assert graph.num_nodes == lattice.n_sites
    assert graph.n_orbits == len(bond_orbits(lattice, cutoff))
    assert graph.edge_index.dtype == graph.edge_type.dtype == torch.int64
    assert (graph.edge_index.numpy() == np.stack([bonds.source, bonds.destination])).all()
    assert (graph.edge_type.numpy() == bonds.orbit).all()
    assert graph.pos.dtype == torch.float64
    np.testing.assert_array_equal(graph.pos, lattice.positions)
    assert graph.is_sorted(sort_by_row=False)
    assert not graph.has_self_loops() and not graph.has_isolated_nodes()
    graph.validate(raise_on_error=True)


def test_apply_operation_moves_the_value_with_the_site():
    lattice = square(4, 5)
    field = torch.zeros(3, 20)
    field[:, lattice.site_index((0, 0))] = 1.0
    moved = apply_operation(field, translation_permutation(lattice, (1, 2)))
    assert moved.argmax(-1).tolist() == [lattice.site_index((1, 2))] * 3
    assert moved.sum() == 3


def test_apply_operation_is_differentiable_and_a_group_action(rng):
    lattice = kagome(4)
    perms = torch.from_numpy(site_permutations(lattice))
    field = torch.randn(lattice.n_sites, generator=rng, requires_grad=True)
    twice = apply_operation(apply_operation(field, perms[2]), perms[5])
    torch.testing.assert_close(twice, apply_operation(field, perms[5][perms[2]]))
    weight = torch.randn(lattice.n_sites, generator=rng)
    (gradient,) = torch.autograd.grad((weight * twice).sum(), field)
    torch.testing.assert_close(apply_operation(gradient, perms[5][perms[2]]), weight)


def test_graphs_of_a_lattice_share_tensors_and_operators():
    first, second = lattice_graph(square(6), 1.0), lattice_graph(square(6), 1.0)
    assert first is not second  # an attribute that one caller adds is not seen by another
    assert first.edge_index.data_ptr() == second.edge_index.data_ptr()
    calls = []

    @graph_operator
    def twice(graph, number):
        calls.append(number)
        return torch.ones(graph.lattice.n_sites, dtype=graph.dtype) * 2 * number

    assert twice(first, 3) is twice(second, 3) and calls == [3]
    other = lattice_graph(square(6), 1.0, torch.float64)
    assert twice(other, 3).dtype == torch.float64 and len(calls) == 2


def test_edges_are_made_when_they_are_first_used():
    """The networks of a million sites only need the check of the extent."""
    uses = (
        lambda g: g.num_nodes,
        lambda g: g.edge_type,
        lambda g: "pos" in g,
        lambda g: [*g],
        repr,
    )
    for use in uses:
        graph = lattice_graph(square(6), 1.0)
        assert not graph.__dict__["_store"].keys()
        use(graph)
        assert set(graph.keys()) == {"edge_index", "edge_type", "pos", "num_nodes", "n_orbits"}


def test_copies_pickles_batches_and_devices():
    # Any: the attributes of PyG's Data may be None.
    graph: Any = lattice_graph(kagome(4), 1.0)
    for other in (copy.copy(graph), copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert type(other) is LatticeGraph and other.lattice == graph.lattice
        assert other.edge_index.equal(graph.edge_index) and other.cutoff == graph.cutoff
        other.extra = torch.zeros(graph.num_nodes)
        assert "extra" not in graph
    batch: Any = Batch.from_data_list([graph, lattice_graph(kagome(4), 1.0)])
    assert batch.num_nodes == 2 * graph.num_nodes
    assert batch.get_example(1).edge_index.equal(graph.edge_index)
    moved: Any = lattice_graph(kagome(4), 1.0).to("meta")
    assert moved.device.type == moved.edge_index.device.type == "meta"
    assert graph.device.type == "cpu" and moved.operators is not graph.operators


def test_to_pyg_batches_like_any_graph(rng):
    lattice = square(5)
    graph = lattice_graph(lattice, 1.5)
    samples: list[BaseData] = [
        to_pyg({"field": torch.randn(25, generator=rng), "energy": torch.tensor(float(i))}, graph)
        for i in range(3)
    ]
    batch = Batch.from_data_list(samples)
    assert batch.num_nodes == 75 and batch.edge_index.max() == 74
    assert batch.field.shape == (75,) and batch.energy.tolist() == [0.0, 1.0, 2.0]
    assert samples[0].edge_index.data_ptr() == graph.edge_index.data_ptr()
    assert "field" not in graph


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"field": torch.zeros(24)}, "one row for each of the 25 sites"),
        ({"field": torch.zeros(2, 25)}, "Pass one sample"),
        ({"pos": torch.zeros(25)}, "must not overwrite"),
    ],
)
def test_to_pyg_refuses_what_does_not_fit(sample, message):
    with pytest.raises(ValueError, match=message):
        to_pyg(sample, lattice_graph(square(5), 1.0))


def test_too_small_an_extent_is_refused():
    with pytest.raises(ValueError, match=r"Use \(5, 5\)"):
        lattice_graph(square(4), 2.3)


@pytest.mark.slow
def test_a_million_sites_take_seconds():
    start = time.process_time()
    assert lattice_graph(square(1023), 2.3).num_edges == 20 * 1023**2
    assert time.process_time() - start < 30  # about 3 s on an idle core
