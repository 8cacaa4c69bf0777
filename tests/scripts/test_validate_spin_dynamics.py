"""The script's figures: its correlation of known spins, and a force field that is followed
exactly.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import DoubleExchange
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization
from tests.orbit_networks import orbit_network

spec = importlib.util.spec_from_file_location(
    "scripts.validate_spin_dynamics",
    Path(__file__).parents[2] / "scripts/validate_spin_dynamics.py",
)
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def test_correlation_of_ordered_spins():
    lattice = square(4)
    ferromagnet = np.tile([0.6, 0.0, 0.8], (2, lattice.n_sites, 1))
    assert script.correlation(ferromagnet, lattice) == pytest.approx([1.0, 1.0])
    signs = np.asarray(lattice.bipartite_signs)[:, None]
    assert script.correlation(signs * ferromagnet, lattice) == pytest.approx([-1.0, -1.0])
    peak = script.rings(ferromagnet, lattice, np.pi / 2)
    assert peak["S"][0] == pytest.approx(16) and max(peak["S"][1:]) < 1e-9


def test_deviations_are_of_means_and_of_replicas():
    exact = np.array([[0.0, 1.0], [0.0, 3.0]])
    figures = script.deviations(exact + [[0.1, -0.1], [0.0, 0.4]], exact)
    assert figures["largest_deviation_of_means"] == pytest.approx(0.2)
    assert figures["largest_deviation_of_a_replica"] == pytest.approx(0.4)
    assert figures["largest_spread"] == pytest.approx(3 / 2**0.5)


def test_an_untrained_network_starts_right_and_goes_astray(tmp_path):
    torch.manual_seed(0)
    lattice = square(4)
    model, solver = DoubleExchange(lattice), ExactDiagonalization(kT=0.1, mu=-3.5)
    settings: dict[str, Any] = dict(
        cutoff=1.0, channels=2, spin_channels=2, n_layers=1, field="3 trivial", is_spin=True
    )
    net = orbit_network(
        lattice, model.field_type.force_bound, **settings, conservative=True, nonlinearity="square"
    )
    checkpoint = tmp_path / "net.ckpt"
    LearnedForceField(net, model, solver).save(checkpoint)
    out = tmp_path / "figures.json"
    script.main(str(checkpoint), extent=4, n_replicas=2, n_steps=20, large_extent=6, out=str(out))
    figures = json.loads(out.read_text())
    overlap = figures["comparison"]["overlap"]
    assert overlap[0] == pytest.approx(1) and overlap[-1] < 0.99
    energy = figures["comparison"]["energy"]
    assert energy["learned"][0] == pytest.approx(energy["exact"][0])
    assert energy["largest_deviation_of_a_replica"] > 3e-4
    assert figures["large"]["lattice"] == [6, 6] and figures["large"]["steps"][-1] == 20
