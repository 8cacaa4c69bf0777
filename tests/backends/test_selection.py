"""The backend of a network: chosen, checked, and rebuilt when weights change."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from lattgnn.backends import NativeForces, selection
from lattgnn.errors import InputError
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.native import library
from lattgnn.solvers import ExactDiagonalization
from tests.orbit_networks import orbit_network

SOLVER = ExactDiagonalization(kT=0.1, mu=0.0)
needs_compiler = pytest.mark.skipif(library() is None, reason="no C++ compiler")


@pytest.fixture
def make(randomized):
    def force_field(fast=True, **options):
        lattice = square(8)
        net = randomized(orbit_network(lattice, 1.75, channels=4, **options), std=0.2)
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
    assert isinstance(fast.backend._current().electronic, NativeForces)


def test_forces_go_where_they_are_wanted(make, rng):
    force_field = make()
    field, out = torch.randn(2, 64, generator=rng), torch.empty(2, 64)
    right = force_field(field)[1]
    assert force_field(field, out=out)[1].data_ptr() == out.data_ptr()
    assert torch.equal(out, right)


def through_data(net):
    """Neither the version counter nor the identity of the parameter changes."""
    next(net.parameters()).data.mul_(1.5)


def through_numpy(net):
    next(net.parameters()).detach().numpy()[...] *= 1.5


def in_place(net):
    with torch.no_grad():
        next(net.parameters()).mul_(1.5)


def assigned_data(net):
    weight = next(net.parameters())
    weight.data = 1.5 * weight.data


def transposed_data(net):
    """The same bytes at the same address, but with other strides."""
    weight = next(w for w in net.parameters() if w.ndim == 2 and w.shape[0] == w.shape[1])
    weight.data = weight.data.T


def replaced_parameter(net):
    for module in net.modules():
        for name, weight in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(1.5 * weight.detach()))


def replaced_module(net):
    net.embed = copy.deepcopy(net.embed)
    in_place(net.embed)


def assigned_state(net):
    state = {key: 1.5 * value for key, value in net.state_dict().items()}
    net.load_state_dict(state, assign=True)


def buffer_in_place(net):
    net.basis.steps.data.mul_(1.5)


def replaced_buffer(net):
    net.basis.bumps = 1.5 * net.basis.bumps


CHANGES = [
    through_data,
    through_numpy,
    in_place,
    assigned_data,
    transposed_data,
    replaced_parameter,
    replaced_module,
    assigned_state,
    buffer_in_place,
    replaced_buffer,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("kind", ["compiled", "grid", "tiles", "own"])
def test_every_change_of_the_weights_is_noticed(
    kind, change, make, monkeypatch, rng, float32_bound
):
    if kind == "grid":
        monkeypatch.setattr(selection, "library", lambda: None)
    options = {"odd": True, "nonlinearity": "product"} if kind == "tiles" else {}
    force_field = make(fast=kind != "own", **options)
    field = torch.randn(1, 64, generator=rng)
    before = force_field(field)[1]
    assert torch.equal(force_field(field)[1], before)
    change(force_field.net)
    after = force_field(field)[1]
    assert (after - before).abs().max() > 3e-5
    fresh = LearnedForceField(
        copy.deepcopy(force_field.net), force_field.hamiltonian, SOLVER, fast=False
    )
    bound = 2 * float32_bound(fresh.net, fresh.lattice, field)[1]
    torch.testing.assert_close(after, fresh(field)[1], rtol=0, atol=bound)


def test_an_interrupted_build_is_repeated(make, monkeypatch, rng, float32_bound):
    force_field = make()
    field = torch.randn(1, 64, generator=rng)
    force_field(field)
    through_data(force_field.net)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(selection, "stencil_network", interrupted)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                force_field(field)
    own = LearnedForceField(force_field.net, force_field.hamiltonian, SOLVER, fast=False)
    bound = 2 * float32_bound(own.net, own.lattice, field)[1]
    torch.testing.assert_close(force_field(field)[1], own(field)[1], rtol=0, atol=bound)


def test_threads_may_make_the_first_call_together(make, rng):
    force_field, field = make(), torch.randn(1, 64, generator=rng)
    barrier = Barrier(4)

    def first_call(_):
        barrier.wait()
        return force_field(field)[1]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(first_call, range(4)))
    assert all(torch.equal(forces, found[0]) for forces in found)


def test_a_used_force_field_can_be_copied_and_pickled(make, rng):
    force_field, field = make(), torch.randn(1, 64, generator=rng)
    right = force_field(field)[1]
    for other in (copy.deepcopy(force_field), pickle.loads(pickle.dumps(force_field))):
        assert torch.equal(other(field)[1], right)
        through_data(other.net)
        assert not torch.equal(other(field)[1], right)
    assert torch.equal(force_field(field)[1], right)


def test_weights_that_are_not_finite_are_refused(make):
    force_field = make()
    force_field.net.basis.steps[0] = torch.nan
    with pytest.raises(InputError, match="weights .* must be finite, but basis.steps has NaN"):
        force_field.prepare()


@needs_compiler
def test_nan_does_not_pass_the_check(make, monkeypatch):
    monkeypatch.setattr(
        NativeForces, "__call__", lambda self, field, out=None: (None, field * torch.nan)
    )
    with pytest.raises(RuntimeError, match="got nan"):
        make().prepare()


@pytest.mark.parametrize(
    "out",
    [torch.empty(1, 64), torch.empty(2, 64).double(), torch.empty(64, 2).T],
    ids=["shape", "dtype", "strides"],
)
def test_an_unsuitable_out_is_refused(out, make):
    with pytest.raises(InputError, match="out must be a contiguous"):
        make()(torch.zeros(2, 64), out=out)


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
    assert not isinstance(force_field.backend._current().electronic, NativeForces)
