"""The orbit convolution: all ways to compute it, derivatives, symmetry, number of weights."""

from functools import partial
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.nn import MessagePassing

from lattgnn.graph import apply_operation, lattice_graph
from lattgnn.lattice import (
    bond_orbits,
    chain,
    compatible_operations,
    cubic,
    honeycomb,
    kagome,
    lieb,
    site_permutations,
    square,
    triangular,
)
from lattgnn.nn import (
    EVEN,
    ODD,
    SPIN,
    Block,
    FieldComponents,
    OrbitConv,
    SparseMap,
    features,
    field_blocks,
    scalars,
)
from lattgnn.nn.kernel_operators import block_rows, kernel_sums
from lattgnn.symmetry import (
    SiteType,
    field_representation,
    irreps,
    kernel_count,
    orbit_kernels,
    site_classes,
)

CUTOFF = 1.8
LATTICES = [square(6), triangular(6), honeycomb(5), kagome(4), lieb(4)]
OPEN = square(extent=[7, 6], periodic=[True, False])


def make(lattice, inputs, outputs, cutoff: float | None = CUTOFF):
    torch.manual_seed(0)
    conv = OrbitConv(lattice, inputs, outputs, cutoff).double()
    for parameter in conv.parameters():
        torch.nn.init.normal_(parameter)
    graph = lattice_graph(lattice, CUTOFF, torch.float64)
    return conv, graph


def random_blocks(blocks, graph, rng, batch=2):
    shapes = [(block_rows(graph, b.type), batch * b.internal.dim, b.channels) for b in blocks]
    return [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes]


class Scatter(MessagePassing):
    """A sparse product computed with PyG's gather and scatter (torch-scatter if installed)."""

    def __init__(self):
        super().__init__(aggr="add", node_dim=0)

    def forward(self, sparse, x):
        matrix = sparse.matrix
        rows = torch.arange(len(matrix)).repeat_interleave(matrix.crow_indices().diff())
        edge_index, (n_rows, n_columns) = torch.stack([matrix.col_indices(), rows]), matrix.shape
        return self.propagate(
            edge_index, x=(x, None), weight=matrix.values(), size=(n_columns, n_rows)
        )

    def message(self, x_j, weight):
        return weight[:, None, None] * x_j


def by_scatter(conv, x, graph):
    """The reference form of a layer: every basis kernel by gather and scatter, then the weights."""
    with mock.patch.object(SparseMap, "__call__", lambda sparse, value: Scatter()(sparse, value)):
        return conv.by_basis_kernels(x, graph)


@pytest.mark.aggregation
@pytest.mark.parametrize("hidden", ["trivial", "vector", "regular"])
@pytest.mark.parametrize("lattice", [*LATTICES, OPEN], ids=lambda lattice: lattice.name)
def test_basis_kernels_bond_kernels_and_gather_and_scatter_agree(lattice, hidden, rng):
    inputs, outputs = (
        features(lattice, hidden, 3, 2),
        features(lattice, f"trivial + {hidden}", 2, 1),
    )
    for cutoff in (CUTOFF, None):
        conv, graph = make(lattice, inputs, outputs, cutoff)
        x = random_blocks(inputs, graph, rng)
        results = [
            conv.by_basis_kernels(x, graph),
            conv.by_bond_kernels(x, graph),
            by_scatter(conv, x, graph),
        ]
        for other in results[1:]:
            torch.testing.assert_close(other, results[0], rtol=1e-11, atol=1e-11)


@pytest.mark.aggregation
@pytest.mark.parametrize("hidden", ["trivial", "vector", "regular"])
def test_gradients_of_all_ways_agree_to_second_order(hidden, rng):
    """On the Lieb lattice some orbits reverse into another orbit, so a missing transpose shows."""
    lattice = lieb(4)
    assert any(orbit.index != orbit.reverse for orbit in bond_orbits(lattice, CUTOFF).orbits)
    inputs = features(lattice, hidden, 3)
    conv, graph = make(lattice, inputs, inputs)
    x = random_blocks(inputs, graph, rng)
    results = []
    for apply in (conv.by_basis_kernels, conv.by_bond_kernels, partial(by_scatter, conv)):
        leaves = [value.clone().requires_grad_() for value in x]
        total = torch.stack([y.sin().sum() for y in apply(leaves, graph)]).sum()
        first = torch.autograd.grad(total, leaves, create_graph=True)
        second = torch.autograd.grad(torch.stack([(g**2).sum() for g in first]).sum(), leaves)
        results.append([g.detach() for g in (*first, *second)])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-10, atol=1e-10)


def test_kernels_are_cached_only_where_weights_are_frozen(rng):
    lattice = square(6)
    blocks = features(lattice, "regular", 2)
    conv, graph = make(lattice, blocks, blocks)
    x = random_blocks(blocks, graph, rng)
    with torch.no_grad():
        before = conv(x, graph)[0]
        assert not conv.cached_kernels
        # Neither the version of the tensor nor its address shows this change.
        conv.weights["0"].data.mul_(2)
        torch.testing.assert_close(conv(x, graph)[0], 2 * before)
        conv.is_frozen = True
        after = conv(x, graph)[0]
        (first,) = conv.cached_kernels.values()
        assert conv(x, graph)[0].equal(after)
        (second,) = conv.cached_kernels.values()
        assert first is second


def test_the_cheaper_way_is_chosen():
    lattice = square(6)
    blocks = {text: features(lattice, text, 4) for text in ("trivial", "E", "regular")}
    chosen = {text: make(lattice, block, block)[0].expands for text, block in blocks.items()}
    assert chosen == {"trivial": False, "E": False, "regular": True}


@pytest.mark.parametrize("text", ["vector", "trivial", "axial"])
@pytest.mark.parametrize("lattice", [*LATTICES, cubic(4)], ids=lambda lattice: lattice.name)
def test_commutes_with_every_operation(lattice, text, symmetry_error):
    """As a map between fields; `transformations` does not use kernels or local frames."""

    class Map(torch.nn.Module):
        def __init__(self):
            super().__init__()
            representation = field_representation(lattice.cell, text)
            blocks = field_blocks(representation)
            self.components = FieldComponents(representation)
            self.conv = make(lattice, blocks, blocks)[0]

        def graph(self, lattice):
            return lattice_graph(lattice, CUTOFF, torch.float64)

        def forward(self, field, graph):
            joined = self.components.join(
                self.conv(self.components.split(field, graph), graph), graph
            )
            return None, joined.reshape(field.shape)

    net = Map()
    assert symmetry_error(net, lattice, text) < 1e-12
    original = net.conv.forward

    def broken(x, graph):
        y = original(x, graph)
        y[0][0] += 0.01 * x[0][1]  # one bond of one site
        return y

    net.conv.forward = broken
    assert symmetry_error(net, lattice, text) > 1e-4


@pytest.mark.parametrize(
    "lattice",
    [chain(8), square(6), triangular(6), honeycomb(5), kagome(4), lieb(4), cubic(4)],
    ids=lambda lattice: lattice.name,
)
def test_weights_are_as_many_as_characters_say(lattice):
    """Every pair of irreps on every pair of site classes: hundreds of spaces of intertwiners."""
    types = [
        SiteType(number, irrep)
        for number, sites in enumerate(site_classes(lattice.cell))
        for irrep in irreps(sites.group)
    ]
    for source in types:
        for destination in types:
            for cutoff in (None, 1.0, CUTOFF):
                expected = kernel_count(lattice.cell, source, destination, cutoff)
                found = orbit_kernels(lattice.cell, source, destination, cutoff)
                assert sum(map(len, found)) == expected
                conv = OrbitConv(
                    lattice, (Block(source, 3),), (Block(destination, 2),), cutoff, bias=False
                )
                assert sum(p.numel() for p in conv.parameters()) == 6 * expected


def test_known_numbers_of_kernels_on_the_square_lattice():
    """The shells at 1 and √2 have stabilizers of order 2: 32 regular kernels on each."""
    lattice = square(6)
    expected = {"trivial": (1, 1), "regular": (8, 32), "E": (1, 2), "vector": (1, 2)}
    for text, (on_site, a_shell) in expected.items():
        (block,) = features(lattice, text, 1)
        conv = OrbitConv(lattice, (block,), (block,), 1.5, bias=False)
        assert conv.n_kernels[0, 0] == (on_site, 2 * a_shell)


def test_nine_shells_read_a_scalar_into_irreps_as_the_seed_paper_does():
    """A site and eight shells contain 45 sites: 9 A1 + 3 A2 + 6 B1 + 5 B2 + 11 E of D4."""
    lattice = square(12)
    inputs = features(lattice, "trivial", 1)
    counts = {}
    for text in ("A1", "A2", "B1", "B2", "E"):
        conv = OrbitConv(lattice, inputs, features(lattice, text, 1), 3.7, bias=False)
        counts[text] = sum(conv.n_kernels[0, 0])
    assert counts == {"A1": 9, "A2": 3, "B1": 6, "B2": 5, "E": 11}
    assert sum(n * (2 if text == "E" else 1) for text, n in counts.items()) == 45


def test_internal_spaces_do_not_mix_and_keep_their_components(rng):
    """Any linear map of the three spin components commutes with the layer."""
    lattice = kagome(4)
    (even,) = features(lattice, "trivial", 2)
    spin = Block(even.type, 3, SPIN)
    odd = Block(even.type, 2, ODD)
    conv, graph = make(lattice, (even, spin, odd), (odd, spin, even))
    x = random_blocks((even, spin, odd), graph, rng)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64))[0]

    def turned(value):
        return torch.einsum("ab,ibk->iak", rotation, value.view(-1, 3, 3)).reshape(value.shape)

    y = conv(x, graph)
    moved = conv([x[0], turned(x[1]), -x[2]], graph)
    torch.testing.assert_close(moved, [-y[0], turned(y[1]), y[2]], rtol=0, atol=1e-11)
    assert {pair for pair in conv.n_kernels} == {(0, 2), (1, 1), (2, 0)}
    assert list(conv.biases) == ["2"]  # only the invariant block may have a bias


IRREPS = st.lists(
    st.sampled_from(["A1", "A2", "B1", "B2", "E", "regular", "vector"]), min_size=1, max_size=3
)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(inputs=IRREPS, outputs=IRREPS, channels=st.integers(1, 3), seed=st.integers(0, 99))
def test_random_sums_of_representations_commute_with_the_group(inputs, outputs, channels, seed):
    """By definition: ρ_out(g) applied to the output equals the output for the input ρ_in(g) x."""
    lattice = square(4)
    # Each channel of a block becomes a separate sample of the batch.
    blocks_in, blocks_out = (features(lattice, " + ".join(t), channels) for t in (inputs, outputs))
    conv, graph = make(lattice, blocks_in, blocks_out, 1.0)
    x = random_blocks(blocks_in, graph, torch.Generator().manual_seed(seed), batch=1)
    y = conv(x, graph)

    def moved(values, blocks, operation, permutation):
        result = []
        for value, block in zip(values, blocks, strict=True):
            text = block.type.representation.name
            fields = value.view(lattice.n_sites, block.type.dim, -1).permute(2, 0, 1)
            matrices = field_representation(lattice.cell, text).site_matrices(operation)
            turned = apply_operation(fields, permutation, matrices)
            result.append(turned.permute(1, 2, 0).reshape(value.shape))
        return result

    permutations = torch.from_numpy(site_permutations(lattice))
    for operation, permutation in zip(compatible_operations(lattice), permutations, strict=True):
        image = partial(moved, operation=operation, permutation=permutation)
        results = conv(image(x, blocks_in), graph)
        torch.testing.assert_close(results, image(y, blocks_out), rtol=0, atol=1e-11)


def test_a_block_without_any_kernel_is_zero(rng):
    """No on-site kernel maps scalars to vectors."""
    lattice = square(6)
    inputs, outputs = features(lattice, "trivial", 2), features(lattice, "vector", 3)
    conv, graph = make(lattice, inputs, outputs, None)
    (y,) = conv(random_blocks(inputs, graph, rng), graph)
    assert y.shape == (72, 2, 3) and not y.any() and not conv.reaches_all()
    assert inputs[0].internal == EVEN


def test_sums_in_single_precision_are_those_in_double(rng):
    """On the CPU the two use different code, also for first and second derivatives."""
    lattice, one = kagome(4), scalars(kagome(4), 1)[0].type
    values = torch.linspace(-1, 1, lattice.n_sites * 6).view(-1, 2, 3)

    def derivatives(x):
        graph = lattice_graph(lattice, 1.0, x.dtype)
        x = x.requires_grad_()
        y = kernel_sums(graph, one, (one,), 1.0)(x)
        (slope,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.square().sum(), x)
        return y, slope, curvature

    # All three are sums of products whose coefficients have the same sign. Evaluated at |x| they
    # give the sums of the absolute values of all terms. Each term is rounded at most 4 times in a
    # sum over neighbors. The slope Sᵀ 3y² has 3 such sums and 3 products (15 roundings); the
    # curvature Sᵀ 6y S 2 slope has 2 more sums and the factors 6y and 2 (at most 32).
    terms = [size.abs() for size in derivatives(values.double().abs())]
    eps = torch.finfo(torch.float32).eps
    results = zip(derivatives(values.clone()), derivatives(values.double()), terms, strict=True)
    for n_roundings, (single, double, size) in zip((4, 15, 32), results, strict=True):
        assert single.dtype == torch.float32
        assert ((single.double() - double).abs() <= n_roundings * eps * size).all()
