"""Kernels of bonds: K_gb = ρ_out(g) K_b ρ_in(g)⁻¹ for every operation, and a full basis of them."""

import numpy as np
import pytest

from lattgnn.lattice import (
    brick_wall,
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    shastry_sutherland,
    space_group,
    square,
    staggered_square,
    triangular,
)
from lattgnn.symmetry import (
    SiteType,
    irreps,
    kernel_count,
    local_element,
    orbit_kernels,
    regular,
    site_classes,
    vector,
)

LATTICES = [chain(6), square(6), triangular(6), honeycomb(4), kagome(4), lieb(4)]
LATTICES += [staggered_square(4), brick_wall(4), shastry_sutherland(4)]


def types(lattice, make):
    return [
        SiteType(number, make(sites.group))
        for number, sites in enumerate(site_classes(lattice.cell))
    ]


@pytest.mark.parametrize("make", [vector, regular], ids=["vector", "regular"])
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_kernels_of_an_orbit_follow_from_one_by_the_group(lattice, make):
    for source in types(lattice, make):
        for destination in types(lattice, vector):
            for orbit in orbit_kernels(lattice.cell, source, destination, 2.0):
                for bond, maps in orbit.kernels.items():
                    for g in space_group(lattice.cell).operations:
                        start = local_element(lattice.cell, g, bond[0])
                        end = local_element(lattice.cell, g, bond[1])
                        turned = (
                            destination.representation.matrices[end]
                            @ maps
                            @ source.representation.matrices[start].T
                        )
                        image = orbit.kernels[g.move_bond(*bond)]
                        np.testing.assert_allclose(turned, image, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lattice", [*LATTICES, cubic(4)], ids=lambda lattice: lattice.name)
def test_the_basis_is_orthonormal(lattice):
    (source, *_) = types(lattice, regular) if lattice.dim < 3 else types(lattice, vector)
    for orbit in orbit_kernels(lattice.cell, source, source, 1.5):
        for maps in orbit.kernels.values():
            overlaps = np.einsum("pij,qij->pq", maps, maps)
            np.testing.assert_allclose(overlaps, np.eye(len(maps)), rtol=0, atol=1e-12)


def test_a_scalar_bond_kernel_is_the_orbit_sum():
    lattice = square(6)
    (scalar,) = [SiteType(0, irreps(sites.group)[0]) for sites in site_classes(lattice.cell)]
    own, nearest, diagonal = orbit_kernels(lattice.cell, scalar, scalar, 1.5)
    assert (own.orbit, nearest.orbit, diagonal.orbit) == (-1, 0, 1)
    assert nearest.multiplicity == 4 and all((k == 1).all() for k in nearest.kernels.values())


def test_a_kernel_from_scalar_to_vector_points_along_the_bond():
    """It is the unit vector of the bond, up to sign."""
    lattice = triangular(6)
    (scalar,), (arrow,) = types(lattice, lambda group: irreps(group)[0]), types(lattice, vector)
    (orbit,) = orbit_kernels(lattice.cell, scalar, arrow, 1.0)
    for bond, maps in orbit.kernels.items():
        direction = lattice.cell.cartesian(lattice.cell.separation(*bond))
        assert abs(abs(direction @ maps[0, :, 0]) - 1) < 1e-12


@pytest.mark.parametrize(
    "source, destination, expected",
    [
        ("A1", "A1", 3),
        ("A1", "A2", 0),
        ("A1", "B1", 1),
        ("A1", "B2", 1),
        ("A1", "E", 2),
        ("E", "E", 5),
    ],
)
def test_known_counts_on_the_square_lattice(source, destination, expected):
    """Site, four neighbors, four diagonals: stabilizers D4 and two mirrors."""
    lattice = square(6)
    named = {
        irrep.name: SiteType(0, irrep) for irrep in irreps(site_classes(lattice.cell)[0].group)
    }
    assert kernel_count(lattice.cell, named[source], named[destination], 1.5) == expected
