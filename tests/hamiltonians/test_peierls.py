import pytest
import torch

from lattgnn.hamiltonians import Peierls
from lattgnn.lattice import chain, cubic, honeycomb, kagome, lieb, square, triangular

LATTICES = [
    chain(6),
    square(5),
    square(5, periodic=False),
    triangular(5),
    honeycomb(4),
    kagome(3),
    lieb(3),
]


def displacement(lattice, rng):
    return 0.1 * torch.randn(lattice.n_sites, lattice.dim, dtype=torch.float64, generator=rng)


@pytest.mark.parametrize("lattice", [*LATTICES, cubic(4)], ids=lambda x: f"{x.name}{x.periodic}")
def test_matrix_against_the_definition(lattice, rng):
    model, u = Peierls(lattice, t0=2.0, t2=0.3, g=1.5), displacement(lattice, rng)
    assert model.field_shape == tuple(u.shape) and model.field_type.representation == "vector"
    matrix = model.matrix(u)
    torch.testing.assert_close(matrix, matrix.mT, rtol=0, atol=0)
    near = min(r for s in range(lattice.n_sublattices) for r, _ in lattice.shells(1, s))
    second = {"square": 2**0.5, "cubic": 2**0.5, "lieb": 2**0.5, "chain": 2.0}.get(
        lattice.name, 3**0.5
    )
    expected = torch.zeros_like(matrix)
    bonds = lattice.bonds(second)
    for i, j, d in zip(
        bonds.destination, bonds.source, torch.tensor(bonds.displacement), strict=True
    ):
        if d.norm() < near + 1e-9:
            # The stretch of the bond from j to i.
            expected[i, j] = -2.0 + 1.5 * (u[i] - u[j]) @ d / near
        else:
            assert d.norm() == pytest.approx(second)
            expected[i, j] = -0.3
    torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda x: f"{x.name}{x.periodic}")
def test_classical_forces_are_minus_the_gradient_of_the_bond_sum(lattice, rng):
    model = Peierls(lattice, k0=0.7, kappa=0.3)
    u = torch.stack([displacement(lattice, rng) for _ in range(2)]).requires_grad_()
    bonds = lattice.bonds(lattice.neighbor_distance)  # every bond twice, once in each direction
    pairs = (u[:, torch.tensor(bonds.source)] * u[:, torch.tensor(bonds.destination)]).sum((-1, -2))
    energy = 0.35 * u.square().sum((-1, -2)) + 0.15 * pairs
    torch.testing.assert_close(model.classical_energy(u), energy, rtol=1e-13, atol=0)
    (gradient,) = torch.autograd.grad(energy.sum(), u)
    torch.testing.assert_close(model.classical_forces(u), -gradient, rtol=0, atol=1e-13)


def test_a_uniform_displacement_changes_no_bond(rng):
    model = Peierls(square(4))
    u = displacement(model.lattice, rng)
    torch.testing.assert_close(model.matrix(u + torch.tensor([0.3, -0.2])), model.matrix(u))


def test_without_second_neighbours_a_lattice_may_be_too_small_for_them():
    assert len(Peierls(square(3), t2=0.0).rows) == 9 * 4 + 9
    with pytest.raises(ValueError, match="t2 must be finite"):
        Peierls(square(4), t2=float("nan"))
