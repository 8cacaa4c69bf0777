"""The published networks at test size, and fields on which their symmetry is checked."""

import pytest
import torch
from torch import nn

from lattgnn.lattice import square
from lattgnn.nn import baselines
from lattgnn.symmetry import FieldType

SMALL = {
    baselines.EnergyMPNN: {"channels": (6, 8)},
    baselines.IrrepsFCNN: {"channels": (4, 3)},
    baselines.BehlerParrinello: {"channels": (12, 6)},
    baselines.GroupAveragedMLP: {"channels": (12, 6)},
}


@pytest.fixture(params=SMALL, ids=lambda network: network.__name__)
def network(request):
    """The class of each network."""
    return request.param


@pytest.fixture(
    params=[baselines.EnergyMPNN, baselines.BehlerParrinello], ids=lambda net: net.__name__
)
def energy_network(request):
    """The class of each network that has an energy."""
    return request.param


@pytest.fixture
def make_network():
    """Make a small network whose weights are far from their initial values."""

    def make(network, lattice=None, dtype=torch.float64, **options):
        torch.manual_seed(1)
        net = network(
            square(8) if lattice is None else lattice,
            FieldType(force_bound=1.75),
            **(SMALL[network] | options),
        ).to(dtype)
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.3)
        return net

    return make


@pytest.fixture
def make_fields(rng):
    """Make a random field, a uniform one, a perfect charge-density wave and a zero field."""

    def make(lattice):
        checkerboard = torch.from_numpy((-1.0) ** lattice.cells.sum(1))
        random = 2 * torch.randn(lattice.n_sites, generator=rng, dtype=torch.float64)
        return torch.stack(
            [random, torch.full_like(random, 0.7), 1.4 * checkerboard, 0 * checkerboard]
        )

    return make
