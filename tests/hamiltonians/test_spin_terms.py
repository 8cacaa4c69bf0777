"""Classical terms of spins: spirals in closed form, sums over pairs, derivatives, symmetry."""

import math

import numpy as np
import pytest
import torch

from lattgnn.dynamics import HeunLLG, Regular, initial_spins, simulate
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import ClassicalMagnet, DoubleExchange, Hamiltonian, SpinTerms
from lattgnn.hamiltonians.dm_vectors import spin_matrix
from lattgnn.lattice import (
    Lattice,
    chain,
    compatible_operations,
    cubic,
    honeycomb,
    kagome,
    site_permutations,
    square,
    triangular,
)
from lattgnn.serialize import build, describe
from lattgnn.solvers import ExactDiagonalization, NoElectrons
from lattgnn.spin_orders import SpinOrder, Spiral, tetrahedral

ALL = SpinTerms(
    exchange=[1.0, -0.4],
    interfacial_dm=0.3,
    bulk_dm=[0.0, 0.2],
    anisotropy=0.25,
    axis=[1, 1, 2],
    magnetic_field=[0.1, -0.2, 0.3],
)


def random_spins(lattice: Lattice, rng: torch.Generator) -> torch.Tensor:
    field = torch.randn(lattice.n_sites, 3, dtype=torch.float64, generator=rng)
    return field / field.norm(dim=-1, keepdim=True)


def energy_per_site(terms: SpinTerms, lattice: Lattice, order: SpinOrder) -> float:
    spins = torch.from_numpy(order.spins(lattice))
    return float(terms.on(lattice).energy(spins)) / lattice.n_sites


@pytest.mark.parametrize(
    "lattice",
    [chain(6), square(5), triangular(5, 6), honeycomb(4, periodic=False), kagome(3)],
    ids=lambda lattice: lattice.name,
)
def test_energy_is_the_sum_over_pairs_and_its_derivative_the_field(lattice, rng):
    spins, energy = random_spins(lattice, rng), ALL.on(lattice)
    total, s = 0.0, spins.numpy()
    first, second = (
        d
        for d in sorted({r for x in range(lattice.n_sublattices) for r, _ in lattice.shells(2, x)})[
            :2
        ]
    )
    bonds = lattice.bonds(second)
    for i, j, step in zip(bonds.source, bonds.destination, bonds.displacement, strict=True):
        along = np.zeros(3)
        along[: lattice.dim] = step / np.linalg.norm(step)
        near = np.linalg.norm(step) < first + 1e-9
        dm = 0.3 * np.cross([0, 0, 1], along) if near else 0.2 * along
        pair = (1.0 if near else -0.4) * s[i] @ s[j] + dm @ np.cross(s[i], s[j])
        total -= pair / 2  # each bond appears in both directions
    axis = np.array([1, 1, 2]) / math.sqrt(6)
    total -= 0.25 * ((s @ axis) ** 2).sum() + (s @ [0.1, -0.2, 0.3]).sum()
    assert float(energy.energy(spins)) == pytest.approx(total, abs=1e-12)
    leaf = spins.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy.energy(leaf), leaf)
    torch.testing.assert_close(energy.forces(spins), -gradient, rtol=0, atol=1e-12)
    step = 1e-5 * torch.randn(spins.shape, dtype=torch.float64, generator=rng)
    difference = energy.energy(spins + step) - energy.energy(spins - step)
    assert float(-(energy.forces(spins) * 2 * step).sum()) == pytest.approx(
        float(difference), rel=1e-7
    )


def test_spirals_in_closed_form():
    q = 2 * math.pi / 12
    along_x = ["1/12", 0]
    screw = Spiral(along_x, axis=[1, 0, 0], reference=[0, 1, 0])
    cycloid = Spiral(along_x, axis=[0, 1, 0], reference=[0, 0, 1])
    expected = -1.3 * (math.cos(q) + 1) - 0.4 * math.sin(q)
    lattice = square(12, 3)
    found = energy_per_site(SpinTerms(exchange=1.3, bulk_dm=0.4), lattice, screw)
    assert found == pytest.approx(expected, abs=1e-12)
    found = energy_per_site(SpinTerms(exchange=1.3, interfacial_dm=0.4), lattice, cycloid)
    assert found == pytest.approx(expected, abs=1e-12)
    # A cone in a field along its axis with easy-plane anisotropy: S_z = 3/5, in the plane 4/5.
    cone = Spiral(["1/12"], reference=[4, 0, 3])
    terms = SpinTerms(exchange=[1.0, -0.5], anisotropy=-0.3, magnetic_field=[0, 0, 0.7])
    exchange = 0.64 * (math.cos(q) - 0.5 * math.cos(2 * q)) + 0.36 * 0.5
    assert energy_per_site(terms, chain(12), cone) == pytest.approx(
        -exchange + 0.3 * 0.36 - 0.7 * 0.6, abs=1e-12
    )


def test_orders_of_frustrated_lattices_in_closed_form():
    antiferromagnet = SpinTerms(exchange=-1.0)
    assert energy_per_site(antiferromagnet, triangular(6), Spiral(["1/3", "-1/3"])) == (
        pytest.approx(-1.5, abs=1e-12)
    )
    second = SpinTerms(exchange=[-1.0, -0.2])
    assert energy_per_site(second, triangular(6), tetrahedral()) == pytest.approx(-1.2, abs=1e-12)
    # DM vectors along z tell the two chiralities of the 120° order of the kagome lattice apart.
    terms = SpinTerms(exchange=-1.0, dm_vectors={"orbit 0": [0, 0, 0.2]})
    corners = [[2, 0, 0], [-1, math.sqrt(3), 0], [-1, -math.sqrt(3), 0]]
    energies = [
        energy_per_site(terms, kagome(3), Spiral([0, 0], reference=list(spins)))
        for spins in (corners, corners[::-1])
    ]
    assert sorted(energies) == pytest.approx(
        [-1 - 0.2 * math.sqrt(3), -1 + 0.2 * math.sqrt(3)], abs=1e-12
    )


def test_dm_vectors_by_orbit_are_those_of_an_interface(rng):
    lattice = triangular(4)
    spins = random_spins(lattice, rng)
    # The symmetry table prints the bond along x, whose vector z × x is y.
    by_orbit = SpinTerms(dm_vectors={"orbit 0": [0, 0.3, 0]}).on(lattice)
    interface = SpinTerms(interfacial_dm=0.3).on(lattice)
    torch.testing.assert_close(by_orbit.forces(spins), interface.forces(spins), rtol=0, atol=1e-14)


@pytest.mark.parametrize("lattice", [square(4), triangular(4), honeycomb(3)], ids=lambda x: x.name)
def test_operations_act_on_sites_and_spins_together(lattice, rng):
    """With electrons beside the classical terms, energy and field follow to 1e-10."""
    terms = SpinTerms(exchange=0.3, interfacial_dm=0.5, anisotropy=0.1, magnetic_field=[0, 0, 0.2])
    reversible = SpinTerms(exchange=0.3, interfacial_dm=0.5, anisotropy=0.1)
    spins = random_spins(lattice, rng)
    solver = ExactDiagonalization(0.1, mu=-2.0)
    for chosen in (terms, reversible):
        exact = ExactForceField(DoubleExchange(lattice, J=2.0, classical=chosen), solver)
        energy, forces = exact(spins)
        for number, operation in enumerate(compatible_operations(lattice)):
            turn = torch.from_numpy(spin_matrix(operation))
            permutation = torch.from_numpy(site_permutations(lattice)[number])

            def move(field: torch.Tensor, turn=turn, permutation=permutation) -> torch.Tensor:
                moved = torch.empty_like(field)
                moved[permutation] = field @ turn.T
                return moved

            if chosen is terms and turn[2, 2] < 0:
                continue  # a reflection reverses the magnetic field along z
            moved_energy, moved_forces = exact(move(spins))
            torch.testing.assert_close(moved_energy, energy, rtol=0, atol=1e-10)
            torch.testing.assert_close(moved_forces, move(forces), rtol=0, atol=1e-10)
    # Spins that do not turn with the lattice have another energy.
    quarter = compatible_operations(lattice)[1]
    fixed = torch.empty_like(spins)
    fixed[torch.from_numpy(site_permutations(lattice)[1])] = spins
    assert quarter.rotation and abs(float(exact(fixed)[0] - exact(spins)[0])) > 1e-3


def test_a_network_of_the_electrons_serves_all_classical_terms(rng):
    lattice = square(6)
    learned = LearnedForceField.pretrained("kondo-square", lattice=lattice)
    spins = random_spins(lattice, rng)
    energy, forces = learned(spins)
    model = DoubleExchange(lattice, classical=ALL)
    other_energy, other_forces = learned.with_hamiltonian(model)(spins)
    terms = ALL.on(lattice)
    torch.testing.assert_close(other_forces - forces, terms.forces(spins), rtol=0, atol=1e-10)
    assert energy is not None and other_energy is not None
    torch.testing.assert_close(other_energy - energy, terms.energy(spins), rtol=0, atol=1e-10)


def test_a_spin_in_a_field_precesses_as_a_classical_magnet():
    """dS/dt = S × h turns S about h clockwise, by the angle h t."""
    model = ClassicalMagnet(chain(4), SpinTerms(magnetic_field=[0, 0, 2.0]))
    exact = ExactForceField(model, NoElectrons())
    start = initial_spins(exact, seed=0)
    run = simulate(exact, HeunLLG(dt=0.01, kT=0.0, alpha=0.0), start, n_steps=50, save=Regular(50))
    angle, spins = 2.0 * 0.5, start.field[0].numpy()
    turn = np.array(
        [[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    assert abs(run.fields[-1, 0] - spins @ turn.T).max() < 1e-12
    assert run.energies is not None
    assert run.energies[-1, 0] == pytest.approx(-2.0 * float(spins[:, 2].sum()), abs=1e-12)


def test_terms_are_described_and_built_again():
    terms = SpinTerms(exchange={"orbit 0": 1.0}, dm_vectors={"orbit 0": (0.0, 0.1, 0.0)})
    for model in (DoubleExchange(square(4), classical=terms), ClassicalMagnet(square(4), terms)):
        assert build(describe(model), Hamiltonian, square(4)) == model
    assert "classical" not in describe(DoubleExchange(square(4)))["init_args"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpinTerms(exchange=float("nan")), "exchange must be a finite number"),
        (lambda: SpinTerms(bulk_dm=[0.1, float("inf")]), "bulk_dm must be a finite number"),
        (lambda: SpinTerms(axis=[0, 0, 0]), "axis of the anisotropy must not be zero"),
        (lambda: SpinTerms(magnetic_field=[1, 2]), "magnetic_field must hold three numbers"),
        (lambda: SpinTerms(exchange=[1, 0, 1]).on(triangular(4)), "exchange, a list of 3 shells"),
        (lambda: SpinTerms(interfacial_dm=1.0).on(cubic(3)), "interfacial_dm needs a lattice in"),
        (lambda: SpinTerms(dm_vectors={"0": [0, 0, 1]}).on(square(4)), "given by orbit, got '0'"),
        (lambda: SpinTerms(dm_vectors={"orbit 0": [0, 0, 1]}).on(square(4)), "Moriya's rules"),
        (lambda: SpinTerms(dm_vectors={"orbit 0": [1, 0, 0]}).on(square(4)), "Moriya's rules"),
        (lambda: DoubleExchange(square(2), classical=SpinTerms(exchange=1.0)), "extent must be"),
    ],
)
def test_terms_that_do_not_exist_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
