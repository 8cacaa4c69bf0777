import pickle

import pytest
import torch

from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import (
    Lattice,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    square,
    triangular,
)
from lattgnn.serialize import build, describe

LATTICES = [
    chain(5),
    square(3, 4),
    square(4, periodic=False),
    triangular(3),
    honeycomb(3),
    kagome(2),
    lieb(2),
    cubic(3),
]
IDS = [f"{lattice.name}{lattice.extent}" for lattice in LATTICES]


@pytest.mark.parametrize("lattice", LATTICES, ids=IDS)
def test_matrix_against_the_definition(lattice, rng):
    model = Holstein(lattice, t=1.3, g=2.0)
    field = torch.randn(lattice.n_sites, dtype=torch.float64, generator=rng)
    matrix = model.matrix(field)
    torch.testing.assert_close(matrix.diagonal(), -2.0 * field, rtol=0, atol=0)
    hopping = matrix - torch.diag(matrix.diagonal())
    torch.testing.assert_close(hopping, hopping.T, rtol=0, atol=0)
    assert set(hopping.unique().tolist()) == {0.0, -1.3}
    bonds = lattice.bonds(lattice.neighbor_distance)
    assert int((hopping != 0).sum()) == len(bonds)
    assert model.n_states == lattice.n_sites and model.field_shape == (lattice.n_sites,)


@pytest.mark.parametrize("lattice", LATTICES, ids=IDS)
def test_classical_forces_are_minus_the_gradient_of_the_bond_sum(lattice, rng):
    model = Holstein(lattice, k0=0.7, k1=0.3)
    field = torch.randn(2, lattice.n_sites, dtype=torch.float64, generator=rng, requires_grad=True)
    bonds = lattice.bonds(lattice.neighbor_distance)  # every bond twice, once in each direction
    pairs = field[:, torch.tensor(bonds.source)] * field[:, torch.tensor(bonds.destination)]
    energy = 0.35 * field.square().sum(-1) + 0.15 * pairs.sum(-1)
    torch.testing.assert_close(model.classical_energy(field), energy, rtol=1e-13, atol=0)
    (gradient,) = torch.autograd.grad(energy.sum(), field)
    torch.testing.assert_close(model.classical_forces(field), -gradient, rtol=0, atol=1e-13)
    torch.testing.assert_close(
        super(Holstein, model).classical_forces(field), -gradient, rtol=0, atol=1e-13
    )


def test_classical_energy_can_be_differentiated_by_an_energy_network(rng):
    model = Holstein(square(4))
    field = torch.randn(3, 16, generator=rng, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.classical_energy(field).sum(), field)
    torch.testing.assert_close(-gradient, model.classical_forces(field.detach()))


def test_values_of_the_paper_are_the_defaults():
    model = Holstein(square(4))
    assert (model.t, model.g, model.k0, model.k1, model.field_type.force_bound) == (
        1.0,
        3.5,
        1.0,
        0.18,
        1.75,
    )


def test_models_are_values_that_travel_between_processes():
    model = Holstein(square(4), g=3.0)
    assert model.rows.data_ptr() == model.rows.data_ptr()  # built once
    copy = pickle.loads(pickle.dumps(model))
    assert copy == model == Holstein(square(4), g=3.0) and hash(copy) == hash(model)
    assert model != Holstein(square(4), g=3.1) and model != Holstein(square(5), g=3.0)


def test_wrong_fields_are_refused_in_one_line():
    model = Holstein(square(4))
    with pytest.raises(
        ValueError, match=r"^field must have shape \[\.\.\., 16\].*got \[3, 15\].*$"
    ):
        model.check_field(torch.zeros(3, 15))
    with pytest.raises(TypeError, match="field must be floating point, got torch.int64"):
        model.check_field(torch.zeros(16, dtype=torch.int64))
    field = torch.zeros(2, 16)
    field[1, 7] = float("nan")
    with pytest.raises(ValueError, match=r"^field must be finite, got nan at index \[1, 7\].*$"):
        model.check_field(field)


def test_hoppings_and_on_site_energies_by_label(rng):
    vectors, basis = [[2.0, 0.0], [0.0, 1.0]], [[0, 0], ["1/2", 0]]
    labels = {"strong": [[0, 1, [0, 0]]], "leg": [[0, 0, [0, 1]], [1, 1, [0, 1]]]}
    lattice = Lattice(vectors, basis, (3, 4), site_labels=["A", "B"], bond_labels=labels)
    energies, hoppings = {"A": 0.4, "B": -0.9}, {"strong": 1.5, "leg": 0.3}
    model = Holstein(lattice, t=hoppings, g=2.0, on_site_energy=energies)
    field = torch.randn(lattice.n_sites, dtype=torch.float64, generator=rng)
    expected = torch.diag(torch.tensor([0.4, -0.9] * 12, dtype=torch.float64) - 2.0 * field)
    for x, y in lattice.cells[::2].tolist():
        for bond_hopping, start, end, offset in (
            (1.5, 0, 1, (0, 0)),
            (0.3, 0, 0, (0, 1)),
            (0.3, 1, 1, (0, 1)),
        ):
            i = lattice.site_index((x, y), start)
            j = lattice.site_index((x + offset[0], y + offset[1]), end)
            expected[i, j] = expected[j, i] = -bond_hopping
    torch.testing.assert_close(model.matrix(field), expected, rtol=0, atol=0)
    copy = pickle.loads(pickle.dumps(model))
    assert copy == model == build(describe(model), Holstein, lattice) and hash(copy) == hash(model)
    assert model != Holstein(lattice, t=hoppings | {"leg": 0.2}, g=2.0, on_site_energy=energies)


def test_parameters_by_label_fit_the_labels_of_the_lattice():
    lattice = shastry_sutherland(2)
    with pytest.raises(ValueError, match=r"^t must hold one value for each label.*'square'"):
        Holstein(lattice, t={"dimer": 1.0})
    with pytest.raises(ValueError, match=r"^t must hold one value for each label"):
        Holstein(square(4), t={"dimer": 1.0})
    with pytest.raises(ValueError, match=r"^on_site_energy must hold one value for each label"):
        Holstein(square(4), on_site_energy={"A": 1.0})
    with pytest.raises(ValueError, match=r"^t must be finite"):
        Holstein(lattice, t={"dimer": float("nan"), "square": 1.0})


def test_descriptions_without_on_site_energies_are_those_from_before_labels():
    expected = {"t": 1.0, "g": 3.5, "k0": 1.0, "k1": 0.18}
    assert describe(Holstein(square(4)))["init_args"] == expected
