"""Time of a Langevin step of the Holstein model with Green's functions, on one thread.

    python scripts/green_speed.py --extents '[128, 512, 2048]'

It includes everything that `simulate` does, on a square lattice at kT = 0.1 in float32. The
schedules A and C are those of docs/benchmarks/green.md. Each line has the median and the minimum of
five measurements; methods take turns.
"""

import os
import sys
from collections.abc import Sequence

from jsonargparse import auto_cli
from speed_timing import Plan, race, stepping, threads

from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.solvers import GreenFunction

A = ("ring1:1", "ring1:1", "ring0:1", "ring0:0", "ring0:0", "mean")
C = ("ball4:1", "ball3:1", "ring1:1", "ring1:1", "ring0:1", "ring0:0", "ring0:0", "mean")
SOLVERS = {
    "schedule A": GreenFunction(0.1, mu=0.0, schedule=A, tolerance=1e-3),
    "schedule C": GreenFunction(0.1, mu=0.0, schedule=C),
    "block 3": GreenFunction(0.1, mu=0.0, block=3),
}


def main(extents: Sequence[int] = (128, 512)) -> None:
    """Measure and print.

    Args:
        extents: Linear sizes of the lattices.
    """
    with threads(1):
        for extent in extents:
            model = Holstein(square(extent))
            steps = {
                name: stepping(ExactForceField(model, solver, energy=False), Plan())
                for name, solver in SOLVERS.items()
            }
            for name, us in race(steps, repeats=5).items():
                found = f"{1e3 * us['median']:.1f} ({1e3 * us['min']:.1f}) ns per site"
                sys.stdout.write(f"{extent} × {extent}, {name}: {found}\n")
    sys.stdout.write(f"load {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    auto_cli(main)
