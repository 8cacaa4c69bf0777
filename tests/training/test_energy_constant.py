"""The constant of a learned energy: forces leave it open, and a fit sets it from the labels."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lattgnn.data import LatticeDataset
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import honeycomb, square
from lattgnn.nn import ForceNetwork, GraphNetwork, HiddenChannels, OrbitNetwork
from lattgnn.nn.baselines import BehlerParrinello, EnergyMPNN

SPINS = HiddenChannels(channels=3, spin_channels=2, nonlinearity="square")
JOINT = HiddenChannels(2, "regular", "square", spin_channels=2)


def make(name: str) -> ForceNetwork:
    """A small network with an energy."""
    scalar = Holstein(square(4)).field_type
    spin = DoubleExchange(honeycomb(4)).field_type
    joint = DoubleExchange(square(4), rashba=0.5).field_type
    made: dict[str, Callable[[], ForceNetwork]] = {
        "orbits": lambda: OrbitNetwork(square(4), scalar, n_layers=1, conservative=True),
        "spins": lambda: OrbitNetwork(
            honeycomb(4), spin, n_layers=1, hidden=SPINS, conservative=True
        ),
        "spin and space": lambda: OrbitNetwork(
            square(4), joint, cutoff=1.0, n_layers=1, hidden=JOINT, conservative=True
        ),
        "PyG": lambda: GraphNetwork(square(4), scalar, conservative=True),
        "messages": lambda: EnergyMPNN(square(4), channels=(4, 4)),
        "invariants": lambda: BehlerParrinello(square(6), cutoff=2.3, channels=(4, 4)),
    }
    return made[name]()


@pytest.mark.parametrize(
    "name", ["orbits", "spins", "spin and space", "PyG", "messages", "invariants"]
)
def test_a_shift_of_the_energy_leaves_the_forces_as_they_are(name, rng):
    torch.manual_seed(0)
    net = make(name).eval()
    lattice = {"spins": honeycomb(4), "invariants": square(6)}.get(name, square(4))
    shape = (lattice.n_sites, 3) if net.field_type.is_spin else (lattice.n_sites,)
    field = torch.randn(2, *shape, generator=rng)
    graph = net.graph(lattice)
    with torch.no_grad():
        energy, forces = net(field, graph)
        net.shift_energy(0.25)
        shifted, same = net(field, graph)
    torch.testing.assert_close(shifted, energy + 0.25 * lattice.n_sites)
    assert torch.equal(forces, same)


@pytest.mark.slow
def test_a_fit_of_forces_alone_sets_the_mean_energy_to_that_of_the_labels(tiny_fit, tmp_path):
    fit = type(tiny_fit)(tmp_path)
    assert fit("fit", "run", "--model.net.init_args.conservative=true") == 0
    (dataset,) = (path for path in (tmp_path / "datasets").iterdir() if path.is_dir())
    frames = LatticeDataset.open(dataset).frames("train")
    learned = LearnedForceField.load(tmp_path / "run" / "best.ckpt")
    with torch.no_grad():
        field = torch.from_numpy(np.asarray(frames.field, dtype=np.float32))
        energy, _ = learned.net(field, learned.net.graph(square(4)))
    error = (energy.numpy() - np.asarray(frames.energy)).mean() / 16
    assert abs(error) < 1e-5
