"""The exact answers of the script agree, and it sees that a network is blind to direction."""

import importlib.util
from pathlib import Path

import pytest
import torch

from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.nn import ConvLayers, GraphNetwork
from lattgnn.solvers import ExactDiagonalization
from lattgnn.symmetry import FieldType
from tests.orbit_networks import orbit_network

spec = importlib.util.spec_from_file_location(
    "scripts.directional_response", Path(__file__).parents[2] / "scripts/directional_response.py"
)
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
SOLVER = ExactDiagonalization(kT=0.1, mu=0.0)


def test_exact_diagonalization_responds_as_free_electrons_do():
    lattice = square(12)
    exact = ExactForceField(Holstein(lattice), SOLVER)
    for k in script.WAVES.values():
        assert script.response(exact, lattice, k, 3.5) == pytest.approx(
            script.lindhard(k, 12), rel=1e-4
        )


def test_the_infinite_lattice_tells_the_two_directions_apart():
    values = [script.lindhard(k, 1000) for k in script.WAVES.values()]
    assert values == pytest.approx([0.186, 0.314], abs=5e-4)


def test_a_network_blind_to_direction_answers_both_alike_and_an_orbit_network_does_not():
    lattice = square(12)
    answers = []
    for net in (
        GraphNetwork(
            lattice,
            FieldType(),
            ConvLayers("torch_geometric.nn.GraphConv", (16, 16), normalize=True, activation="relu"),
            cutoff=1.0,
        ),
        orbit_network(lattice, 1.75, channels=8),
    ):
        torch.manual_seed(0)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        learned = LearnedForceField(net.double(), Holstein(lattice), SOLVER)
        answers.append([script.response(learned, lattice, k, 3.5) for k in script.WAVES.values()])
    blind, seeing = answers
    assert blind[0] == pytest.approx(blind[1], rel=1e-8) and abs(blind[0]) > 1e-4
    assert abs(seeing[0] - seeing[1]) > 1e-2 * abs(seeing[0])
