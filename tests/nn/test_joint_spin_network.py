"""Networks of spins that turn with the lattice, because a term couples spin and space."""

import pytest
import torch

from lattgnn.checkpoint import check_field_type
from lattgnn.errors import InputError
from lattgnn.forcefield import LearnedForceField
from lattgnn.graph import apply_operation
from lattgnn.hamiltonians import DoubleExchange, SpinTerms
from lattgnn.hamiltonians.dm_vectors import spin_matrix
from lattgnn.lattice import (
    chain,
    compatible_operations,
    honeycomb,
    kagome,
    site_permutations,
    square,
    triangular,
)
from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.nn.nonlinearities import Kind
from lattgnn.serialize import build, describe
from lattgnn.solvers import ExactDiagonalization
from lattgnn.symmetry import FieldType, field_representation

LATTICES = [chain(6), square(4), triangular(4), honeycomb(3), kagome(3)]
DIRECTIONS = "trivial + pseudoscalar + vector"


@pytest.fixture
def make_network(randomized):
    def make(lattice, nonlinearity: Kind = "square", representation=DIRECTIONS, **options):
        kind = DoubleExchange(lattice, rashba=0.3).field_type
        channels = HiddenChannels(3, representation, nonlinearity, spin_channels=2)
        options = {"n_layers": 1, "cutoff": 1.0, **options}
        net = OrbitNetwork(lattice, kind, hidden=channels, **options)
        return randomized(net.double(), 0.3)

    return make


def spins(lattice, rng):
    """Random spins, and parallel ones."""
    random = torch.randn(2, lattice.n_sites, 3, generator=rng, dtype=torch.float64)
    random[1] = torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64)
    return torch.nn.functional.normalize(random, dim=-1)


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_spins_are_axial_vectors_in_three_dimensions(lattice):
    """The declared representation is det(g) g, with z out of the plane."""
    text = DoubleExchange(lattice, rashba=0.3).field_type.representation
    representation = field_representation(lattice.cell, text)
    for operation in compatible_operations(lattice):
        matrices = torch.from_numpy(representation.site_matrices(operation))
        expected = torch.from_numpy(spin_matrix(operation))
        torch.testing.assert_close(matrices, expected.expand_as(matrices), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("lattice", "options"),
    [
        *((lattice, {"conservative": True}) for lattice in LATTICES),
        (square(4), {"nonlinearity": "gate"}),
        (triangular(4), {"nonlinearity": "gate", "tangent": True}),
        (square(4), {"conservative": True, "representation": "regular"}),
    ],
    ids=lambda x: getattr(x, "name", str(x)),
)
def test_operations_act_on_sites_and_spins_together(
    lattice, options, make_network, symmetry_error, rng
):
    net, field = make_network(lattice, **options), spins(lattice, rng)
    text = net.field_type.representation
    assert symmetry_error(net, lattice, text, fields=field) < 1e-10
    graph = net.graph(lattice)
    energy, forces = net(field, graph)
    reversed_energy, reversed_forces = net(-field, graph)
    tolerance = 1e-10 * forces.detach().abs().max().item()
    torch.testing.assert_close(reversed_forces, -forces, rtol=0, atol=tolerance)
    if energy is not None:
        torch.testing.assert_close(reversed_energy, energy, rtol=1e-10, atol=1e-10)
    # A rotation of all spins apart from the lattice is no symmetry.
    turn = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64))[0]
    turned = net(field @ turn.T, graph)[1]
    assert (turned - forces @ turn.T).abs().max() > 1e-3 * forces.detach().abs().max()


def test_the_joint_network_and_exact_dm_terms_follow_the_lattice_together(make_network, rng):
    """The whole force field, learned electrons and exact classical terms, to 1e-10."""
    lattice, terms = square(4), SpinTerms(exchange=0.4, interfacial_dm=0.3, anisotropy=0.1)
    net, field = make_network(lattice, conservative=True), spins(lattice, rng)[0]
    model = DoubleExchange(lattice, rashba=0.3, classical=terms)
    learned = LearnedForceField(net, model, ExactDiagonalization(0.1, mu=0.0))
    energy, forces = learned(field)
    representation = field_representation(lattice.cell, net.field_type.representation)
    for operation, permutation in zip(
        compatible_operations(lattice), site_permutations(lattice), strict=True
    ):
        matrices = representation.site_matrices(operation)
        moved_energy, moved_forces = learned(apply_operation(field, permutation, matrices))
        expected = apply_operation(forces, permutation, matrices)
        torch.testing.assert_close(moved_forces, expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(moved_energy, energy, rtol=0, atol=1e-10)


def test_the_network_is_described_and_built_again(make_network):
    lattice = square(4)
    net = make_network(lattice)
    again = build(describe(net), OrbitNetwork, lattice)
    assert again.field_type == net.field_type and again.field_type.coupled_by == "rashba"
    old = FieldType("3 trivial", 3, True, 3.5)
    assert "coupled_by" not in describe(old)["init_args"]


def test_networks_of_another_symmetry_are_refused_with_the_name_of_the_term(make_network):
    lattice = square(4)
    plain, coupled = DoubleExchange(lattice), DoubleExchange(lattice, rashba=0.3)
    separate = OrbitNetwork(lattice, plain.field_type)
    with pytest.raises(InputError, match="the term rashba of DoubleExchange couples spin and"):
        check_field_type(separate, coupled)
    with pytest.raises(InputError, match="the term rashba turns spins.* got 'trivial'"):
        OrbitNetwork(lattice, coupled.field_type)
    with pytest.raises(InputError, match="the term rashba of DoubleExchange is missing"):
        check_field_type(make_network(lattice), plain)
    check_field_type(make_network(lattice), coupled)
    with pytest.raises(InputError, match="the term flux of DoubleExchange changes under S → −S"):
        check_field_type(separate, DoubleExchange(lattice, flux=0.25))
    with pytest.raises(InputError, match="flux must be 0 for a network of spins"):
        OrbitNetwork(lattice, DoubleExchange(lattice, flux=0.25).field_type)
