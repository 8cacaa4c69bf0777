"""How far a force reaches, and what needs the whole lattice."""

from dataclasses import dataclass, replace

import pytest
import torch

from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import kagome, square
from lattgnn.nn import OrbitNetwork
from lattgnn.patch_forces import classical_reach, reach
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization, GreenFunction

EXACT = ExactDiagonalization(kT=0.1, mu=0.0)


@dataclass(frozen=True)
class Coupled(Holstein):
    """A classical energy with every second cell, or with all of them."""

    everywhere: bool = False

    def classical_energy(self, field):
        grid = field.unflatten(-1, self.lattice.extent)
        if self.everywhere:
            return grid.sum((-2, -1)) ** 2
        return (grid * grid.roll(2, -1)).square().sum((-2, -1))

    def classical_forces(self, field):
        return super(Holstein, self).classical_forces(field)


@pytest.mark.parametrize(
    ("model", "right"),
    [(Holstein(square(30)), (1, 1)), (Holstein(kagome(30)), (1, 1)), (Coupled(square(30)), (0, 2))],
)
def test_the_reach_of_classical_forces(model, right):
    assert classical_reach(model) == right


def test_classical_forces_without_a_reach_are_refused():
    with pytest.raises(InputError, match="reach through the whole lattice"):
        classical_reach(Coupled(square(30), everywhere=True))


@pytest.mark.parametrize("conservative", [False, True])
def test_the_reach_of_a_network(conservative):
    model = Holstein(square(30))
    net = OrbitNetwork(model.lattice, model.field_type, conservative=conservative)
    force_field = LearnedForceField(net.double(), model, EXACT)
    found = reach(force_field)
    torch.manual_seed(1)
    field = torch.randn(2, 900, dtype=torch.float64)
    field[1] = field[0]
    field[1].view(30, 30)[:, : 15 - found[1]] += 1
    field[1].view(30, 30)[:, 15 + found[1] + 1 :] += 1
    _, forces = force_field(field)
    same = (forces[0] - forces[1]).abs().view(30, 30)
    assert same[:, 15].max() < 1e-13 and same[:, 14].max() > 1e-13


def test_what_needs_the_whole_lattice_is_refused():
    model = Holstein(square(8))
    learned = LearnedForceField.pretrained("holstein-square-small", square(20), filling=0.4)
    green = GreenFunction(kT=0.1, mu=0.0, block=1)
    refused = {
        "needs the density of the whole lattice": learned,
        "GreenFunction or DomainDiagonalization, or one process": ExactForceField(
            model, EXACT, energy=False
        ),
        "finds mu from the whole lattice": ExactForceField(
            model, replace(green, mu=None, filling=0.4), energy=False
        ),
        "Use --force_field.energy=false": ExactForceField(model, green),
    }
    for message, force_field in refused.items():
        with pytest.raises(InputError, match=message):
            reach(force_field)
    # Not the advice to leave out the energy, which would not help.
    with pytest.raises(InputError, match="cannot be cut"):
        reach(ExactForceField(model, EXACT))


def test_the_reach_of_solvers():
    domains = DomainDiagonalization(kT=0.1, mu=0.0, core=4, buffer=3)
    assert reach(ExactForceField(DoubleExchange(square(16)), domains, energy=False)) == (3, 3)
    green = GreenFunction(kT=0.1, mu=0.0, block=1)
    assert reach(ExactForceField(Holstein(square(16)), green, energy=False)) == (5, 5)
