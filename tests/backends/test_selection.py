"""Which code runs a network: chosen, checked, and renewed when weights change."""

import pytest
import torch

from lattgnn.backends import NativeForces, selection
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.native import library
from lattgnn.nn import OrbitNetwork
from lattgnn.solvers import ExactDiagonalization

SOLVER = ExactDiagonalization(kT=0.1, mu=0.0)
needs_compiler = pytest.mark.skipif(library() is None, reason="no C++ compiler")


@pytest.fixture
def make(randomized):
    def force_field(fast=True, **options):
        lattice = square(8)
        net = randomized(OrbitNetwork(lattice, 1.75, channels=4, **options), std=0.2)
        return LearnedForceField(net, Holstein(lattice), SOLVER, fast=fast)

    return force_field


@needs_compiler
@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fast_and_own_code_agree(conservative, dtype, make, rng, float32_bound):
    fast, own = make(conservative=conservative), make(fast=False, conservative=conservative)
    field = torch.randn(2, 3, 64, generator=rng).to(dtype)
    # The network is float32 whatever the field is: two evaluations, each within the bound.
    energy_bound, bound = float32_bound(own.net, own.lattice, field.view(6, 64))
    for evaluate in ("__call__", "electronic"):
        energy, forces = getattr(fast, evaluate)(field)
        right_energy, right = getattr(own, evaluate)(field)
        assert forces.dtype == dtype and forces.shape == field.shape
        torch.testing.assert_close(forces, right, rtol=0, atol=2 * bound)
        if conservative:
            assert energy.dtype == dtype and energy.shape == (2, 3)
            assert ((energy - right_energy).abs() < 2 * energy_bound.view(2, 3)).all()
    assert isinstance(fast.engine._electronic, NativeForces)


def test_forces_go_where_they_are_wanted(make, rng):
    force_field = make()
    field, out = torch.randn(2, 64, generator=rng), torch.empty(2, 64)
    right = force_field(field)[1]
    assert force_field(field, out=out)[1].data_ptr() == out.data_ptr()
    assert torch.equal(out, right)


def test_new_weights_are_noticed(make, rng, float32_bound):
    force_field = make()
    field = torch.randn(1, 64, generator=rng)
    before = force_field(field)[1]
    with torch.no_grad():
        next(force_field.net.parameters()).mul_(1.5)
    after = force_field(field)[1]
    assert (after - before).abs().max() > 1e-3
    own = LearnedForceField(force_field.net, force_field.hamiltonian, SOLVER, fast=False)
    bound = 2 * float32_bound(own.net, own.lattice, field)[1]
    torch.testing.assert_close(after, own(field)[1], rtol=0, atol=bound)


@needs_compiler
def test_code_that_gives_other_forces_is_refused(make, monkeypatch):
    wrong = NativeForces.__call__
    monkeypatch.setattr(
        NativeForces,
        "__call__",
        lambda self, field, out=None: (None, wrong(self, field, out)[1] + 1e-3),
    )
    with pytest.raises(
        RuntimeError, match="must be within 1e-05 of the network's, .* got .*fast=False"
    ):
        make()(torch.zeros(1, 64))


def test_without_a_compiler_the_network_runs(make, monkeypatch, rng, float32_bound):
    field = torch.randn(1, 64, generator=rng)
    right = make()(field)[1]
    monkeypatch.setattr(selection, "library", lambda: None)
    force_field = make()
    bound = 2 * float32_bound(force_field.net, force_field.lattice, field)[1]
    torch.testing.assert_close(force_field(field)[1], right, rtol=0, atol=bound)
    assert not isinstance(force_field.engine._electronic, NativeForces)
