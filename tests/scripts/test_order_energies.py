"""The table of energies of perfect orders, exact and learned."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from lattgnn.cli.physics_verbs import parse

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs/orders").glob("*.yaml"))
SPIRAL = "{class_path: lattgnn.spin_orders.Spiral, init_args: {wavevector: [%s, 0]}}"
TWO = f"{{ferromagnet: {SPIRAL % 0}, stripes: {SPIRAL % '1/2'}}}"


@pytest.fixture(scope="module")
def order_energies():
    """The script as a module; it is no part of the package."""
    spec = importlib.util.spec_from_file_location(
        "scripts.order_energies", ROOT / "scripts/order_energies.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_all_orders_fit_on_the_lattice(order_energies, path):
    options = parse(order_energies.parser(), ["order_energies", f"--config={path}"])
    for order in options["orders"].values():
        assert order.spins(options["lattice"]).shape == (options["lattice"].n_sites, 3)


def grand_potential_of_spiral(q: float) -> float:
    """The closed form per site at 4 × 4 sites, with t = 1, J = 3, μ = −3.3 and kT = 0.2."""
    x, y = np.meshgrid(*[2 * np.pi * np.arange(4) / 4] * 2)
    near, far = (-2 * (np.cos(u) + np.cos(y) + np.cos(u - y)) for u in (x, x + 2 * np.pi * q))
    root = np.sqrt((near - far) ** 2 / 4 + 9)
    levels = np.stack([(near + far) / 2 - root, (near + far) / 2 + root])
    return float(-0.2 * np.logaddexp(0, -(levels + 3.3) / 0.2).sum() / 16)


def test_the_table_holds_exact_energies_the_lowest_first(order_energies, capsys):
    arguments = [
        f"--config={ROOT / 'configs/orders/tetrahedral.yaml'}",
        f"--orders={TWO}",
        "--checkpoint=null",
    ]
    small = ["--lattice.init_args.extent=[4,4]", "--solver.init_args.kT=0.2"]
    options = parse(order_energies.parser(), ["order_energies", *arguments, *small])
    order_energies.main(**options)
    lines = capsys.readouterr().out.splitlines()
    found = {cells[0]: float(cells[1]) for cells in (row[2:-2].split(" | ") for row in lines[2:])}
    exact = {"ferromagnet": grand_potential_of_spiral(0), "stripes": grand_potential_of_spiral(0.5)}
    assert found == pytest.approx(exact, abs=6e-6)
    assert list(found) == sorted(exact, key=lambda name: exact[name])
    assert lines[0] == "| Order | Exact |"


def test_pairs_in_the_wrong_order_are_found(order_energies):
    exact = {"a": 0.0, "b": 0.0005, "c": 0.002}
    learned = {"a": 0.001, "b": 0.0, "c": 0.0005}
    found = order_energies.misordered_pairs(exact, learned, 1e-3)
    assert found == [("a", "c")]  # a and b are exchanged too, but differ by less than 1e-3
