"""The script's comparison with the exact chain, for spins that are drawn from it directly."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

spec = importlib.util.spec_from_file_location(
    "scripts.spin_equilibrium", Path(__file__).parents[2] / "scripts/spin_equilibrium.py"
)
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def exact_chains(kT: float, n_replicas: int, n_sites: int) -> np.ndarray:
    """Open chains in equilibrium: the angle of each bond has the density exp(cos θ / kT)."""
    rng = np.random.default_rng(0)
    spins = [np.tile([0.0, 0.0, 1.0], (n_replicas, 1))]
    for _ in range(n_sites - 1):
        last = spins[-1]
        uniform = rng.random((n_replicas, 1))
        cosine = 1 + kT * np.log(uniform + (1 - uniform) * np.exp(-2 / kT))
        across = np.cross(last, rng.normal(size=last.shape))
        across /= np.linalg.norm(across, axis=-1, keepdims=True)
        spins.append(cosine * last + np.sqrt(1 - cosine**2) * across)
    return np.stack(spins, axis=1)


def test_chains_in_equilibrium_deviate_by_their_noise():
    changes = script.relative_change(exact_chains(0.4, 400, 256), 0.4)
    error = changes.std(0, ddof=1) / 20
    assert changes.shape == (400, 9) and error.max() < 0.012
    # The bond that would close the ring is missing: 1/256 of the energy, and less of S(q).
    assert np.abs(changes.mean(0)).max() < 0.02


def test_another_temperature_is_noticed():
    changes = script.relative_change(exact_chains(0.4, 400, 256), 0.5).mean(0)
    # u = coth K − 1/K is 0.6136 at kT = 0.4 and 0.5373 at 0.5. In the first band q goes to π/8.
    q = 2 * np.pi * np.arange(1, 17) / 256
    there, here = ((1 - u**2) / (1 + u**2 - 2 * u * np.cos(q)) for u in (0.6136, 0.5373))
    assert changes[0] == pytest.approx(0.6136 / 0.5373 - 1, abs=0.01)
    assert changes[1] == pytest.approx(there.sum() / here.sum() - 1, abs=0.03)
