"""Models with one wrong property each; the rest is that of a model of the package."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lattgnn.hamiltonians import DoubleExchange, Holstein, Peierls
from lattgnn.symmetry import FieldType


@dataclass(frozen=True)
class OneWay(Holstein):
    """The hopping has a phase that its reverse does not have."""

    def elements(self, field: Tensor) -> Tensor:
        elements = super().elements(field).to(torch.complex128)
        phase = torch.where(self.rows < self.cols, 1.0, 0.0)
        return elements * torch.exp(0.3j * phase)


@dataclass(frozen=True)
class Asymmetric(Holstein):
    """Real elements that differ between the two directions of a bond."""

    def elements(self, field: Tensor) -> Tensor:
        return super().elements(field) * torch.where(self.rows < self.cols, 1.2, 1.0)


@dataclass(frozen=True)
class Detached(Holstein):
    """The field leaves autograd on its way to the elements."""

    def elements(self, field: Tensor) -> Tensor:
        on_site = torch.from_numpy((-self.g * field.detach()).numpy()) + 0.0 * field
        hopping = field.new_full((*field.shape[:-1], len(self.rows) - self.lattice.n_sites), -1.0)
        return torch.cat([hopping, on_site], dim=-1)


@dataclass(frozen=True)
class NoBackground(Holstein):
    """The ½ of n − ½ is forgotten, but the coupling to the density is declared."""

    def background_energy(self, field: Tensor) -> Tensor:
        return 0.0 * field.sum(-1)


@dataclass(frozen=True)
class WrongClassicalForce(Holstein):
    """An anharmonic energy with the force of the harmonic one."""

    def classical_energy(self, field: Tensor) -> Tensor:
        return super().classical_energy(field) + 0.1 * field.pow(4).sum(-1)


@dataclass(frozen=True)
class WrongStiffness(Holstein):
    """An anharmonic model that still reports a stiffness."""

    def classical_energy(self, field: Tensor) -> Tensor:
        return -0.5 * (field * super().classical_forces(field)).sum(-1) + 0.1 * field.pow(4).sum(-1)

    def classical_forces(self, field: Tensor) -> Tensor:
        return super().classical_forces(field) - 0.4 * field.pow(3)


@dataclass(frozen=True)
class TightBound(Holstein):
    """A bound that the forces exceed."""

    @property
    def field_type(self) -> FieldType:
        return FieldType(force_bound=0.3 * self.g, density_coupling=self.g)


@dataclass(frozen=True)
class WrongCoupling(Holstein):
    """A coupling of the wrong sign."""

    @property
    def field_type(self) -> FieldType:
        return FieldType(force_bound=self.g / 2, density_coupling=-self.g)


@dataclass(frozen=True)
class MissingReverse(Holstein):
    """Bonds in one direction."""

    @cached_property
    def pattern(self) -> Tensor:
        return super().pattern[:, 1:]

    def elements(self, field: Tensor) -> Tensor:
        return super().elements(field)[..., 1:]


@dataclass(frozen=True)
class Repeated(Holstein):
    """One bond twice."""

    @cached_property
    def pattern(self) -> Tensor:
        return torch.cat([super().pattern[:, :1], super().pattern], dim=1)

    def elements(self, field: Tensor) -> Tensor:
        elements = super().elements(field)
        return torch.cat([elements[..., :1], elements], dim=-1)


@dataclass(frozen=True)
class NoDiagonal(Holstein):
    """The diagonal is left out."""

    @cached_property
    def pattern(self) -> Tensor:
        return super().pattern[:, : -self.lattice.n_sites]

    def elements(self, field: Tensor) -> Tensor:
        return super().elements(field)[..., : -self.lattice.n_sites]


@dataclass(frozen=True)
class SummedBatch(Holstein):
    """The energy is summed over the batch too."""

    def classical_energy(self, field: Tensor) -> Tensor:
        return 0.5 * self.k0 * field.square().sum()


@dataclass(frozen=True)
class MixedBatch(Holstein):
    """The mean of the batch enters the elements of each field."""

    def elements(self, field: Tensor) -> Tensor:
        mean = field.mean(0, keepdim=True) if field.ndim > 1 else field
        return super().elements(field - mean + field.mean(-1, keepdim=True))


@dataclass(frozen=True)
class MeanField(Holstein):
    """The hopping depends on the mean of the field over the whole lattice."""

    def elements(self, field: Tensor) -> Tensor:
        elements = super().elements(field)
        return elements * (1 + 0.2 * torch.tanh(field.mean(-1, keepdim=True)))


@dataclass(frozen=True)
class AllToAll(Holstein):
    """Every site couples to the field of all others, through the background energy."""

    def background_energy(self, field: Tensor) -> Tensor:
        return super().background_energy(field) + 0.5 * field.sum(-1).square()


def staggered(model: Holstein) -> Tensor:
    """±1 by the parity of the cell."""
    return torch.tensor((-1.0) ** model.lattice.cells.sum(1))


@dataclass(frozen=True)
class Staggered(Holstein):
    """A staggered on-site energy on a lattice whose sites are all equivalent."""

    def elements(self, field: Tensor) -> Tensor:
        return super().elements(field - 0.5 / self.g * staggered(self))


@dataclass(frozen=True)
class Anisotropic(Holstein):
    """A hopping that differs between the axes of the square lattice."""

    def elements(self, field: Tensor) -> Tensor:
        bonds = self.lattice.bonds(self.lattice.neighbor_distance)
        along_x = torch.tensor(bonds.displacement[:, 0]).abs() > 0.5
        factor = torch.cat([torch.where(along_x, 1.3, 1.0), torch.ones(self.lattice.n_sites)])
        return super().elements(field) * factor


@dataclass(frozen=True)
class Flux(Holstein):
    """A flux through the plaquettes beside one column, which no gauge transformation removes."""

    def elements(self, field: Tensor) -> Tensor:
        bonds = self.lattice.bonds(self.lattice.neighbor_distance)
        on_column = torch.tensor(self.lattice.cells[bonds.source, 0] == 0)
        phase = torch.exp(0.5j * torch.tensor(bonds.displacement[:, 1]) * on_column)
        elements = super().elements(field).to(torch.complex128)
        return torch.cat([elements[..., : len(phase)] * phase, elements[..., len(phase) :]], -1)


@dataclass(frozen=True)
class Disordered(Holstein):
    """On-site energies that are given for the sites of one lattice."""

    levels: Any = field(default=(), compare=False)

    def elements(self, field: Tensor) -> Tensor:
        return super().elements(field - torch.tensor(self.levels) / self.g)


@dataclass(frozen=True)
class Trivial(Peierls):
    """A displacement vector that does not turn with the lattice."""

    @property
    def field_type(self) -> FieldType:
        return FieldType("2 trivial", n_components=2)


@dataclass(frozen=True)
class EasyAxis(DoubleExchange):
    """A field along z in the energy of the electrons."""

    def background_energy(self, field: Tensor) -> Tensor:
        return 0.3 * field[..., 2].square().sum(-1)


@dataclass(frozen=True)
class Zeeman(DoubleExchange):
    """Electrons in a magnetic field, which the reversal of all spins would turn around."""

    def background_energy(self, field: Tensor) -> Tensor:
        return 0.3 * field.sum((-1, -2))
