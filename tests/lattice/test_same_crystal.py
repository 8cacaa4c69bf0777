"""The geometry of a crystal does not depend on how it is written."""

import numpy as np
import pytest
from hypothesis import given

from lattgnn.lattice import Lattice, bond_orbits, chain, honeycomb, space_group, square, triangular
from tests.same_crystal import EXAMPLES, rewrite, ways_to_write


@given(ways_to_write())
@EXAMPLES
def test_group_orbits_and_shells_do_not_depend_on_how_a_crystal_is_written(way):
    plain, other, _, _, scale = rewrite(way)
    assert space_group(other.cell).order == space_group(plain.cell).order
    for sublattice in range(plain.n_sublattices):
        site_groups = [space_group(x.cell).site_group(sublattice) for x in (plain, other)]
        assert len(site_groups[0]) == len(site_groups[1])
        for (r, n), (other_r, other_n) in zip(
            plain.shells(9, sublattice), other.shells(9, sublattice), strict=True
        ):
            assert other_r == pytest.approx(scale * r, rel=1e-9) and n == other_n
    cutoff = plain.shells(5)[-1][0]
    orbits, other_orbits = (bond_orbits(x, f * cutoff) for x, f in ((plain, 1), (other, scale)))
    assert sorted(len(o.bonds) for o in orbits.orbits) == sorted(
        len(o.bonds) for o in other_orbits.orbits
    )
    assert len({o.squared_distance for o in orbits.orbits}) == len(
        {o.squared_distance for o in other_orbits.orbits}
    )


@given(ways_to_write())
@EXAMPLES
def test_operations_of_a_rewritten_crystal_are_isometries(way):
    other = rewrite(way).other
    for operation in space_group(other.cell).operations:
        identity = operation.cartesian @ operation.cartesian.T
        np.testing.assert_allclose(identity, np.eye(other.dim), atol=1e-9)


@pytest.mark.parametrize("a", [1e-30, 3.9e-10, 1e-6, 2e-6, 1.0, 3.905, 1e3, 1e30])
def test_any_unit_of_length_will_do(a):
    assert space_group(Lattice([[a]], [[0]], [8]).cell).order == 2
    assert space_group(Lattice(a * np.eye(2), [[0, 0]], [8, 8]).cell).order == 8
    assert space_group(Lattice(a * np.eye(3), [[0, 0, 0]], [8, 8, 8]).cell).order == 48
    for base in (chain(8), square(8), triangular(8), honeycomb(8)):
        scaled = Lattice(a * np.array(base.primitive_vectors), base.basis, base.extent)
        assert scaled.neighbor_distance == pytest.approx(a, rel=1e-12)
        assert scaled.bonds(scaled.neighbor_distance).source.tolist() == (
            base.bonds(1.0).source.tolist()
        )
        counts = [[n for _, n in x.shells(12)] for x in (base, scaled)]
        assert counts[0] == counts[1]


@pytest.mark.parametrize("a", [1e-120, 1e120])
def test_lengths_beyond_the_range_of_squares_are_refused(a):
    with pytest.raises(ValueError, match="lengths between 1e-90 and 1e90"):
        Lattice([[a, 0.0], [0.0, a]], [[0, 0]], [8, 8])


@pytest.mark.parametrize("shear", [2, 5, 1000, 10**6])
def test_any_shear_of_the_square_lattice_is_the_square_lattice(shear):
    lattice = Lattice([[1.0, 0.0], [shear, 1.0]], [[0, 0]], [8, 8])
    assert space_group(lattice.cell).order == 8
    assert [n for _, n in lattice.shells(6)] == [n for _, n in square(8).shells(6)]


def test_distances_that_differ_in_the_eighth_digit_stay_apart():
    lattice = Lattice([[1.0, 0.0], [0.0, 1.0 + 3e-8]], [[0, 0]], [4, 4])
    assert [n for _, n in lattice.shells(2)] == [2, 2]
