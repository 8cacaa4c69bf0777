import pickle
from fractions import Fraction

import numpy as np
import pytest

from lattgnn.lattice import Lattice, chain, cubic, honeycomb, kagome, lieb, square, triangular
from lattgnn.serialize import build, describe


def test_sites_are_row_major_with_the_basis_fastest():
    lattice = kagome(2, 3)
    assert lattice.n_sites == 18 and lattice.n_cells == 6 and lattice.dim == 2
    assert lattice.cells[:7].tolist() == [[0, 0]] * 3 + [[0, 1]] * 3 + [[0, 2]]
    assert lattice.sublattices[:4].tolist() == [0, 1, 2, 0]
    np.testing.assert_allclose(lattice.positions[4], [1.0 + 1.0, 3**0.5])
    for site in range(18):
        assert lattice.site_index(lattice.cells[site], int(lattice.sublattices[site])) == site


def test_arrays_are_read_only():
    lattice = square(4)
    for array in (lattice.positions, lattice.cells, lattice.sublattices, lattice.bonds(1.0).orbit):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0  # type: ignore[index]


def test_cells_wrap_on_periodic_axes_only():
    lattice = square(4, 5, periodic=[True, False])
    assert lattice.site_index((-1, 2)) == lattice.site_index((3, 2))
    with pytest.raises(ValueError, match="must lie within extent"):
        lattice.site_index((0, 5))
    with pytest.raises(ValueError, match="must lie within extent"):
        lattice.site_index((0, 0), 1)


def test_equality_goes_by_value_and_not_by_name():
    same = Lattice([[1.0, 0.0], [0.0, 1.0]], [[0, 0]], [4, 6])
    assert same == square(4, 6) and hash(same) == hash(square(4, 6))
    assert square(4, 6) != square(6, 4)
    assert square(4) != square(4, periodic=False)
    assert square(4) != square(4, periodic=[True, False])


@pytest.mark.parametrize(
    "lattice", [honeycomb(3), square(4, periodic=False), cubic(2, 3, 4), chain(9)]
)
def test_every_way_of_storing_gives_it_back(lattice):
    for copy in (
        Lattice.from_dict(lattice.to_dict()),
        pickle.loads(pickle.dumps(lattice)),
        build(describe(lattice), Lattice),
        eval(repr(lattice)),
    ):
        assert copy == lattice and copy.name == lattice.name


def test_pickles_carry_no_arrays():
    lattice = square(100)
    assert lattice.positions.shape == (10_000, 2)
    assert len(pickle.dumps(lattice)) < 1000


def test_with_extent_keeps_everything_else():
    assert square(4, periodic=[True, False]).with_extent(6, 7) == square(
        6, 7, periodic=[True, False]
    )
    assert kagome(4).with_extent(6) == kagome(6)


def test_input_may_be_lists_arrays_or_numbers():
    lattice = Lattice(
        np.eye(2), np.array([[0.0, 0.0], [1 / 3, 0.5]]), np.array([3, 4]), periodic=False
    )
    assert lattice.basis[1] == (Fraction(1, 3), Fraction(1, 2))
    assert lattice.extent == (3, 4) and lattice.periodic == (False, False)
    assert Lattice([[1.0]], [[0]], 5).extent == (5,)


@pytest.mark.parametrize(
    ("extent", "periodic", "message"),
    [
        ([4], True, "extent must be 2 positive integers"),
        ([4, 0], True, "extent must be 2 positive integers"),
        ([4, 4.5], True, "extent must be 2 positive integers"),
        ("44", True, "extent must be 2 positive integers"),
        ([4, 4], [True, True, True], "periodic must be a bool"),
        ([4, 4], [1, 0], "periodic must be a bool"),
    ],
)
def test_bad_extents_and_boundaries_are_refused(extent, periodic, message):
    with pytest.raises(ValueError, match=message) as error:
        Lattice([[1.0, 0.0], [0.0, 1.0]], [[0, 0]], extent, periodic)
    assert "\n" not in str(error.value)


def test_shells_of_a_lattice_with_two_kinds_of_sites():
    assert lieb(4).shells(3) == [(1, 4), (2, 4), (5**0.5, 8)]
    assert lieb(4).shells(3, sublattice=1) == [(1, 2), (2**0.5, 4), (2, 4)]
    assert len(square(4).shells(40)) == 40
    with pytest.raises(ValueError, match="shells need n >= 1"):
        square(4).shells(0)
    with pytest.raises(ValueError, match="shells need n >= 1"):
        square(4).shells(1, sublattice=1)


@pytest.mark.parametrize(
    ("lattice", "expected"),
    [
        (square(4, 6), True),
        (square(5, 6), False),
        (square(5, 6, periodic=[False, True]), True),
        (triangular(6), False),
        (honeycomb(3), True),
        (kagome(4), False),
        (lieb(3), True),
        (cubic(4), True),
        (chain(5), False),
        (chain(5, periodic=False), True),
    ],
)
def test_bipartite(lattice, expected):
    assert lattice.is_bipartite is expected
    if expected:
        bonds = lattice.bonds(lattice.neighbor_distance)
        signs = lattice.bipartite_signs
        assert (signs[bonds.source] == -signs[bonds.destination]).all()
        assert signs[0] == 1
    else:
        with pytest.raises(ValueError, match="must be bipartite"):
            _ = lattice.bipartite_signs


def test_signs_of_the_square_lattice_are_the_checkerboard():
    lattice = square(4, 6)
    assert (lattice.bipartite_signs == (-1) ** lattice.cells.sum(1)).all()
