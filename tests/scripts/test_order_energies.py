"""The table of energies of perfect orders, exact and learned."""

import importlib.util
import sys
from pathlib import Path

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


def test_the_table_is_sorted_by_exact_energies(order_energies, capsys):
    arguments = [
        f"--config={ROOT / 'configs/orders/tetrahedral.yaml'}",
        f"--orders={TWO}",
        "--checkpoint=null",
    ]
    small = "--lattice.init_args.extent=[4,4]"
    options = parse(order_energies.parser(), ["order_energies", *arguments, small])
    order_energies.main(**options)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| stripes", "| ferromagnet"]
    assert lines[-1] == "0 pairs in the wrong order; largest error 0.0e+00 per site."


def test_pairs_in_the_wrong_order_are_found(order_energies):
    exact = {"a": 0.0, "b": 0.0005, "c": 0.002}
    learned = {"a": 0.001, "b": 0.0, "c": 0.0005}
    found = order_energies.misordered_pairs(exact, learned, 1e-3)
    assert found == [("a", "c")]  # a and b are exchanged too, but differ by less than 1e-3
