"""Advice about a wrong name: classes of the wanted kind only."""

from types import SimpleNamespace

import pytest

from lattgnn.cli.class_names import advice, kind_of, names_of_kind
from lattgnn.dynamics import Integrator
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.solvers import Solver
from lattgnn.spin_orders import SpinOrder


def test_names_of_a_kind_are_its_classes_and_the_functions_that_return_it():
    solvers = names_of_kind("lattgnn.solvers", Solver)
    assert "GreenFunction" in solvers and "Solver" not in solvers  # it is abstract
    assert not {"ElectronicState", "find_mu", "TightBinding"} & set(solvers)
    lattices = names_of_kind("lattgnn.lattice", Lattice)
    assert {"Lattice", "square", "kagome"} <= set(lattices)
    assert not {"bond_orbits", "UnitCell"} & set(lattices)
    # These functions return a subclass.
    orders = names_of_kind("lattgnn.spin_orders", SpinOrder)
    assert {"Spiral", "tetrahedral", "stripes", "double_q", "triple_q"} <= set(orders)


@pytest.mark.parametrize(
    ("message", "kind", "expected"),
    [
        (
            "Expected a dot import path string: Langevn",
            Integrator,
            "Did you mean 'lattgnn.dynamics.VerletLangevin'?",
        ),
        (
            "module 'lattgnn.solvers.green' has no attribute 'GreenFunktion'",
            Solver,
            "Did you mean 'lattgnn.solvers.GreenFunction'?",
        ),
        (
            "module 'lattgnn.solvers' has no attribute 'Chebishev'",
            Solver,
            "Did you mean 'Chebyshev'?",
        ),
        (
            "module 'lattgnn.spin_orders' has no attribute 'Tetrahedral'",
            SpinOrder,
            "Did you mean 'tetrahedral'?",
        ),
        ("Option 'kt' is not accepted", Solver, None),
    ],
)
def test_advice_names_a_class_of_the_kind(message, kind, expected):
    assert advice(message, kind) == expected


def test_the_kind_of_an_option_is_found_in_its_type():
    types = {"model": Solver | None, "make": type(None) | type(Hamiltonian), "count": int}
    actions = [SimpleNamespace(dest=name, _typehint=hint) for name, hint in types.items()]
    found = {name: kind_of(actions, f'Parser key "{name}": wrong') for name in types}
    assert found == {"model": Solver, "make": None, "count": None}
    # The type of an option inside another one is not looked up.
    assert kind_of(actions, 'Parser key "model": Parser key "inner": wrong') is None
