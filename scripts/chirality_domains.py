"""Scalar chirality and topological charge within domains of one sign, at the end of runs of spins.

    python scripts/chirality_domains.py '[runs/science/tetrahedral_learned]' --period=1
    python scripts/chirality_domains.py '[runs/science/skyrmion_learned]' --period=12

From random spins, a large lattice grows domains of both signs, and walls between them. The script
averages chirality and charge over windows of `period` × `period` cells, one period of the order.
A cell is within a domain if the windows around all cells of its surroundings have the same sign.
It prints means over the last frames, with standard errors between replicas.
"""

import sys

import numpy as np
from jsonargparse import auto_cli
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

from lattgnn.analysis import charge_density, scalar_chirality
from lattgnn.analysis.triangles import triangles
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

Array = np.ndarray


def domain_values(spins: Array, lattice: Lattice, period: int, surroundings: int) -> Array:
    """Modulus of chirality and of charge per cell within domains, and the share of their cells."""
    cells = triangles(lattice)
    chirality = cells.cell_means(scalar_chirality(spins, lattice)).reshape(lattice.extent)
    charge = cells.cell_sums(charge_density(spins, lattice)).reshape(lattice.extent)
    chirality, charge = (uniform_filter(x, period, mode="wrap") for x in (chirality, charge))
    sign = np.sign(chirality)
    size = period + surroundings - 1  # so that no window reaches across a wall
    lowest, highest = (f(sign, size, mode="wrap") for f in (minimum_filter, maximum_filter))
    inside = (lowest == highest) & (sign != 0)
    if not inside.any():
        return np.array([np.nan, np.nan, 0.0])
    return np.array([abs(chirality[inside]).mean(), abs(charge[inside]).mean(), inside.mean()])


def replica_values(frames: Array, lattice: Lattice, period: int, surroundings: int) -> Array:
    """Means of `domain_values` over the frames of a replica in which there is a domain."""
    values = np.array([domain_values(x, lattice, period, surroundings) for x in frames])
    share = values[:, 2].mean()
    found = values[values[:, 2] > 0]
    return np.array([*found[:, :2].mean(axis=0), share]) if len(found) else values[0]


def in_words(values: Array) -> str:
    """The mean over replicas and its standard error."""
    if len(values) == 0:
        return "no domain"
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{values.mean():.4f} ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}"


def main(runs: list[str], period: int = 1, surroundings: int = 7, n_frames: int = 4) -> None:
    """Print a Markdown table with one row per run.

    Args:
        runs: Folders of `lattgnn simulate`.
        period: Period of the order along both axes, in cells.
        surroundings: Side of the square of cells that must have one sign.
        n_frames: Number of frames at the end that are averaged.
    """
    rows = ["| Run | Chirality | Charge per cell | Share within domains |", "|---|---|---|---|"]
    for run in runs:
        trajectory = Trajectory.open(run)
        lattice = trajectory.lattice
        if any(n % period for n in lattice.extent):
            raise InputError(f"period must divide the extent {lattice.extent} of {run}.")
        frames = np.asarray(trajectory.fields[-n_frames:])
        values = np.array(
            [
                replica_values(replica, lattice, period, surroundings)
                for replica in frames.swapaxes(0, 1)
            ]
        )
        # A replica that has no domain counts in the share only.
        within = values[values[:, 2] > 0]
        texts = (in_words(within[:, 0]), in_words(within[:, 1]), in_words(values[:, 2]))
        rows.append(f"| {run} | " + " | ".join(texts) + " |")
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    try:
        auto_cli(main)
    except InputError as error:
        raise SystemExit(f"chirality_domains: error: {error}") from None
