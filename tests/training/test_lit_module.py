"""Loss and metrics of spin models: the whole effective field, and its tangential part."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch

from lattgnn.data.dataset import window_index
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import square
from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.solvers import ExactDiagonalization
from lattgnn.training.lit_module import LitForceField

SPINS = HiddenChannels(channels=3, spin_channels=2, nonlinearity="square")


@pytest.fixture
def make_module():
    def make(**options):
        torch.manual_seed(0)
        net = partial(OrbitNetwork, n_layers=1, hidden=SPINS, conservative=True)
        solver = ExactDiagonalization(kT=0.1, filling=0.48)
        return LitForceField(net, DoubleExchange(square(4)), solver, **options)

    return make


@pytest.fixture
def batch(rng):
    field = torch.nn.functional.normalize(torch.randn(2, 16, 3, generator=rng), dim=-1)
    forces, window = torch.randn(2, 16, 3, generator=rng), window_index(torch.full((2,), -1))
    return {
        "field": field,
        "forces": forces,
        "energy": torch.randn(2, generator=rng),
        "window": window,
    }


def tangent_error(module, batch):
    """Errors perpendicular to the spins, computed with cross products."""
    _, forces = module.net(batch["field"], module.net.graph(square(4)))
    return torch.linalg.cross(forces - batch["forces"], batch["field"]).square().mean().detach()


def test_tangent_errors_are_weighed_and_reported(make_module, batch):
    plain, weighted = make_module(), make_module(tangent_weight=2.0)
    with torch.no_grad():
        difference = weighted.model_step(batch)[0] - plain.model_step(batch)[0]
    expected = tangent_error(plain, batch)
    torch.testing.assert_close(difference, 2 * expected, rtol=1e-4, atol=0)
    plain._evaluate("test", batch)
    figures = plain.errors.of("test", "tangent").compute()
    torch.testing.assert_close(figures["mse"].float(), expected, rtol=1e-4, atol=0)
    assert figures["mse"] < plain.errors.of("test", "all").compute()["mse"]


def test_all_errors_of_a_network_without_the_part_along_the_spin_are_those_of_the_rest(batch):
    torch.manual_seed(0)
    net = partial(OrbitNetwork, n_layers=1, hidden=SPINS, conservative=True, tangent=True)
    solver = ExactDiagonalization(kT=0.1, filling=0.48)
    module = LitForceField(net, DoubleExchange(square(4)), solver)
    module._evaluate("test", batch)
    expected = tangent_error(module, batch)
    figures = dict(module.errors.take("test"))
    for window in ("all", "random", "tangent"):
        found = figures[f"test/{window}/mse"].float()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    assert module.errors.of("test", "all").count == 0  # the errors start again from zero
    loss, _ = module.model_step(batch)
    shown = loss.detach() - module._unlearned(batch)
    torch.testing.assert_close(shown, expected, rtol=1e-4, atol=0)


def test_without_spins_there_is_nothing_tangent():
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    module = LitForceField(partial(OrbitNetwork, n_layers=1), Holstein(square(4)), solver)
    assert "test_all" in module.errors and "test_tangent" not in module.errors
    with pytest.raises(ValueError, match=r"tangent_weight must be 0.0 for Holstein, .*got 1.0"):
        LitForceField(OrbitNetwork, Holstein(square(4)), solver, tangent_weight=1.0)


@dataclass(frozen=True)
class Metal(Holstein):
    """Bipartite and at mu = 0, but mu is not in the middle of the band."""

    def elements(self, field):
        return super().elements(field + 0.3 / self.g)


def test_claims_of_particle_hole_symmetry_are_checked():
    solver, model = ExactDiagonalization(kT=0.1, mu=0.0), Metal(square(4))
    net, odd = OrbitNetwork, partial(OrbitNetwork, hidden=HiddenChannels(channels=4, odd=True))
    with pytest.raises(ValueError, match="Metal has no particle-hole symmetry"):
        LitForceField(net, model, solver, particle_hole=True)
    with pytest.raises(ValueError, match="Metal has no particle-hole symmetry"):
        LitForceField(odd, model, solver).on_fit_start()
    assert LitForceField(net, Holstein(square(4)), solver, particle_hole=True).particle_hole
