"""The base serves models with several orbitals, vector fields and complex elements."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Hamiltonian, Holstein, JahnTeller, Peierls
from lattgnn.lattice import square, triangular
from lattgnn.solvers import ExactDiagonalization
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class Kondo(Hamiltonian):
    """H = −Σ c†c − J Σ S·c†σc, with an anisotropy D Σ S_z⁴ without a closed-form force."""

    J: float = 3.0
    D: float = 0.4

    n_orbitals = 2

    @property
    def field_type(self) -> FieldType:
        return FieldType("pseudovector", n_components=3)

    @property
    def _bonds(self):
        bonds = self.lattice.bonds(self.lattice.neighbor_distance)
        return torch.tensor(bonds.destination), torch.tensor(bonds.source)

    @property
    def rows(self) -> Tensor:
        up = torch.arange(0, self.n_states, 2)
        destination = 2 * self._bonds[0]
        return torch.cat([destination, destination + 1, up, up, up + 1, up + 1])

    @property
    def cols(self) -> Tensor:
        up = torch.arange(0, self.n_states, 2)
        source = 2 * self._bonds[1]
        return torch.cat([source, source + 1, up, up + 1, up, up + 1])

    def elements(self, field: Tensor) -> Tensor:
        x, y, z = field.unbind(-1)
        hopping = -torch.ones(*x.shape[:-1], 2 * len(self._bonds[0]), dtype=torch.complex128)
        on_site = [z + 0j, torch.complex(x, -y), torch.complex(x, y), -z + 0j]
        return torch.cat([hopping] + [-self.J * part for part in on_site], dim=-1)

    def classical_energy(self, field: Tensor) -> Tensor:
        return self.D * (field[..., 2] ** 4).sum(-1)


def spins(lattice, rng) -> Tensor:
    return torch.randn(2, lattice.n_sites, 3, dtype=torch.float64, generator=rng)


@pytest.mark.parametrize("lattice", [square(4, 3), triangular(3)])
@pytest.mark.parametrize(
    "solver", [ExactDiagonalization(0.05, mu=-0.3), ExactDiagonalization(0.05, filling=0.45)]
)
def test_complex_two_orbital_forces_are_minus_the_gradient_of_the_energy(lattice, solver, rng):
    force_field = ExactForceField(Kondo(lattice), solver)
    assert force_field.field_shape == (lattice.n_sites, 3)
    field, direction, h = spins(lattice, rng), spins(lattice, rng), 1e-5
    energy, forces = force_field(field)
    assert energy.shape == (2,) and forces.shape == field.shape
    slope = (force_field(field + h * direction)[0] - force_field(field - h * direction)[0]) / (
        2 * h
    )
    torch.testing.assert_close(-(forces * direction).sum((-1, -2)), slope, rtol=1e-7, atol=1e-7)


def test_the_spectrum_is_blind_to_a_global_rotation_of_the_spins(rng):
    lattice = square(3)
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=rng))[0]
    rotation = rotation * torch.linalg.det(rotation)
    force_field = ExactForceField(Kondo(lattice, D=0.0), ExactDiagonalization(0.1, mu=0.0))
    field = spins(lattice, rng)
    (energy, forces), (turned_energy, turned_forces) = (
        force_field(field),
        force_field(field @ rotation.T),
    )
    torch.testing.assert_close(turned_energy, energy, rtol=1e-12, atol=0)
    torch.testing.assert_close(turned_forces, forces @ rotation.T, rtol=0, atol=1e-10)


def test_matrix_is_hermitian_and_differentiable(rng):
    model = Kondo(square(3))
    field = spins(model.lattice, rng).requires_grad_()
    matrix = model.matrix(field)
    assert matrix.shape == (2, 18, 18)
    torch.testing.assert_close(matrix, matrix.mH, rtol=0, atol=0)
    assert torch.autograd.grad(matrix.abs().square().sum(), field)[0].shape == field.shape


def test_background_energy_is_zero_unless_a_model_says_otherwise(rng):
    model = Kondo(square(3))
    assert model.field_type.force_bound is None
    torch.testing.assert_close(
        model.background_energy(spins(model.lattice, rng)), torch.zeros(2).double()
    )


def test_a_lattice_too_small_for_the_bonds_is_refused_when_a_model_is_made():
    for model in (Holstein, Peierls, DoubleExchange, JahnTeller, Kondo):
        with pytest.raises(InputError, match="extent must be large enough"):
            model(square(1, 6))


def test_the_checks_of_the_base_class_follow_those_of_a_model():
    @dataclass(frozen=True)
    class Picky(Kondo):
        def __post_init__(self) -> None:
            if self.J < 0:
                raise InputError("J must be positive")

    with pytest.raises(InputError, match="J must be positive"):
        Picky(square(1, 6), J=-1.0)
    with pytest.raises(InputError, match="extent must be large enough"):
        Picky(square(1, 6))
    with pytest.raises(InputError, match="D must be finite"):
        Picky(square(3), D=float("inf"))


def test_a_model_without_a_pattern_says_what_is_missing():
    @dataclass(frozen=True)
    class Unfinished(Hamiltonian):
        def elements(self, field: Tensor) -> Tensor:
            return field

        def classical_energy(self, field: Tensor) -> Tensor:
            return field.sum(-1)

    with pytest.raises(NotImplementedError, match="Unfinished must define `pattern`"):
        Unfinished(square(3))
