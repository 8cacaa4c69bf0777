"""Force fields and networks give the same numbers inside `torch.inference_mode` as outside."""

import pytest
import torch
from torch.nn.functional import normalize

from lattgnn.dynamics import (
    HeunLLG,
    Regular,
    VerletLangevin,
    initial_spins,
    initial_state,
    simulate,
)
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import kagome, square
from lattgnn.nn import OrbitNetwork
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization

MU = ExactDiagonalization(kT=0.1, mu=0.0)
SHIPPED = ("holstein-square", "holstein-square-energy", "kondo-square", "peierls-square")
FORCE_FIELDS = {
    "exact Holstein": lambda: ExactForceField(Holstein(kagome(2)), MU),
    "exact filling": lambda: ExactForceField(
        Holstein(square(4)), ExactDiagonalization(kT=0.1, filling=0.4)
    ),
    "exact domains": lambda: ExactForceField(
        Holstein(square(6)), DomainDiagonalization(kT=0.1, mu=0.0, core=3, buffer=1)
    ),
    "exact Peierls": lambda: ExactForceField(Peierls(square(4)), MU),
    "exact Jahn-Teller": lambda: ExactForceField(JahnTeller(square(4)), MU),
    "exact double exchange": lambda: ExactForceField(DoubleExchange(square(4)), MU),
    "learned filling": lambda: LearnedForceField.pretrained(
        "holstein-square-energy", square(8), filling=0.4
    ),
}
for name in SHIPPED:
    for fast in (True, False):
        FORCE_FIELDS[f"{name} fast={fast}"] = lambda name=name, fast=fast: (
            LearnedForceField.pretrained(name, square(8), fast=fast)
        )


@pytest.mark.parametrize("name", FORCE_FIELDS)
def test_the_first_call_may_be_in_inference_mode(name, rng):
    force_field = FORCE_FIELDS[name]()
    field = torch.randn(2, *force_field.field_shape, generator=rng, dtype=torch.float64)
    if force_field.hamiltonian.field_type.is_spin:
        field = normalize(field, dim=-1)
    with torch.inference_mode():
        inside = force_field(field)
        made_inside = force_field(field.clone(), **_out(force_field, field))
        electronic = force_field.electronic(field.clone())
    outside = force_field(field)
    for found in (inside, made_inside):
        assert torch.equal(found[1], outside[1])
        assert (found[0] is None) == (outside[0] is None)
        assert found[0] is None or torch.equal(found[0], outside[0])
    assert torch.equal(electronic[1], force_field.electronic(field)[1])


def _out(force_field, field):
    writes = getattr(force_field, "writes_in_place", False)
    return {"out": torch.empty_like(field)} if writes else {}


@pytest.mark.parametrize("conservative", [False, True])
def test_a_network_first_used_in_inference_mode_can_be_trained(conservative, rng):
    lattice = square(4)
    net = OrbitNetwork(lattice, Holstein(lattice).field_type, conservative=conservative)
    graph = net.graph(lattice)
    field = torch.randn(2, lattice.n_sites, generator=rng)
    with torch.inference_mode():
        _, inside = net(field.clone(), graph)
    energy, forces = net(field, graph)
    assert torch.allclose(forces, inside, atol=1e-6)
    loss = forces.square().sum() if energy is None else forces.square().sum() + energy.sum()
    loss.backward()
    assert all(weight.grad is not None for weight in net.parameters() if weight.requires_grad)


@pytest.mark.parametrize("spins", [False, True])
def test_a_run_in_inference_mode_has_the_same_bits(spins):
    model = DoubleExchange(square(4)) if spins else Holstein(square(4))
    integrator = HeunLLG(0.1, 0.1, 0.1) if spins else VerletLangevin(0.1, 0.1, 0.2, 5.0)
    force_field = ExactForceField(model, MU)

    def run():
        state = initial_spins(force_field, 1) if spins else initial_state(force_field, 1, 1, 1.0)
        return simulate(force_field, integrator, state, 4, Regular(2))

    with torch.inference_mode():
        inside = run()
    assert torch.equal(inside.state().field, run().state().field)
