import pytest
import torch

from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange
from lattgnn.lattice import chain, kagome, shastry_sutherland, square, triangular
from lattgnn.solvers import ExactDiagonalization
from lattgnn.solvers.ed import solve_with_lapack, solve_with_torch
from lattgnn.symmetry import FieldType

PAULI = torch.tensor(
    [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=torch.complex128
)


def spins(lattice, rng, *batch):
    field = torch.randn(*batch, lattice.n_sites, 3, dtype=torch.float64, generator=rng)
    return field / field.norm(dim=-1, keepdim=True)


def rotation(rng):
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=rng))[0]
    return turn * torch.linalg.det(turn)


@pytest.mark.parametrize(
    "lattice", [chain(5, periodic=False), square(3, 4), kagome(2)], ids=lambda x: x.name
)
def test_matrix_against_the_definition(lattice, rng):
    model, field = DoubleExchange(lattice, t=0.8, J=2.5), spins(lattice, rng)
    matrix = model.matrix(field)
    assert matrix.dtype == torch.complex128
    torch.testing.assert_close(matrix, matrix.mH, rtol=0, atol=0)
    adjacency = torch.zeros(lattice.n_sites, lattice.n_sites, dtype=torch.complex128)
    bonds = lattice.bonds(lattice.neighbor_distance)
    adjacency[torch.tensor(bonds.destination), torch.tensor(bonds.source)] = -0.8
    expected = torch.kron(adjacency, torch.eye(2, dtype=torch.complex128))
    blocks = -2.5 * torch.einsum("ik,kab->iab", field + 0j, PAULI)
    torch.testing.assert_close(matrix, expected + torch.block_diag(*blocks), rtol=0, atol=1e-14)


def test_one_spin_alone():
    """Levels ∓J; one electron at T = 0 is parallel to S, and two or none pull at nothing."""
    model = DoubleExchange(square(2, periodic=False), t=0.0, J=1.7)
    field = spins(model.lattice, torch.Generator().manual_seed(1))
    energy, forces = ExactForceField(model, ExactDiagonalization(0.0, mu=0.0))(field)
    assert float(energy) == pytest.approx(-4 * 1.7)
    torch.testing.assert_close(forces, 1.7 * field)
    assert ExactForceField(model, ExactDiagonalization(0.0, mu=5.0))(field)[1].abs().max() < 1e-12


@pytest.mark.parametrize("lattice", [square(4), triangular(3), kagome(2)], ids=lambda x: x.name)
@pytest.mark.parametrize(
    "solver",
    [ExactDiagonalization(0.05, filling=0.3), ExactDiagonalization(0.1, mu=-1.0)],
    ids=["filling", "mu"],
)
def test_a_global_rotation_of_the_spins(lattice, solver, rng):
    force_field, turn = ExactForceField(DoubleExchange(lattice), solver), rotation(rng)
    field = spins(lattice, rng, 2)
    energy, forces = force_field(field)
    assert forces.norm(dim=-1).max() <= 3.5
    for matrix in (turn, -turn):  # time reversal takes S to −S: no term tells them apart
        turned_energy, turned_forces = force_field(field @ matrix.T)
        torch.testing.assert_close(turned_energy, energy, rtol=0, atol=1e-10)
        torch.testing.assert_close(turned_forces, forces @ matrix.T, rtol=0, atol=1e-10)


def test_the_sign_of_the_exchange_is_a_name_and_a_ferromagnet_feels_no_torque(rng):
    solver, lattice = ExactDiagonalization(0.05, filling=0.3), square(4)
    field = spins(lattice, rng)
    energy, forces = ExactForceField(DoubleExchange(lattice), solver)(field)
    other_energy, other_forces = ExactForceField(DoubleExchange(lattice, J=-3.5), solver)(field)
    torch.testing.assert_close(other_energy, energy)
    torch.testing.assert_close(other_forces, forces)
    uniform = field[:1].expand(16, 3)
    _, forces = ExactForceField(DoubleExchange(lattice), solver)(uniform)
    assert torch.linalg.cross(forces, uniform).abs().max() < 1e-12


def test_both_engines_agree(rng):
    model, solver = DoubleExchange(square(3)), ExactDiagonalization(0.05, filling=0.3)
    field = spins(model.lattice, rng, 1)
    results = [
        solve(model, field, solver._occupy) for solve in (solve_with_lapack, solve_with_torch)
    ]
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_it_says_that_it_is_a_spin():
    model = DoubleExchange(square(3))
    assert model.field_type == FieldType("3 trivial", 3, is_spin=True, force_bound=3.5)
    assert model.field_shape == (9, 3)


def test_hoppings_by_label_reach_both_spins(rng):
    lattice = shastry_sutherland(2)
    model = DoubleExchange(lattice, t={"dimer": 1.5, "square": 0.4}, J=2.0)
    spins = torch.randn(lattice.n_sites, 3, dtype=torch.float64, generator=rng)
    matrix = model.matrix(spins).reshape(lattice.n_sites, 2, lattice.n_sites, 2)
    expected = torch.zeros(lattice.n_sites, lattice.n_sites, dtype=torch.complex128)
    for label, hopping in (("dimer", 1.5), ("square", 0.4)):
        bonds = lattice.bonds(label=label)
        expected[torch.tensor(bonds.destination), torch.tensor(bonds.source)] = -hopping
    between = ~torch.eye(lattice.n_sites, dtype=torch.bool)
    for spin in range(2):
        assert torch.equal(matrix[:, spin, :, spin][between], expected[between])
    assert not matrix[:, 0, :, 1][between].any()
    with pytest.raises(ValueError, match="^t must hold one value for each label"):
        DoubleExchange(lattice, t={"dimer": 1.5})
