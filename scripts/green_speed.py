"""Time of forces and Langevin steps with Green's functions, on one thread.

    python scripts/green_speed.py --extents '[128, 512, 2048]' --other_size 64

The steps include everything that `simulate` does, in the Holstein model on a square lattice at
kT = 0.1 in float32. The schedules A and C are those of docs/benchmarks/green.md. For other models
it is the forces at fixed μ in float32. Each line has the median and the minimum of a few
measurements; methods take turns.
"""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jsonargparse import auto_cli
from speed_timing import Plan, lasting, race, stepping, threads

from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import square
from lattgnn.solvers import GreenFunction

A = ("ring1:1", "ring1:1", "ring0:1", "ring0:0", "ring0:0", "mean")
C = ("ball4:1", "ball3:1", "ring1:1", "ring1:1", "ring0:1", "ring0:0", "ring0:0", "mean")
SOLVERS = {
    "schedule A": GreenFunction(0.1, mu=0.0, schedule=A, tolerance=1e-3),
    "schedule C": GreenFunction(0.1, mu=0.0, schedule=C),
    "block 3": GreenFunction(0.1, mu=0.0, block=3),
}


MODELS = {
    "Peierls": (Peierls, 0.0, 0.2),
    "Jahn-Teller": (JahnTeller, 0.0, 1.0),
    "double exchange": (DoubleExchange, -3.5, 1.0),
}
"""Class, μ, and standard deviation of the fields."""


def forces_of(name: str, size: int, block: int) -> Callable[[], float]:
    """A measurement of the forces of another model."""
    make, mu, std = MODELS[name]
    model = make(square(size))
    solver = GreenFunction(0.1, mu=mu, block=block)
    force_field = ExactForceField(model, solver, energy=False)
    field = std * torch.randn(model.field_shape, generator=torch.Generator().manual_seed(0))
    if model.field_type.is_spin:
        field = torch.nn.functional.normalize(field, dim=-1)
    return lasting(partial(repeat, force_field, field), size**2, Plan())


def repeat(force_field: ExactForceField, field: torch.Tensor, n: int) -> None:
    """Compute the forces n times."""
    for _ in range(n):
        force_field(field)


def main(
    extents: Sequence[int] = (128, 512), other_size: int = 64, blocks: Sequence[int] = (0, 1, 2)
) -> None:
    """Measure and print.

    Args:
        extents: Linear sizes of the lattices of the Holstein model.
        other_size: Linear size of the lattices of the other models.
        blocks: Blocks at every pole, for the other models.
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
        others = {
            f"{name}, block {block}": forces_of(name, other_size, block)
            for name in MODELS
            for block in blocks
        }
        for name, us in race(others, repeats=3).items():
            found = f"{us['median']:.2f} ({us['min']:.2f}) µs per site"
            sys.stdout.write(f"{other_size} × {other_size}, {name}: {found}\n")
    sys.stdout.write(f"load {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    auto_cli(main)
