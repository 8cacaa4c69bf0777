"""The orbit network of classical spins: spin rotations, space group, conservative fields."""

import pytest
import torch

from lattgnn.checkpoint import check_field_type
from lattgnn.dynamics import HeunLLG, State
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import DoubleExchange
from lattgnn.lattice import chain, kagome, lieb, square, triangular
from lattgnn.nn import ForceNetwork, tangent_part
from lattgnn.serialize import build, describe
from lattgnn.solvers import ExactDiagonalization
from tests.orbit_networks import orbit_network

BOUND = 3.5
LATTICES = [square(4), triangular(4), kagome(3), lieb(3)]
SPINS = {"field": "3 trivial", "is_spin": True, "channels": 5, "spin_channels": 3}


@pytest.fixture
def make_network(randomized):
    def make(lattice=None, std=0.3, **options):
        options = {"nonlinearity": "square", "conservative": True, **SPINS, **options}
        return randomized(
            orbit_network(square(6) if lattice is None else lattice, BOUND, **options).double(), std
        )

    return make


def spins(lattice, rng):
    """Random, parallel, staggered and again random spins of unit length."""
    random = torch.randn(2, lattice.n_sites, 3, generator=rng, dtype=torch.float64)
    signs = torch.from_numpy((-1.0) ** lattice.cells.sum(1))[:, None]
    axis = torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64)
    fields = torch.stack([random[0], axis.expand(lattice.n_sites, 3), signs * axis, random[1]])
    return torch.nn.functional.normalize(fields, dim=-1)


def rotation(rng, sign=1.0):
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=rng, dtype=torch.float64))
    return sign * torch.linalg.det(q) * q


CASES = [
    *((lattice, {}) for lattice in LATTICES),
    (square(4), {"nonlinearity": "product", "n_layers": 1}),
    (square(4), {"tangent": True}),
    (square(4), {"conservative": False, "nonlinearity": "gate"}),
    (kagome(3), {"conservative": False, "tangent": True}),
    (
        square(4),
        {"representation": "trivial + vector", "n_layers": 1, "channels": 2, "spin_channels": 2},
    ),
]


@pytest.mark.parametrize("lattice, options", CASES, ids=lambda x: getattr(x, "name", str(x)))
def test_spin_space_and_space_group(lattice, options, make_network, symmetry_error, rng):
    """All spins rotated or reflected; every lattice operation followed by a translation."""
    net, field = make_network(lattice, **options), spins(lattice, rng)
    graph = net.graph(lattice)
    energy, forces = net(field, graph)
    tolerance = 1e-10 * forces.detach().abs().max().item()
    for sign in (1.0, -1.0):
        turn = rotation(rng, sign)
        turned_energy, turned_forces = net(field @ turn.T, graph)
        torch.testing.assert_close(turned_forces, forces @ turn.T, rtol=0, atol=tolerance)
        if energy is not None:
            torch.testing.assert_close(turned_energy, energy, rtol=1e-10, atol=1e-10)
    assert symmetry_error(net, lattice, "3 trivial", fields=field) < 1e-10


def test_a_mix_of_components_fails_the_same_check(make_network, rng):
    """A layer that singles out an axis of spin space does not commute with spin rotations."""
    lattice = square(6)
    net, field = make_network(lattice), spins(lattice, rng)
    basis, axis = net.basis.forward, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    net.basis.forward = lambda f, g: (
        [b + 0.05 * (f @ axis).T[..., None] for b in basis(f, g)[:1]] + basis(f, g)[1:]
    )
    turn = rotation(rng)
    one, other = (net(f, net.graph(lattice))[1] for f in (field, field @ turn.T))
    assert (other - one @ turn.T).abs().max() > 1e-3


@pytest.mark.parametrize("tangent", [False, True])
@pytest.mark.parametrize("lattice", [square(4), kagome(3)], ids=lambda lattice: lattice.name)
def test_the_field_is_minus_the_gradient_of_the_energy(lattice, tangent, make_network, rng):
    net, field = make_network(lattice, tangent=tangent), spins(lattice, rng)[:1]
    graph, h = net.graph(lattice), 1e-5
    forces = net(field, graph)[1].flatten()
    for entry in (0, 7, 20):
        step = torch.zeros_like(field)
        step.view(-1)[entry] = h
        slope = (net(field + step, graph)[0] - net(field - step, graph)[0]) / (2 * h)
        torch.testing.assert_close(-slope[0], forces[entry], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("conservative", [False, True])
def test_tangent_fields_are_the_whole_ones_without_their_part_along_the_spins(
    conservative, make_network, rng
):
    """The energy's second output, which a tangent network lacks, only acts along the spins."""
    lattice = square(6)
    field, options = (
        spins(lattice, rng),
        {"conservative": conservative, "representation": "trivial"},
    )
    whole, part = (make_network(lattice, tangent=tangent, **options) for tangent in (False, True))
    state = whole.state_dict()
    part.load_state_dict({k: v[:1] if k.startswith("readout.mix") else v for k, v in state.items()})
    graph = whole.graph(lattice)
    forces, tangents = whole(field, graph)[1], part(field, graph)[1]
    torch.testing.assert_close(tangents, tangent_part(forces, field), rtol=0, atol=1e-11)
    assert (tangents * field).sum(-1).abs().max() < 1e-11 and (forces * field).sum(
        -1
    ).abs().max() > 0.1


def test_training_reaches_every_parameter(make_network, rng):
    lattice = square(6)
    net = make_network(lattice)
    net(spins(lattice, rng), net.graph(lattice))[1].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_samples_do_not_see_each_other(make_network, rng):
    lattice = kagome(3)
    net, field = make_network(lattice), spins(lattice, rng).requires_grad_()
    graph = net.graph(lattice)
    energy, forces = net(field, graph)
    torch.testing.assert_close(forces[3:], net(field[3:], graph)[1], rtol=0, atol=1e-12)
    conserved = make_network(lattice, conservative=False)
    (gradient,) = torch.autograd.grad(conserved(field, graph)[1][0].sum(), field)
    assert gradient[0].abs().sum() > 0 and gradient[1:].abs().max() == 0


def test_same_parameters_on_every_extent(make_network, rng):
    small, large = square(4), square(8)
    net, field = make_network(small), spins(small, rng)
    tiled = field.view(-1, 4, 4, 3).repeat(1, 2, 2, 1).flatten(1, 2)
    energy, forces = net(field, net.graph(small))
    tiled_energy, tiled_forces = net(tiled, net.graph(large))
    torch.testing.assert_close(tiled_energy, 4 * energy, rtol=1e-12, atol=0)
    expected = forces.view(-1, 4, 4, 3).repeat(1, 2, 2, 1).flatten(1, 2)
    torch.testing.assert_close(tiled_forces, expected, rtol=0, atol=1e-11)


def test_open_boundaries_have_fewer_neighbors(make_network, rng):
    """Sites at an end sum over existing bonds; one more cell only changes the end of the chain."""
    net = make_network(chain(6, periodic=False), cutoff=1.0, n_layers=1)
    field = spins(chain(12, periodic=False), rng)
    long = net(field, net.graph(chain(12, periodic=False)))[1]
    short = net(field[:, :11], net.graph(chain(11, periodic=False)))[1]
    torch.testing.assert_close(short[:, :6], long[:, :6], rtol=0, atol=1e-11)
    assert (short[:, 10] - long[:, 10]).abs().max() > 1e-3


def test_description_rebuilds_the_network(make_network, rng):
    net = make_network(lieb(3), tangent=True)
    again = build(describe(net), ForceNetwork, lieb(3)).double()
    again.load_state_dict(net.state_dict())
    assert describe(again) == describe(net)
    field, graph = spins(lieb(3), rng), net.graph(lieb(3))
    torch.testing.assert_close(again(field, graph)[1], net(field, graph)[1], rtol=0, atol=0)


def test_a_learned_field_moves_spins(make_network, tmp_path, rng):
    """Save, load on another extent and integrate the LLG equation.

    The lengths of the spins stay constant, and the energy decreases at kT = 0.
    """
    trained_on, lattice = square(4), square(6)
    solver = ExactDiagonalization(kT=0.1, filling=0.48)
    LearnedForceField(make_network(trained_on, std=0.2), DoubleExchange(trained_on), solver).save(
        tmp_path / "s.ckpt"
    )
    learned = LearnedForceField.load(tmp_path / "s.ckpt", lattice=lattice)
    learned.net.double()
    field = spins(lattice, rng)[:1]
    energy, forces = learned(field)
    assert energy is not None
    state, energies = State(field, torch.zeros_like(field), forces, energy), [float(energy)]
    for _ in range(4):
        state = HeunLLG(dt=0.05, kT=0.0, alpha=0.3).step(learned, state)
        assert state.energy is not None
        energies.append(float(state.energy))
    assert energies == sorted(energies, reverse=True) and energies[-1] < energies[0] - 1e-3
    assert (state.field.norm(dim=-1) - 1).abs().max() < 1e-12


def test_fields_and_options_that_do_not_fit_are_told_in_one_line(make_network):
    lattice = square(6)
    plain = orbit_network(lattice, BOUND, field="3 trivial")
    with pytest.raises(
        ValueError, match="is_spin=True.* got .*is_spin=False.* hamiltonian.field_type"
    ):
        check_field_type(plain, DoubleExchange(lattice))
    check_field_type(make_network(lattice), DoubleExchange(lattice))
    for wrong, words in [
        ({"odd": True}, "odd must be false for spins"),
        ({"nonlinearity": "gate"}, "invariants of spins for an energy, got 'gate'. Use 'square'"),
        ({"is_spin": False, "nonlinearity": "gate", "tangent": True}, "tangent must be false for"),
        ({"spin_channels": 0}, "spin_channels must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            make_network(lattice, **wrong)
