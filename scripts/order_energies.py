"""Print the energies of perfect magnetic orders: exact ones beside those of a learned force field.

    python scripts/order_energies.py --config configs/orders/tetrahedral.yaml
    python scripts/order_energies.py --config configs/orders/tetrahedral.yaml \
        --checkpoint runs/tetrahedral/best.ckpt

The table is sorted by the exact energies. Below it stand the pairs of orders that differ by more
than `tolerance` per site and that the learned energies put in the wrong order.
"""

import sys
from collections.abc import Callable
from itertools import combinations

import torch

from lattgnn.cli.parser import Parser
from lattgnn.cli.physics_verbs import choose_force_field, model_parser, parse
from lattgnn.errors import InputError
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.run_records import AnyForceField
from lattgnn.solvers import Solver
from lattgnn.spin_orders import SpinOrder


def energies_per_site(
    force_field: AnyForceField, orders: dict[str, SpinOrder], lattice: Lattice
) -> dict[str, float]:
    """The energy per site of each order."""
    found = {}
    for name, order in orders.items():
        spins = torch.from_numpy(order.spins(lattice))
        energy, _ = force_field(spins)
        if energy is None:
            raise InputError(
                "checkpoint must have an energy. Use a network with conservative: true."
            )
        found[name] = float(energy) / lattice.n_sites
    return found


def load(
    lattice: Lattice,
    hamiltonian: Callable[[Lattice], Hamiltonian],
    solver: Solver,
    checkpoint: str,
) -> AnyForceField:
    """The learned force field, whose labels are of the same ensemble as `solver`."""
    # Labels may come from another method, for example of a smaller lattice that is repeated.
    network = choose_force_field(lattice, hamiltonian, None, checkpoint)
    assert isinstance(network, LearnedForceField)  # without disorder
    for name in ("kT", "mu", "filling"):
        expected, given = getattr(network.solver, name), getattr(solver, name)
        if given != expected:
            raise InputError(
                f"solver must have {name} {expected}, that of the labels of {checkpoint!r}, got"
                f" {given}. Use --solver.{name}={expected}."
            )
    return network


def misordered_pairs(
    exact: dict[str, float], learned: dict[str, float], tolerance: float
) -> list[tuple[str, str]]:
    """Pairs, the lower one first, that the learned energies put in the wrong order."""
    ranked = sorted(exact, key=lambda name: exact[name])
    pairs = []
    for low, high in combinations(ranked, 2):
        if exact[high] - exact[low] > tolerance and learned[high] <= learned[low]:
            pairs.append((low, high))
    return pairs


def main(
    lattice: Lattice,
    hamiltonian: Callable[[Lattice], Hamiltonian],
    solver: Solver,
    orders: dict[str, SpinOrder],
    checkpoint: str | None = None,
    tolerance: float = 1e-3,
) -> None:
    """Print a Markdown table of energies per site.

    Args:
        lattice: Lattice on which all orders fit.
        hamiltonian: The model.
        solver: The exact solver, with the temperature and chemical potential of the labels.
        orders: The orders by name.
        checkpoint: A file written by `lattgnn fit`, or the name of a shipped force field; None
            prints exact energies only.
        tolerance: Exact difference per site above which a pair must be in the right order.
    """
    if not orders:
        raise InputError("orders must not be empty. Use --config configs/orders/tetrahedral.yaml.")
    # The network first: its mistakes are found before the long part.
    learned = None
    if checkpoint is not None:
        learned = energies_per_site(load(lattice, hamiltonian, solver, checkpoint), orders, lattice)
    exact = energies_per_site(choose_force_field(lattice, hamiltonian, solver), orders, lattice)
    ranked = sorted(exact, key=lambda name: exact[name])
    if learned is None:
        rows = ["| Order | Exact |", "|---|---|"]
        rows += [f"| {name} | {exact[name]:.5f} |" for name in ranked]
        sys.stdout.write("\n".join(rows) + "\n")
        return
    rows = ["| Order | Exact | Learned | Difference |", "|---|---|---|---|"]
    for name in ranked:
        error = learned[name] - exact[name]
        rows.append(f"| {name} | {exact[name]:.5f} | {learned[name]:.5f} | {error:+.5f} |")
    pairs = misordered_pairs(exact, learned, tolerance)
    rows += [f"Wrong order: {low} is lower than {high}." for low, high in pairs]
    largest = max(abs(learned[name] - exact[name]) for name in exact)
    rows.append(f"{len(pairs)} pairs in the wrong order; largest error {largest:.1e} per site.")
    sys.stdout.write("\n".join(rows) + "\n")


def parser() -> Parser:
    """The parser of the arguments of `main`, with `--config`."""
    made = model_parser("order_energies", "Print the energies of perfect magnetic orders.")
    made.add_function_arguments(main)
    return made


if __name__ == "__main__":
    try:
        main(**parse(parser(), sys.argv))
    except InputError as error:
        raise SystemExit(f"order_energies: error: {error}") from None
