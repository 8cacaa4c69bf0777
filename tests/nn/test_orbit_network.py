"""The orbit network: exact symmetry, conservative forces, bounds, any batch and extent."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from lattgnn.lattice import (
    Lattice,
    brick_wall,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    site_permutations,
    square,
    staggered_square,
    triangular,
)
from lattgnn.nn import ForceNetwork
from lattgnn.serialize import build, describe
from lattgnn.symmetry import field_representation
from tests.orbit_networks import orbit_network

BOUND = 1.75
LATTICES = [square(4), triangular(4), honeycomb(4), kagome(3), lieb(3), cubic(4)]


@pytest.fixture
def make_network(randomized):
    def make(lattice=None, dtype=torch.float64, bound=BOUND, std=0.4, **options):
        options = {"channels": 6, **options}
        net = orbit_network(square(8) if lattice is None else lattice, bound, **options).to(dtype)
        return randomized(net, std)

    return make


@pytest.fixture
def fields(sample_fields):
    return lambda lattice, text="trivial": sample_fields(lattice, text)


def lattices_and_precisions() -> list:
    """Every lattice in float64; in float32 two of them, and the others in the slow tests."""
    cases = []
    for lattice in LATTICES:
        slow = [pytest.mark.slow] if lattice.name not in ("square", "kagome") else []
        cases.append(pytest.param(lattice, torch.float64, id=f"{lattice.name}-f64"))
        cases.append(pytest.param(lattice, torch.float32, id=f"{lattice.name}-f32", marks=slow))
    return cases


@pytest.mark.parametrize("conservative", [False, True], ids=["direct", "energy"])
@pytest.mark.parametrize("field", ["trivial", "vector"])
@pytest.mark.parametrize(("lattice", "dtype"), lattices_and_precisions())
def test_equivariance(
    lattice, field, conservative, dtype, make_network, symmetry_error, float32_symmetry_bound
):
    """Random, uniform, zero and staggered fields; every operation followed by a translation."""
    options = {
        "representation": "trivial + vector",
        "cutoff": 1.5 if lattice.dim == 2 else 1.0,
        "channels": 3,
    }
    net = make_network(lattice, dtype, field=field, conservative=conservative, std=0.2, **options)
    bound = 1e-10 if dtype == torch.float64 else float32_symmetry_bound(net, lattice, field)
    assert symmetry_error(net, lattice, field, dtype=dtype) < bound < 1e-4


@pytest.mark.parametrize("field", ["trivial", "vector"])
@pytest.mark.parametrize(
    "lattice",
    [staggered_square(4), brick_wall(4), shastry_sutherland(2)],
    ids=lambda lattice: lattice.name,
)
def test_networks_have_the_symmetry_of_the_labeled_crystal_and_no_more(
    lattice, field, make_network, symmetry_error, sample_fields
):
    options = {"representation": "trivial + vector", "cutoff": 1.5, "channels": 2, "n_layers": 1}
    net = make_network(lattice, field=field, std=0.2, **options)
    assert symmetry_error(net, lattice, field) < 1e-10
    if field == "trivial":
        bare = Lattice(lattice.primitive_vectors, lattice.basis, lattice.extent)
        kept = {tuple(p) for p in site_permutations(lattice, translations=True).tolist()}
        permutations = torch.from_numpy(site_permutations(bare, translations=True)[::17])
        one, graph = sample_fields(lattice, field)[0], net.graph(lattice)
        forces = net(one[None], graph)[1]
        moved = torch.empty(len(permutations), lattice.n_sites, dtype=one.dtype)
        moved.scatter_(1, permutations, one.expand_as(moved))
        back = net(moved, graph)[1].gather(1, permutations)
        for permutation, error in zip(permutations, (back - forces).abs().amax(1), strict=True):
            assert (error < 1e-10) == (tuple(permutation.tolist()) in kept)


@pytest.mark.parametrize("nonlinearity", ["norm", "product"])
@pytest.mark.parametrize("lattice", LATTICES[1:], ids=lambda lattice: lattice.name)
def test_other_nonlinearities_in_other_site_groups(
    lattice, nonlinearity, make_network, symmetry_error
):
    options = {"representation": "trivial + vector", "cutoff": 1.0, "channels": 2, "n_layers": 1}
    net = make_network(lattice, field="vector", nonlinearity=nonlinearity, std=0.2, **options)
    assert symmetry_error(net, lattice, "vector") < 1e-10


@pytest.mark.parametrize(
    "field, hidden, nonlinearity",
    [
        ("trivial", "regular", "gate"),
        ("trivial", "A1 + B2 + E", "product"),
        ("vector", "trivial", "gate"),
        ("vector", "2 vector + axial", "norm"),
        ("vector", "A1 + E", "product"),
        ("vector", "regular", "norm"),
        ("B1 + A1", "trivial", "gate"),
        ("B1 + A1", "A1 + B2 + E", "norm"),
    ],
)
def test_equivariance_of_every_kind_of_channel(
    field, hidden, nonlinearity, make_network, symmetry_error
):
    lattice = square(4)
    options = {"representation": hidden, "nonlinearity": nonlinearity, "channels": 2, "n_layers": 1}
    for conservative in (False, True):
        net = make_network(lattice, field=field, conservative=conservative, std=0.2, **options)
        assert symmetry_error(net, lattice, field) < 1e-10


@settings(
    deadline=None,
    max_examples=6,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture
    ],  # the fixtures are functions without state
)
@given(
    hidden=st.lists(st.sampled_from(["A1", "A2", "B1", "B2", "E"]), min_size=1, max_size=2),
    field=st.lists(st.sampled_from(["A1", "B1", "A2", "E", "vector"]), min_size=1, max_size=2),
    nonlinearity=st.sampled_from(["gate", "norm", "product"]),
)
def test_equivariance_of_random_representations(
    hidden, field, nonlinearity, make_network, symmetry_error
):
    lattice, text = square(4), " + ".join(field)
    hidden = " + ".join(["vector", *hidden])  # bonds connect vectors to all others
    options = {"representation": hidden, "channels": 2, "n_layers": 1, "nonlinearity": nonlinearity}
    net = make_network(lattice, bound=None, field=text, std=0.3, **options)
    assert symmetry_error(net, lattice, text) < 1e-10


def test_representations_by_class_of_sites(make_network, symmetry_error):
    """On the Lieb lattice corners have D4 and edges D2, and each class has its own channels."""
    lattice = lieb(3)
    net = make_network(lattice, representation=["A1 + E", "A1 + B1"], channels=2)
    assert symmetry_error(net, lattice, "trivial") < 1e-10
    with pytest.raises(ValueError, match="one for each of the 2 classes of equivalent sites"):
        orbit_network(lattice, BOUND, representation=["A1", "A1", "A1"])
    with pytest.raises(ValueError, match="must be one of .*got 'E'"):
        orbit_network(lattice, BOUND, representation="E")


def test_a_broken_layer_fails_the_same_check(make_network, symmetry_error):
    """One extra kernel on one bond is enough to be detected, for scalars and for vectors."""
    lattice = square(6)
    for hidden in ("trivial", "vector"):
        net = make_network(lattice, representation=hidden, channels=3)
        layer = net.blocks[0]
        original = layer.forward

        def broken(x, graph, original=original, **options):
            y = original(x, graph, **options)
            return [y[0] + 0.05 * x[0].roll(1, 0), *y[1:]]

        layer.forward = broken
        assert symmetry_error(net, lattice, "trivial") > 1e-3


@pytest.mark.parametrize("hidden", ["trivial", "A1 + E", "regular"])
@pytest.mark.parametrize("conservative", [False, True])
def test_odd_networks_are_odd(conservative, hidden, make_network, fields, symmetry_error):
    lattice = square(8)
    options = {"conservative": conservative, "representation": hidden, "std": 0.2}
    net = make_network(lattice, odd=True, **options)
    field, graph = fields(lattice), net.graph(lattice)
    torch.testing.assert_close(net(-field, graph)[1], -net(field, graph)[1], rtol=0, atol=1e-10)
    if conservative:
        torch.testing.assert_close(net(-field, graph)[0], net(field, graph)[0], rtol=1e-12, atol=0)
    assert symmetry_error(net, lattice, "trivial") < 1e-10
    plain = make_network(lattice, **options)
    assert (plain(-field, graph)[1] + plain(field, graph)[1]).abs().max() > 1e-3


def test_odd_channels_know_the_relative_signs_of_neighbors(make_network):
    """Even channels that only depend on |Q| could not distinguish the signs of Q_i Q_j."""
    lattice = square(8)
    net = make_network(lattice, odd=True, conservative=True)
    ferro = torch.ones(1, 64, dtype=torch.float64)
    staggered = ferro * torch.from_numpy((-1.0) ** lattice.cells.sum(1))
    energies = [net(field, net.graph(lattice))[0] for field in (ferro, staggered)]
    assert (energies[0] - energies[1]).abs() > 1e-2


@pytest.mark.parametrize(
    "options", [{}, {"odd": True}, {"representation": "A1 + E"}, {"field": "vector"}], ids=str
)
def test_forces_are_minus_the_gradient_of_the_energy(options, make_network, fields):
    lattice = square(6)
    net = make_network(lattice, conservative=True, std=0.3, **options)
    field = fields(lattice, options.get("field", "trivial"))[:1]
    graph, h = net.graph(lattice), 1e-5
    forces = net(field, graph)[1].flatten()
    for entry in (0, 7, 20):
        step = torch.zeros_like(field)
        step.view(-1)[entry] = h
        slope = (net(field + step, graph)[0] - net(field - step, graph)[0]) / (2 * h)
        torch.testing.assert_close(-slope[0], forces[entry], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("conservative", [False, True])
def test_training_through_the_force_reaches_every_parameter_and_leaves_no_graph_without_grad(
    conservative, make_network, fields
):
    lattice = square(6)
    net, field = make_network(lattice, conservative=conservative), fields(lattice)
    graph = net.graph(lattice)
    net(field, graph)[1].square().sum().backward()
    without = [
        name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    # The last bias of an energy head only shifts the energy.
    assert without == (["readout.mix.biases.0"] if conservative else [])
    with torch.no_grad():
        energy, forces = net(field, graph)
    assert not forces.requires_grad and (energy is None or not energy.requires_grad)


def test_samples_do_not_see_each_other(make_network, fields):
    lattice = square(6)
    net, field = make_network(lattice), fields(lattice).requires_grad_()
    graph = net.graph(lattice)
    forces = net(field, graph)[1]
    torch.testing.assert_close(forces[:1], net(field[:1], graph)[1], rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(forces[0].sum(), field)
    assert gradient[0].abs().sum() > 0 and gradient[1:].abs().max() == 0


@pytest.mark.parametrize("hidden", ["trivial", "regular"])
@pytest.mark.parametrize("conservative", [False, True])
def test_same_parameters_on_every_extent(conservative, hidden, make_network, fields):
    """A field tiled 2 × 2 has the tiled forces and four times the energy."""
    small, large = square(6), square(12)
    net, field = (
        make_network(small, conservative=conservative, representation=hidden, std=0.2),
        fields(small),
    )
    tiled = field.view(-1, 6, 6).repeat(1, 2, 2).flatten(1)
    energy, forces = net(field, net.graph(small))
    tiled_energy, tiled_forces = net(tiled, net.graph(large))
    torch.testing.assert_close(
        tiled_forces, forces.view(-1, 6, 6).repeat(1, 2, 2).flatten(1), rtol=0, atol=1e-12
    )
    if conservative:
        torch.testing.assert_close(tiled_energy, 4 * energy, rtol=1e-12, atol=0)


@pytest.mark.parametrize("field", ["trivial", "vector"])
def test_direct_force_is_bounded(field, make_network, fields):
    lattice = square(8)
    net = make_network(lattice, field=field)
    forces = net(50 * fields(lattice, field), net.graph(lattice))[1]
    lengths = forces.norm(dim=-1) if field == "vector" else forces.abs()
    assert 0.9 * BOUND < lengths.max() <= BOUND


@pytest.mark.parametrize(
    "field, components", [("trivial", ()), ("vector", (2,)), ("B1 + A1", (2,)), ("B1", ())]
)
def test_forces_have_the_shape_of_the_field(field, components, make_network):
    lattice = square(6)
    net = make_network(lattice, field=field, n_layers=1)
    zero = torch.zeros(2, 36, *components, dtype=torch.float64)
    assert net(zero, net.graph(lattice))[1].shape == zero.shape
    assert field_representation(lattice.cell, field).n_components == max((1, *components))


def test_description_rebuilds_the_network(make_network):
    net = make_network(
        lieb(3), representation=["A1 + E", "vector"], field="vector", nonlinearity="norm", odd=True
    )
    again = build(describe(net), ForceNetwork, lieb(5))
    again.double().load_state_dict(net.state_dict())
    assert describe(again) == describe(net)


def test_bad_arguments_are_told_in_one_line():
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        orbit_network(square(8), BOUND, channels=0)
    with pytest.raises(ValueError, match="odd=True needs a bipartite lattice"):
        orbit_network(triangular(6), BOUND, odd=True)
    with pytest.raises(ValueError, match="must be one of A1, .*Did you mean 'vector'"):
        orbit_network(square(8), BOUND, field="vectors")
    with pytest.raises(
        ValueError, match="representation of the hidden channels .*'A2', got 'A1'. Add 'vector'"
    ):
        orbit_network(square(8), BOUND, field="A2", representation="A1")
    with pytest.raises(ValueError, match="field_scale must be positive and finite, got 0"):
        orbit_network(square(8), BOUND, field_scale=0.0)
    assert isinstance(orbit_network(square(8), BOUND, channels=2, odd=True), nn.Module)
