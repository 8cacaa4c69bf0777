"""The exact force field has every symmetry of its lattice: what a learned one is held to."""

import pytest
import torch

from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, JahnTeller, Peierls
from lattgnn.lattice import (
    Lattice,
    brick_wall,
    chain,
    compatible_operations,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    site_permutations,
    square,
    staggered_square,
    translation_permutation,
    triangular,
)
from lattgnn.solvers import ExactDiagonalization

LATTICES = [
    chain(6),
    square(4),
    square(4, 6),
    triangular(4),
    honeycomb(3),
    kagome(3),
    lieb(3),
    cubic(3),
]


def moved(field, permutation):
    """(g·field)[g(i)] = field[i]."""
    result = torch.empty_like(field)
    result[..., permutation] = field
    return result


@pytest.mark.parametrize("ensemble", [{"mu": 0.0}, {"filling": 0.4}], ids=str)
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: f"{lattice.name}{lattice.extent}")
def test_every_operation_times_a_translation(lattice, ensemble, rng):
    force_field = ExactForceField(Holstein(lattice), ExactDiagonalization(0.1, **ensemble))
    random = torch.randn(lattice.n_sites, dtype=torch.float64, generator=rng)
    fields = torch.stack([random, torch.full_like(random, 0.3)])
    energy, forces = force_field(fields)
    shift = torch.tensor(translation_permutation(lattice, tuple(range(1, lattice.dim + 1))))
    for operation in torch.tensor(site_permutations(lattice)):
        permutation = shift[operation]
        moved_energy, moved_forces = force_field(moved(fields, permutation))
        torch.testing.assert_close(moved_energy, energy, rtol=0, atol=1e-10)
        torch.testing.assert_close(moved_forces, moved(forces, permutation), rtol=0, atol=1e-10)


LABELED = {
    "staggered": Holstein(staggered_square(3, 4), on_site_energy={"A": 0.6, "B": -0.6}),
    "brick wall": Holstein(brick_wall(3, 4), t={"brick": 1.0}),
    "shastry-sutherland": Holstein(shastry_sutherland(2, 3), t={"dimer": 1.3, "square": 0.7}),
    "alternating chain": Holstein(
        Lattice([[2]], [[0], ["1/2"]], 6, bond_labels={"a": [[0, 1, [0]]], "b": [[1, 0, [1]]]}),
        t={"a": 1.2, "b": 0.8},
    ),
}


@pytest.mark.parametrize("model", LABELED.values(), ids=LABELED)
def test_labels_give_the_symmetry_of_the_hamiltonian(model, rng):
    """The force commutes with the operations of the labeled crystal; with others it does not."""
    lattice = model.lattice
    force_field = ExactForceField(model, ExactDiagonalization(0.1, mu=0.0))
    field = torch.randn(lattice.n_sites, dtype=torch.float64, generator=rng)
    forces = force_field(field)[1]
    bare = Lattice(lattice.primitive_vectors, lattice.basis, lattice.extent)
    kept = {tuple(p) for p in site_permutations(lattice, translations=True).tolist()}
    everything = torch.from_numpy(site_permutations(bare, translations=True))
    assert len(kept) < len(everything)
    # Row k of `images` is the field moved by operation k.
    images = torch.empty(len(everything), lattice.n_sites, dtype=torch.float64)
    images.scatter_(1, everything, field.expand_as(images))
    back = force_field(images)[1].gather(1, everything)
    for permutation, error in zip(everything, (back - forces).abs().amax(1), strict=True):
        assert (error < 1e-10) == (tuple(permutation.tolist()) in kept)
        assert error < 1e-10 or error > 1e-3


@pytest.mark.parametrize(
    "lattice", [chain(6), square(4, 6), honeycomb(3), lieb(3)], ids=lambda lattice: lattice.name
)
@pytest.mark.parametrize("kT", [0.0, 0.1])
def test_particle_hole_symmetry_of_bipartite_lattices(lattice, kT, rng):
    assert lattice.is_bipartite
    force_field = ExactForceField(Holstein(lattice), ExactDiagonalization(kT, mu=0.0))
    field = torch.randn(3, lattice.n_sites, dtype=torch.float64, generator=rng)
    (energy, forces), (mirror_energy, mirror_forces) = force_field(field), force_field(-field)
    torch.testing.assert_close(mirror_energy, energy, rtol=0, atol=1e-10)
    torch.testing.assert_close(mirror_forces, -forces, rtol=0, atol=1e-10)


def test_particle_hole_symmetry_needs_a_bipartite_lattice(rng):
    force_field = ExactForceField(Holstein(triangular(4)), ExactDiagonalization(0.1, mu=0.0))
    field = torch.randn(16, dtype=torch.float64, generator=rng)
    assert (force_field(-field)[1] + force_field(field)[1]).abs().max() > 0.1


@pytest.mark.parametrize("kT", [0.0, 0.1])
def test_a_perfect_charge_density_wave_stays_perfect(kT):
    lattice = square(4)
    signs = torch.tensor(lattice.bipartite_signs).double()
    _, forces = ExactForceField(Holstein(lattice), ExactDiagonalization(kT, mu=0.0))(0.8 * signs)
    torch.testing.assert_close(forces, forces[0] * signs * signs[0], rtol=0, atol=1e-10)


def on_components(model, operation) -> torch.Tensor:
    """The matrix by which an operation turns the components of the field of a site."""
    cartesian = torch.tensor(operation.cartesian.copy())
    if model.field_type.representation == "vector":
        return cartesian
    if model.field_type.representation == "B1 + A1":  # x² − y² and 3z² − r²
        sign = cartesian[0, 0] ** 2 - cartesian[1, 0] ** 2
        return torch.diag(torch.stack([sign, torch.ones_like(sign)]))
    assert model.field_type.representation == "3 trivial"
    return torch.eye(3).double()


PLANE = [square(4), square(4, 6), triangular(4), honeycomb(3), kagome(3)]
MODELS = [model(lattice) for model in (Peierls, DoubleExchange) for lattice in PLANE]


@pytest.mark.parametrize(
    "model", [*MODELS, JahnTeller(square(4))], ids=lambda m: f"{type(m).__name__}-{m.lattice.name}"
)
def test_every_operation_times_a_translation_of_fields_with_components(model, rng):
    lattice = model.lattice
    force_field = ExactForceField(model, ExactDiagonalization(0.1, filling=0.4))
    random = 0.3 * torch.randn(*model.field_shape, dtype=torch.float64, generator=rng)
    uniform = torch.full_like(random, 0.1)
    fields = torch.stack([random, uniform])
    energy, forces = force_field(fields)
    shift = torch.tensor(translation_permutation(lattice, (1, 2)))
    operations = compatible_operations(lattice)
    assert len(operations) >= 4
    for operation, sites in zip(operations, torch.tensor(site_permutations(lattice)), strict=True):
        matrix, permutation = on_components(model, operation), shift[sites]

        def act(field, matrix=matrix, permutation=permutation):
            result = torch.empty_like(field)
            result[:, permutation] = field @ matrix.T
            return result

        moved_energy, moved_forces = force_field(act(fields))
        torch.testing.assert_close(moved_energy, energy, rtol=0, atol=1e-10)
        torch.testing.assert_close(moved_forces, act(forces), rtol=0, atol=1e-10)


def test_a_displacement_that_does_not_turn_with_its_site_is_noticed(rng):
    model = Peierls(square(4))
    force_field = ExactForceField(model, ExactDiagonalization(0.1, filling=0.4))
    field = 0.3 * torch.randn(16, 2, dtype=torch.float64, generator=rng)
    turned = torch.empty_like(field)
    turned[torch.tensor(site_permutations(model.lattice))[1]] = field
    assert (force_field(turned)[0] - force_field(field)[0]).abs() > 1e-3
