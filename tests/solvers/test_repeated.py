from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch

from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, Peierls
from lattgnn.lattice import chain, honeycomb, square, triangular
from lattgnn.solvers import ExactDiagonalization, RepeatedDiagonalization

MODELS = [
    (Holstein, chain(5), {}, 3),
    (Holstein, square(3, 4, periodic=(False, True)), {}, 2),
    (Peierls, honeycomb(3), {}, 2),
    (DoubleExchange, triangular(5, 6), {"t": [1.0, 0.0, -0.85], "J": 1.0}, (2, 1)),
    (DoubleExchange, triangular(3), {"rashba": 0.4}, 2),
]


def repeated_lattice(lattice, repeats):
    """The large lattice, and for each of its sites the site of which it is a copy."""
    copies = np.where(lattice.periodic, repeats, 1)
    larger = lattice.with_extent(*(copies * lattice.extent).tolist())
    return larger, lattice.ravel(larger.cells % lattice.extent, larger.sublattices)


@pytest.mark.parametrize("ensemble", [(0.05, -1.2, None), (0.05, None, 0.3), (0.0, -1.2, None)])
@pytest.mark.parametrize(("kind", "lattice", "parameters", "repeats"), MODELS)
def test_one_copy_of_the_large_lattice(kind, lattice, parameters, repeats, ensemble):
    larger, home = repeated_lattice(lattice, repeats)
    model, large = kind(lattice, **parameters), kind(larger, **parameters)
    generator = torch.Generator().manual_seed(0)
    field = 0.3 * torch.randn(2, *model.field_shape, generator=generator, dtype=torch.float64)
    if model.field_type.is_spin:
        field = torch.nn.functional.normalize(field, dim=-1)
    solver = RepeatedDiagonalization(*ensemble, repeats=repeats)
    energy, forces = ExactForceField(model, solver)(field)
    expected = ExactForceField(large, ExactDiagonalization(*ensemble))(field[:, home])
    n_copies = larger.n_sites / lattice.n_sites
    np.testing.assert_allclose(energy * n_copies, expected[0], rtol=1e-12)
    np.testing.assert_allclose(forces[:, home], expected[1], atol=1e-11)


def test_momentum_sums_of_free_electrons():
    """Three copies of 4 sites have the momenta of a chain of 12 sites."""
    state = RepeatedDiagonalization(0.02, mu=-0.3, repeats=3).solve(
        Holstein(chain(4)), torch.zeros(4).double()
    )
    levels = -2 * np.cos(2 * np.pi * np.arange(12) / 12)
    expected = -0.02 * np.logaddexp(0, (-0.3 - levels) / 0.02).sum() / 3
    assert float(state.energy) == pytest.approx(expected, rel=1e-13)


@dataclass(frozen=True)
class SumOfBonds(Holstein):
    """A chain of two sites, whose two bonds are added to one matrix element."""

    @cached_property
    def pattern(self):
        n = self.lattice.n_sites
        bonds = [(i, (i + 1) % n) for i in range(n)] + [(i, (i - 1) % n) for i in range(n)]
        return torch.tensor(sorted(set(bonds))).T

    def elements(self, field):
        return field.new_full((*field.shape[:-1], self.pattern.shape[1]), -1.0)


def test_a_lattice_with_two_bonds_between_two_sites_is_refused():
    with pytest.raises(InputError, match="too small for the bonds of SumOfBonds"):
        RepeatedDiagonalization(0.1, mu=0.0).solve(SumOfBonds(chain(2)), torch.zeros(2).double())


@pytest.mark.parametrize("repeats", [0, (2, 0), (2, 2, 2)])
def test_wrong_repeats_are_refused(repeats):
    with pytest.raises(InputError, match="repeats must be"):
        RepeatedDiagonalization(0.1, mu=0.0, repeats=repeats).solve(
            Holstein(square(4)), torch.zeros(16).double()
        )
