"""Every package model passes the checks; a model with one wrong property fails the right one."""

import re
from functools import partial

import pytest
import torch
from torch import Tensor

from lattgnn.checks import check_model, check_symmetry, require_valid
from lattgnn.checks.samples import random_field
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import (
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    square,
    staggered_square,
    triangular,
)
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization, Solver
from tests.checks.wrong_models import (
    AllToAll,
    Anisotropic,
    Asymmetric,
    Detached,
    Disordered,
    EasyAxis,
    Flux,
    MeanField,
    MissingReverse,
    MixedBatch,
    NoBackground,
    NoDiagonal,
    OneWay,
    Repeated,
    Staggered,
    SummedBatch,
    TightBound,
    Trivial,
    WrongClassicalForce,
    WrongCoupling,
    WrongStiffness,
    Zeeman,
)

SOLVER = ExactDiagonalization(kT=0.1, mu=0.0)
NAMED = [chain(12), square(6), triangular(6), honeycomb(4), kagome(4), lieb(4), cubic(4)]
SPECIAL = [
    square(6, 8),
    square(40),  # too large to be checked as a whole in no time
    square(6, periodic=False),
    kagome(4, periodic=[True, False]),
]


def lattice_id(lattice) -> str:
    return f"{lattice.name}{lattice.extent}"


def failed(model, solver: Solver = SOLVER, **options) -> dict[str, str]:
    """Messages of the checks that failed, by name."""
    results = check_model(model, solver, **options)
    return {result.name: result.message for result in results if not result.passed}


@pytest.mark.parametrize("lattice", [*NAMED, *SPECIAL], ids=lattice_id)
def test_the_holstein_model_passes_on_every_named_lattice(lattice):
    assert failed(Holstein(lattice)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("lattice", [*NAMED, *SPECIAL], ids=lattice_id)
@pytest.mark.parametrize("model", [Peierls, DoubleExchange])
def test_package_models_pass_on_every_named_lattice(model, lattice):
    assert failed(model(lattice)) == {}


@pytest.mark.parametrize("model", [Peierls, DoubleExchange, JahnTeller])
def test_models_with_components_pass(model):
    assert failed(model(square(6))) == {}


@pytest.mark.parametrize(("kT", "filling"), [(0.0, None), (0.0, 0.35), (1e-5, 0.5)])
def test_every_ensemble_passes(kT, filling):
    mu = -0.4 if filling is None else None
    assert failed(Peierls(square(6)), ExactDiagonalization(kT, mu, filling)) == {}


def test_an_approximate_solver_does_not_fail_a_model():
    assert failed(Holstein(square(12)), DomainDiagonalization(0.1, 0.0, core=2, buffer=1)) == {}


@pytest.mark.parametrize("lattice", [chain(8), square(6), honeycomb(4), lieb(4), cubic(4)])
def test_the_particle_hole_map_holds_on_bipartite_lattices(lattice):
    assert failed(Holstein(lattice), particle_hole=True) == {}


LEVELS = tuple(torch.linspace(-1, 1, 36, dtype=torch.float64).tolist())


@pytest.mark.parametrize(
    ("model", "name", "words"),
    [
        (OneWay, "hermitian", "complex conjugate"),
        (Asymmetric, "hermitian", "complex conjugate"),
        (Detached, "electronic forces", "differentiable torch operations"),
        (NoBackground, "density coupling", "add ½ g Σ φ_i"),
        (WrongClassicalForce, "classical forces", "minus the derivative"),
        (WrongStiffness, "stiffness", "return None"),
        (TightBound, "force bound", "exceeds force_bound=1.05"),
        (WrongCoupling, "density coupling", "does not lower all levels by mu"),
        (MissingReverse, "pattern", "1 elements lack the transposed one"),
        (Repeated, "pattern", "1 elements occur more than once"),
        (NoDiagonal, "pattern", "16 diagonal elements are missing"),
        (SummedBatch, "batches", r"classical_energy must have the shape \[3\], got \[\]"),
        (MixedBatch, "batches", "depends on the other fields"),
        (MeanField, "reach", "farther on larger lattices"),
        (AllToAll, "force decay", "cannot learn"),
        (Staggered, "symmetry", r"the translation \(x, y\) → \(x\+1, y\).*φ_i = Q_i − ε_i/g"),
        (Anisotropic, "symmetry", r"the operation \(x, y\) → \(y, -x\).*labels"),
        (Flux, "symmetry", "5 in all.*bond_labels"),
        (partial(Disordered, levels=LEVELS), "symmetry", "9 in all.*ε_i/g"),
        (Trivial, "symmetry", r"the operation \(x, y\) → "),
        (EasyAxis, "symmetry", "a common rotation of all spins.*classical_energy"),
        (Zeeman, "symmetry", "of all spins"),
    ],
)
def test_a_wrong_property_is_named(model, name, words):
    found = failed(model(square(6)))
    assert re.search(words, found[name]), found[name]


LABELED = [
    Holstein(staggered_square(4), on_site_energy={"A": 0.7, "B": -0.7}),
    Holstein(shastry_sutherland(4), t={"square": 1.0, "dimer": 1.25}),
]


@pytest.mark.parametrize("model", LABELED, ids=lambda model: model.lattice.name)
def test_labels_of_sites_and_bonds_are_the_way_out(model):
    assert failed(model) == {}
    assert list(failed(model, particle_hole=True)) == ["particle-hole"]


def test_one_wrong_property_fails_one_check():
    for model in (WrongStiffness, TightBound, Staggered, Anisotropic, Flux):
        assert len(failed(model(square(6)))) == 1


def test_hopping_within_one_sublattice_makes_a_false_claim_of_particle_hole_symmetry():
    model = Holstein(triangular(6))
    assert list(failed(model, particle_hole=True)) == ["particle-hole"]
    shifted = ExactDiagonalization(kT=0.1, mu=0.3)
    assert list(failed(Holstein(square(6)), shifted, particle_hole=True)) == ["particle-hole"]


def test_a_broken_symmetry_is_seen_whatever_the_lattice():
    # 4 × 6 cells have no rotation by 90°, but the crystal has it, and networks assume it.
    for lattice in (square(4, 6), square(6, periodic=False), square(6, 1, periodic=[True, False])):
        assert "symmetry" in failed(Anisotropic(lattice))


def test_a_failed_model_is_refused_with_all_that_failed():
    with pytest.raises(InputError, match=r"^2 of \d+ checks .* symmetry: .*\+1") as caught:
        require_valid(check_model(Staggered(square(6), g=0.5), SOLVER, particle_hole=True))
    assert "particle-hole: " in str(caught.value) and "\n" not in str(caught.value)


def test_the_size_of_the_violation_is_that_of_the_exact_force():
    model = Staggered(square(4))
    field, exact = random_field(model), ExactForceField(model, SOLVER)

    def moved(values: Tensor) -> Tensor:
        return values.reshape(4, 4).roll(1, 0).reshape(-1)

    error = float(
        (exact.electronic(moved(field))[1] - moved(exact.electronic(field)[1])).abs().max()
    )
    assert f"is off by {error:.2g}." in check_symmetry(model, SOLVER).message


def test_a_model_of_one_large_lattice_is_not_diagonalized():
    levels = tuple(torch.zeros(3600, dtype=torch.float64).tolist())
    results = check_model(Disordered(square(60), levels=levels), SOLVER)
    assert {result.name for result in results} >= {"pattern", "classical forces", "symmetry"}
    assert all(result.passed and result.name != "electronic forces" for result in results)
