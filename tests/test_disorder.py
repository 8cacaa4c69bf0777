"""On-site disorder: the clean model in a shifted field is the disordered model, exactly."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest
import torch

from lattgnn.disorder import BoxDisorder, DisorderedForceField
from lattgnn.dynamics import Regular, VerletLangevin, initial_state, simulate
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein, Peierls
from lattgnn.lattice import kagome, square
from lattgnn.solvers import ExactDiagonalization


@dataclass(frozen=True)
class DirtyHolstein(Holstein):
    """The Holstein model with Σ_i ε_i n_i written into its matrix."""

    energies: tuple[float, ...] = field(default=())

    @cached_property
    def diagonal(self):
        return torch.tensor(self.energies, dtype=torch.float64)

    def elements(self, field):
        elements = super().elements(field)
        return torch.cat(
            [elements[..., : -self.n_states], elements[..., -self.n_states :] + self.diagonal], -1
        )


@pytest.mark.parametrize("lattice", [square(4), kagome(3)], ids=lambda lattice: lattice.name)
@pytest.mark.parametrize("ensemble", [{"mu": 0.3}, {"filling": 0.4}], ids=str)
def test_shifted_fields_give_the_forces_and_energies_of_the_disordered_model(
    lattice, ensemble, rng
):
    solver = ExactDiagonalization(0.1, **ensemble)
    energies = BoxDisorder(width=3.0, seed=5).energies(lattice)
    dirty = ExactForceField(DirtyHolstein(lattice, g=2.0, energies=tuple(energies)), solver)
    clean = ExactForceField(Holstein(lattice, g=2.0), solver)
    field = torch.randn(3, lattice.n_sites, dtype=torch.float64, generator=rng)
    for found, expected in zip(
        DisorderedForceField(clean, energies)(field), dirty(field), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    shifted = DisorderedForceField(clean, energies).electronic(field)
    for found, expected in zip(shifted, dirty.electronic(field), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert (clean(field)[1] - dirty(field)[1]).abs().max() > 0.1


def test_a_learned_force_field_serves_every_disorder():
    lattice = square(8)
    learned = LearnedForceField.pretrained("holstein-square", lattice=lattice)
    disordered = DisorderedForceField(learned, BoxDisorder(width=2.0, seed=1))
    generator = torch.Generator().manual_seed(2)
    field = 5.3 * torch.randn(2, lattice.n_sites, dtype=torch.float64, generator=generator)
    energies = BoxDisorder(width=2.0, seed=1).energies(lattice)
    model = DirtyHolstein(lattice, energies=tuple(energies))
    exact = ExactForceField(model, ExactDiagonalization(kT=0.1, mu=0.0))
    error = (disordered(field)[1] - exact(field)[1]).square().mean()
    undisturbed = (learned(field)[1] - exact(field)[1]).square().mean()
    assert error < 2e-3 < 0.1 * undisturbed


def test_box_disorder_is_uniform_and_repeatable():
    lattice = square(200)
    energies = BoxDisorder(width=3.0, seed=4).energies(lattice)
    assert np.abs(energies).max() <= 1.5
    assert energies.mean() == pytest.approx(0.0, abs=0.02)
    assert energies.var() == pytest.approx(3.0**2 / 12, rel=0.02)  # of a uniform distribution
    assert (energies == BoxDisorder(3.0, 4).energies(lattice)).all()
    assert (energies != BoxDisorder(3.0, 5).energies(lattice)).any()


def test_what_cannot_be_shifted_is_refused():
    solver = ExactDiagonalization(0.1, mu=0.0)
    clean = ExactForceField(Holstein(square(4)), solver)
    with pytest.raises(ValueError, match="one finite number for each of the 16 sites"):
        DisorderedForceField(clean, np.zeros(15))
    with pytest.raises(ValueError, match="one finite number for each of the 16 sites"):
        DisorderedForceField(clean, np.full(16, np.nan))
    with pytest.raises(ValueError, match="field that couples to the density"):
        DisorderedForceField(ExactForceField(Peierls(square(4)), solver), np.zeros(16))
    with pytest.raises(ValueError, match="width must be a finite number"):
        BoxDisorder(width=-1.0)


def test_a_run_is_compared_with_the_training_in_shifted_fields(recwarn):
    lattice = square(6)
    learned = LearnedForceField.pretrained("holstein-square", lattice=lattice)
    start = initial_state(learned, seed=1, n_replicas=1, field_std=5.3, momentum_std=5.0)
    for width, leaves in ((1.0, False), (1000.0, True)):
        recwarn.clear()
        force_field = DisorderedForceField(learned, BoxDisorder(width))
        simulate(force_field, VerletLangevin(0.05, 0.1, 0.2, 5.0), start, 2, Regular(every=1))
        found = [w for w in recwarn if "leaves the fields" in str(w.message)]
        assert bool(found) == leaves
