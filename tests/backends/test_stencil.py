"""Networks as matrices on the bonds of a unit cell, and networks that have no such form."""

from typing import Any

import numpy as np
import pytest
import torch

from lattgnn.backends import StencilNetwork, linear_classical, stencil_network
from lattgnn.backends.linear_classical import probed_classical
from lattgnn.hamiltonians import DoubleExchange, Holstein, Peierls
from lattgnn.lattice import chain, honeycomb, kagome, lieb, shastry_sutherland, square, triangular
from tests.orbit_networks import orbit_network


def stencil(net, lattice) -> StencilNetwork:
    network = stencil_network(net, lattice)
    assert network is not None
    return network


@pytest.mark.parametrize(
    ("lattice", "orbits"),
    [
        (square(4), 3),
        (triangular(4), 2),
        (honeycomb(4), 2),
        (kagome(4), 2),
        # Itself; square bonds in 2 orbits, each the reverse of the other; the diagonal of the
        # dimer, its continuation, and the other diagonal.
        (shastry_sutherland(4), 6),
    ],
    ids=lambda x: getattr(x, "name", x),
)
def test_orbits_of_equivalent_sites_are_sums_over_bonds(lattice, orbits):
    network = stencil(orbit_network(lattice, channels=3), lattice)
    for kernels in network.layers[1].kernels:
        assert len(kernels) == orbits
        n_bonds = sum(bond[1] == kernels[0].bonds[0][1] for bond in lattice.bonds(1.5).cell_bonds)
        assert sum(len(kernel.bonds) for kernel in kernels) == 1 + n_bonds


def test_inequivalent_sites_have_matrices_of_their_own():
    lattice = lieb(4)
    network = stencil(orbit_network(lattice, channels=3), lattice)
    corner, *edges = [kernels[0].matrix for kernels in network.layers[1].kernels]
    assert not np.allclose(corner, edges[0]) and np.array_equal(edges[0], edges[1])


def test_transposed_kernels_are_the_transpose(rng):
    lattice = kagome(4)
    layer = stencil(orbit_network(lattice, channels=3), lattice).layers[1]

    def dense(all_kernels, n_out, n_in):
        matrix = np.zeros((lattice.n_sites, n_out, lattice.n_sites, n_in))
        for kernels in all_kernels:
            for kernel in kernels:
                for source, destination, offset in kernel.bonds:
                    for x, y in np.ndindex(*lattice.extent):
                        to = lattice.site_index((x, y), destination)
                        start = lattice.site_index((x - offset[0], y - offset[1]), source)
                        matrix[to, :, start, :] += kernel.matrix
        return matrix.reshape(lattice.n_sites * n_out, -1)

    forth, back = dense(layer.kernels, 3, 3), dense(layer.transposed(), 3, 3)
    np.testing.assert_array_equal(back, forth.T)


@pytest.mark.parametrize(
    "net",
    [
        orbit_network(square(4), channels=3, field="vector", representation="A1 + E"),
        orbit_network(square(4), channels=3, representation="A1 + E"),
        orbit_network(square(4), channels=3, representation="trivial", nonlinearity="product"),
        orbit_network(square(4), channels=3, field="3 trivial", is_spin=True, nonlinearity="norm"),
        # Spins are read along bonds twice: by the functions, and by the first convolution.
        orbit_network(square(4), field="3 trivial", is_spin=True, representation="A1 + E"),
        orbit_network(
            square(4), channels=3, field="3 trivial", is_spin=True, nonlinearity="product"
        ),
    ],
)
def test_other_networks_have_no_stencil_form(net):
    assert stencil_network(net, square(4)) is None


def test_the_form_does_not_depend_on_the_extent():
    torch.manual_seed(0)
    net = orbit_network(square(4), channels=3)
    small, large = stencil(net, square(4)), stencil(net, square(2000))
    assert np.array_equal(
        small.layers[1].kernels[0][1].matrix, large.layers[1].kernels[0][1].matrix
    )


def test_only_a_harmonic_scalar_field_has_a_linear_classical_force():
    kernels = linear_classical(Holstein(kagome(3), k0=1.0, k1=0.2))
    assert kernels is not None and len(kernels) == 3
    assert [[float(k.matrix[0, 0]) for k in into] for into in kernels] == [[-1.0, -0.2]] * 3
    assert all(len(near.bonds) == 4 for _, near in kernels)
    assert linear_classical(Peierls(square(4))) is None
    assert linear_classical(DoubleExchange(square(4))) is None


class OwnForce(Holstein):
    """A class whose classical force is not told by `stiffness`."""

    force: Any

    def __init__(self, lattice, force):
        super().__init__(lattice)
        object.__setattr__(self, "force", force)

    @property
    def stiffness(self) -> Any:
        return None

    def classical_forces(self, field):
        return self.force(field)


@pytest.mark.parametrize("lattice", [square(6), kagome(5, 6), chain(7), square(6, periodic=False)])
def test_a_linear_classical_force_is_found_from_fields(lattice):
    """Two shells, of which the second has its own constant: as written, and as found."""
    near, far = Holstein(lattice, k0=1.0, k1=0.2), lattice.bonds(lattice.neighbor_distance * 1.8)
    source, destination = map(torch.tensor, (far.source, far.destination))

    def force(field):
        between = torch.zeros_like(field).index_add(-1, destination, field[..., source])
        return near.classical_forces(field) - 0.05 * between

    kernels = probed_classical(OwnForce(lattice, force))
    assert kernels is not None and len(kernels) == lattice.n_sublattices
    onsite = [
        k for into in kernels for k in into if not any(any(b[2]) or b[0] - b[1] for b in k.bonds)
    ]
    assert {round(float(k.matrix[0, 0]), 9) for k in onsite} == {-1.0}
    same, wanted = (
        probed_classical(OwnForce(lattice, near.classical_forces)),
        linear_classical(near),
    )
    assert same is not None and wanted is not None
    for found, into in zip(same, wanted, strict=True):
        values = {bond: float(k.matrix[0, 0]) for k in found for bond in k.bonds}
        assert values == {bond: float(k.matrix[0, 0]) for k in into for bond in k.bonds}


@pytest.mark.parametrize(
    ("force", "reason"),
    [
        (lambda field: -(field**3), "not linear"),
        (lambda field: 1 - field, "not zero at zero"),
        (lambda field: -field * torch.arange(36), "differs between cells"),
        (lambda field: -field.sum(-1, keepdim=True).expand_as(field), "reaches everywhere"),
        (lambda field: -field.roll(18, -1), "as long as half the extent"),
    ],
)
def test_another_classical_force_is_not_taken_for_a_linear_one(force, reason):
    assert probed_classical(OwnForce(square(6), force)) is None, reason
