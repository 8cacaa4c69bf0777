"""Constants of the classical energy were never learned: a checkpoint holds for all of them."""

from dataclasses import replace

import pytest
import torch

from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization


@pytest.mark.parametrize("model", [Holstein, Peierls, JahnTeller])
def test_the_declared_parameters_are_in_the_classical_energy_alone(model, rng):
    original = model(square(4))
    field = torch.randn(original.field_shape, generator=rng, dtype=torch.float64)
    assert original.classical_parameters
    for name in original.classical_parameters:
        changed = replace(original, **{name: 7.0})
        assert changed.has_same_electrons(original)
        assert torch.equal(changed.elements(field), original.elements(field))
        assert torch.equal(changed.background_energy(field), original.background_energy(field))
        assert changed.classical_energy(field) != original.classical_energy(field)
        assert changed.field_type == original.field_type


def test_other_parameters_and_models_are_told_apart():
    holstein = Holstein(square(4))
    assert not holstein.has_same_electrons(Holstein(square(4), g=3.0))
    assert not holstein.has_same_electrons(Peierls(square(4)))
    assert DoubleExchange.classical_parameters == ("classical",)


@pytest.mark.parametrize("name", ["holstein-square-small", "peierls-square"])
def test_forces_with_other_constants(name, rng):
    """The change of the force is that of the exact classical force, compiled or not."""
    learned = LearnedForceField.pretrained(name, square(8))
    model = replace(learned.hamiltonian, k0=2.0)
    field = torch.randn(1, *learned.field_shape, generator=rng)
    change = learned.with_hamiltonian(model)(field)[1] - learned(field)[1]
    expected = model.classical_forces(field) - learned.hamiltonian.classical_forces(field)
    torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-4)
    assert learned.with_hamiltonian(learned.hamiltonian) is learned
    assert learned.with_hamiltonian(model).field_statistics == learned.field_statistics


def test_other_electrons_are_refused():
    learned = LearnedForceField.pretrained("holstein-square-small", square(8))
    with pytest.raises(ValueError, match="hamiltonian must have the electrons"):
        learned.with_hamiltonian(Holstein(square(8), g=3.0))


def test_the_exact_force_field_is_the_reference(rng):
    model = Holstein(square(4), k0=2.0)
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    field = torch.randn(16, generator=rng, dtype=torch.float64)
    total = ExactForceField(model, solver)(field)[1]
    electronic = ExactForceField(Holstein(square(4)), solver).electronic(field)[1]
    torch.testing.assert_close(total, electronic + model.classical_forces(field))
