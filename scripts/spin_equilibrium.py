"""Equilibrium of coupled spins against the exact solution of the classical Heisenberg chain.

    python scripts/spin_equilibrium.py

`OverdampedSpins` on rings of classical spins with the exchange J = 1. The energy and the structure
factor are compared with those of M. E. Fisher, Am. J. Phys. 32, 343 (1964), K = J/kT:

    E = −J u per bond,  u = coth K − 1/K;    S(q) = (1 − u²)/(1 + u² − 2u cos q)

S(q) is compared in bands of wavevectors, since that of one wavevector fluctuates as much as it is
large. Standard errors are those between replicas. The results are printed and written to a file.
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from lattgnn.dynamics import OverdampedSpins, State, initial_spins
from lattgnn.files import atomic_write_text
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import ClassicalMagnet
from lattgnn.lattice import chain
from lattgnn.serialize import versions
from lattgnn.solvers import NoElectrons

N_SITES, N_BANDS, SEED = 256, 8, 20260902
EQUILIBRATION, SPACING = 20.0, 0.5  # before the first frame, and from frame to frame; units 1/kT


def relative_change(spins: np.ndarray, kT: float) -> np.ndarray:
    """Energy and bands of S(q) of spins [replicas, sites, 3], over the exact ones, minus 1."""
    u = 1 / math.tanh(1 / kT) - kT
    bonds = (spins * np.roll(spins, 1, axis=1)).sum(-1).mean(1)
    waves = np.square(np.abs(np.fft.rfft(spins, axis=1))).sum(-1)[:, 1:] / spins.shape[1]
    q = 2 * np.pi * np.arange(1, waves.shape[1] + 1) / spins.shape[1]
    exact = (1 - u**2) / (1 + u**2 - 2 * u * np.cos(q))
    columns = [bonds / u - 1]
    for band in np.array_split(np.arange(len(q)), N_BANDS):
        columns.append(waves[:, band].sum(1) / exact[band].sum() - 1)
    return np.stack(columns, axis=1)


def frames(
    integrator: OverdampedSpins, kT: float, n_frames: int, n_replicas: int
) -> Iterator[State]:
    """States in equilibrium, far enough apart to be worth measuring."""
    magnet = ExactForceField(ClassicalMagnet(chain(N_SITES)), NoElectrons())
    state = initial_spins(magnet, SEED, n_replicas, dtype=torch.float32)
    every = math.ceil(SPACING / (kT * integrator.dt))
    for _ in range(math.ceil(EQUILIBRATION / (kT * integrator.dt))):
        state = integrator.step(magnet, state)
    for _ in range(n_frames):
        for _ in range(every):
            state = integrator.step(magnet, state)
        yield state


def measure(kT: float, step: float, n_frames: int, n_replicas: int) -> dict:
    """Relative deviations and standard errors at one temperature, in percent."""
    integrator, started = OverdampedSpins(dt=step / kT, kT=kT), time.process_time()
    total = np.zeros((n_replicas, 1 + N_BANDS))
    for state in frames(integrator, kT, n_frames, n_replicas):
        total += relative_change(state.field.double().numpy(), kT)
    found = 100 * total / n_frames
    mean, error = found.mean(0), found.std(0, ddof=1) / n_replicas**0.5
    return {
        "kT": kT,
        "dt": integrator.dt,
        "energy": [float(mean[0]), float(error[0])],
        "S": np.stack([mean[1:], error[1:]], axis=1).tolist(),
        "cpu_seconds": round(time.process_time() - started),
    }


def main(
    kT: Sequence[float] = (0.4, 0.8, 1.6),
    step: float = 0.01,
    n_frames: int = 800,
    n_replicas: int = 32,
    out: str = "docs/benchmarks/spin_equilibrium.json",
) -> None:
    """Run the chains, print the deviations in percent and write the results.

    Args:
        kT: Temperatures.
        step: Time step times kT.
        n_frames: Number of frames at each temperature.
        n_replicas: Number of chains.
        out: JSON file.
    """
    torch.set_num_threads(1)
    rows = []
    for temperature in kT:
        rows.append(measure(temperature, step, n_frames, n_replicas))
        results = {"rows": rows, "load": os.getloadavg()[0], "versions": versions()}
        atomic_write_text(Path(out), json.dumps(results, indent=1) + "\n")
        bands = ", ".join(f"{mean:+.2f} ± {error:.2f}" for mean, error in rows[-1]["S"])
        energy = "{:+.2f} ± {:.2f}".format(*rows[-1]["energy"])
        sys.stdout.write(f"kT = {temperature}: energy {energy} %, S(q) {bands} %\n")
        sys.stdout.flush()


if __name__ == "__main__":
    auto_cli(main)
