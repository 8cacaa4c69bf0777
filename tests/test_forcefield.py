import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lattgnn import lattice as lattices
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import chain, cubic, honeycomb, kagome, lieb, square, triangular
from lattgnn.solvers import ExactDiagonalization

# The file says where its numbers come from: a program that shares no code with this package.
GOLDEN = json.loads((Path(__file__).parent / "golden" / "holstein.json").read_text())["cases"]


def case_name(case) -> str:
    ensemble = f"mu={case['mu']:g}" if case["filling"] is None else f"filling={case['filling']:.3g}"
    return f"{case['geometry']}-{ensemble}"


@pytest.mark.parametrize("case", GOLDEN, ids=case_name)
def test_golden_numbers(case):
    lattice = getattr(lattices, case["geometry"])(*case["extent"])
    # Sites are matched by position, never by their number.
    distance = np.linalg.norm(
        lattice.positions[:, None] - np.array(case["positions"])[None], axis=-1
    )
    theirs = distance.argmin(1)
    assert distance.min(1).max() < 1e-9 and sorted(theirs) == list(range(lattice.n_sites))
    expected = {
        key: torch.tensor(case[key], dtype=torch.float64)[theirs]
        for key in ("Q", "forces", "density")
    }

    fixed = {"mu": case["mu"]} if case["filling"] is None else {"filling": case["filling"]}
    solver = ExactDiagonalization(case["kT"], **fixed)
    model = Holstein(lattice, t=1.0, g=case["G"], k0=case["k0"], k1=case["k1"])
    energy, forces = ExactForceField(model, solver)(expected["Q"])
    torch.testing.assert_close(forces, expected["forces"], rtol=0, atol=1e-9)
    state = solver.solve(model, expected["Q"])
    torch.testing.assert_close(
        state.density_elements[model.rows == model.cols], expected["density"], rtol=0, atol=1e-9
    )
    assert float(state.mu) == pytest.approx(case["mu"], abs=1e-9)
    # The reference lists Ω at its μ also where the filling is fixed: the free energy is Ω + μN.
    electrons = case["mu"] * case["filling"] * lattice.n_sites if "filling" in fixed else 0.0
    assert float(energy) == pytest.approx(case["grand_potential_total"] + electrons, abs=1e-9)


LATTICES = [
    chain(8),
    square(4),
    square(3, 5, periodic=[True, False]),
    triangular(4),
    honeycomb(3),
    kagome(2),
    lieb(2),
    cubic(3),
]


def check_gradient(force, field, direction):
    """−F·direction against central differences, along `direction` and along single sites."""
    h = 1e-5
    _, forces = force(field)
    sites = torch.eye(len(field)).double()[:: len(field) // 3]
    for along in [direction, *sites]:
        slope = (force(field + h * along)[0] - force(field - h * along)[0]) / (2 * h)
        torch.testing.assert_close(
            -forces @ along, slope, rtol=1e-7, atol=1e-7 * float(forces.abs().max())
        )


@pytest.mark.parametrize("ensemble", [{"mu": 0.1}, {"filling": 0.5}, {"filling": 1 / 3}], ids=str)
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_forces_are_minus_the_gradient_of_the_energy(lattice, ensemble, rng):
    force_field = ExactForceField(Holstein(lattice), ExactDiagonalization(0.1, **ensemble))
    field, direction = torch.randn(2, lattice.n_sites, dtype=torch.float64, generator=rng).unbind(0)
    check_gradient(force_field, 1.5 * field, direction)
    check_gradient(force_field.electronic, 1.5 * field, direction)


@pytest.mark.parametrize("fixed", ["mu", "filling"])
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_forces_of_the_gapped_ground_state(lattice, fixed, rng):
    """A third of the sites lies deep: the Fermi level is in a gap, where the energy has a
    derivative.
    """
    n = lattice.n_sites
    field, direction = torch.randn(2, n, dtype=torch.float64, generator=rng).unbind(0)
    deep = torch.randperm(n, generator=rng) < n // 3
    field = 0.3 * field + torch.where(deep, 2.5, -2.5)
    solver = (
        ExactDiagonalization(0.0, mu=0.1)
        if fixed == "mu"
        else ExactDiagonalization(0.0, filling=n // 3 / n)
    )
    force_field = ExactForceField(Holstein(lattice), solver)
    levels = torch.linalg.eigvalsh(force_field.hamiltonian.matrix(field))
    assert (levels - solver.solve(force_field.hamiltonian, field).mu).abs().min() > 1.0
    check_gradient(force_field, field, direction)


@pytest.mark.parametrize("kT", [0.0, 0.1])
@pytest.mark.parametrize(
    "lattice", [square(6), triangular(4), honeycomb(3), kagome(2)], ids=lambda lat: lat.name
)
def test_fixed_filling_is_fixed_mu_in_a_shifted_field(lattice, kT, rng):
    """F_canonical(Q) = F_{μ=0}(Q + μ/g), the electronic part."""
    model = Holstein(lattice)
    field = torch.randn(3, lattice.n_sites, dtype=torch.float64, generator=rng)
    canonical = ExactDiagonalization(kT, filling=0.5)
    mu = canonical.solve(model, field).mu
    _, forces = ExactForceField(model, canonical).electronic(field)
    _, shifted = ExactForceField(model, ExactDiagonalization(kT, mu=0.0)).electronic(
        field + mu[:, None] / model.g
    )
    torch.testing.assert_close(forces, shifted, rtol=0, atol=1e-10)
    assert forces.sum(-1).abs().max() < 1e-10  # Σ (n_i − ½) = 0


@pytest.mark.parametrize(
    "lattice", [square(6), triangular(6), kagome(4)], ids=lambda lattice: lattice.name
)
@pytest.mark.parametrize("ensemble", [{"mu": 0.3}, {"filling": 0.4}], ids=str)
def test_energy_of_a_tiling(lattice, ensemble, rng):
    """Electrons know the size of the box by loops around it, which go as (t/2kT)^L / L!: none at
    kT = 50.
    """
    shape = (*lattice.extent, lattice.n_sublattices)
    field = 5 * torch.randn(shape, dtype=torch.float64, generator=rng)
    tiles = lattice.with_extent(*(2 * n for n in lattice.extent))
    solver = ExactDiagonalization(50.0, **ensemble)
    energy, forces = ExactForceField(Holstein(lattice), solver)(field.reshape(-1))
    tiled_energy, tiled_forces = ExactForceField(Holstein(tiles), solver)(
        field.repeat(2, 2, 1).reshape(-1)
    )
    torch.testing.assert_close(tiled_energy, 4 * energy, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        tiled_forces, forces.reshape(shape).repeat(2, 2, 1).reshape(-1), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.4}], ids=str)
def test_a_sample_does_not_know_its_batch(ensemble, rng):
    force_field = ExactForceField(Holstein(square(4)), ExactDiagonalization(0.1, **ensemble))
    fields = torch.randn(2, 3, 16, dtype=torch.float64, generator=rng)
    energy, forces = force_field(fields)
    assert energy.shape == (2, 3) and forces.shape == fields.shape
    alone_energy, alone_forces = force_field(fields[1, 0])
    assert torch.equal(energy[1, 0], alone_energy) and torch.equal(forces[1, 0], alone_forces)


def test_parts_add_up_and_the_electronic_force_is_bounded(rng):
    model = Holstein(square(4))
    force_field = ExactForceField(model, ExactDiagonalization(0.1, mu=0.0))
    field = 5 * torch.randn(5, 16, dtype=torch.float64, generator=rng)
    energy, forces = force_field(field)
    electronic_energy, electronic_forces = force_field.electronic(field)
    torch.testing.assert_close(energy, electronic_energy + model.classical_energy(field))
    torch.testing.assert_close(forces, electronic_forces + model.classical_forces(field))
    bound = model.field_type.force_bound
    assert bound is not None and electronic_forces.abs().max() <= bound
    assert force_field.lattice is model.lattice and force_field.field_shape == (16,)


def test_the_field_is_left_alone_and_results_carry_no_graph(rng):
    force_field = ExactForceField(Holstein(square(3)), ExactDiagonalization(0.1, mu=0.0))
    field = torch.randn(9, generator=rng, requires_grad=True)
    before = field.detach().clone()
    with torch.no_grad():
        energy, forces = force_field(field)
    assert energy.dtype == forces.dtype == torch.float32
    assert not energy.requires_grad and not forces.requires_grad and field.grad is None
    assert torch.equal(field.detach(), before)


def test_nan_stops_in_one_line():
    force_field = ExactForceField(Holstein(square(3)), ExactDiagonalization(0.1, mu=0.0))
    with pytest.raises(ValueError, match=r"^field must be finite, got inf at index \[4\].*$"):
        force_field(torch.zeros(9).double().index_fill(0, torch.tensor([4]), float("inf")))
