from itertools import product

import numpy as np
import pytest

from lattgnn.lattice import (
    Lattice,
    chain,
    compatible_operations,
    cubic,
    honeycomb,
    kagome,
    lieb,
    site_permutations,
    space_group,
    square,
    translation_permutation,
    triangular,
)

# Order of the space group and orders of the site groups, known from the geometry of the lattices.
ORDERS = {
    chain: (2, [2]),
    square: (8, [8]),
    triangular: (12, [12]),
    honeycomb: (12, [6, 6]),
    kagome: (12, [4, 4, 4]),
    lieb: (8, [8, 4, 4]),
    cubic: (48, [48]),
}


def brute_force_order(lattice):
    """Number of operations, from trying all images of the primitive vectors and of one site.

    Only for reduced cells, where an automorphism has no entry beyond 2.
    """
    dim, cell = lattice.dim, lattice.cell
    gram = np.array(cell.gram)
    sites = [tuple(x % 1 for x in site) for site in cell.basis]
    count = 0
    short = [np.array(n) for n in product(range(-2, 3), repeat=dim)]
    images = [[n for n in short if n @ gram @ n == gram[k, k]] for k in range(dim)]
    for columns in product(*images):
        r = np.stack(columns, axis=1)
        if (r.T @ gram @ r != gram).any():
            continue
        moved = [r @ np.array(site) for site in cell.basis]
        for target in sites:
            shift = np.array(target) - moved[0]
            count += {tuple(x % 1 for x in m + shift) for m in moved} == set(sites)
    return count


@pytest.mark.parametrize("named", ORDERS)
def test_orders_of_the_named_lattices(named):
    lattice = named(4)
    group = space_group(lattice.cell)
    assert group.order == ORDERS[named][0]
    assert [len(group.site_group(s)) for s in range(lattice.n_sublattices)] == ORDERS[named][1]
    assert group.operations[0].symbol == ", ".join("xyz"[: lattice.dim])


@pytest.mark.parametrize("named", ORDERS)
def test_spglib_agrees_with_brute_force(named):
    assert space_group(named(4).cell).order == brute_force_order(named(4))


@pytest.mark.parametrize(
    ("vectors", "basis", "order"),
    [
        ([[1.0, 0.0], [0.0, 1.5]], [[0, 0]], 4),  # rectangular
        ([[1.0, 0.0], [0.3, 1.5]], [[0, 0]], 2),  # oblique
        ([[1.0, 0.0], [5.0, 1.0]], [[0, 0]], 8),  # square in a skew cell
        (
            [[1.2345678, 0.0], [0.6172839, 1.2345678 * 3**0.5 / 2]],
            [[0, 0]],
            12,
        ),  # irrational length
        ([[1.0, 0.0], [0.0, 2**0.5]], [[0, 0], [0.3, 0.5]], 4),
        (
            [[1.0, 0.0], [0.0, 1.0]],
            [[0, 0], [0.1, 0.2]],
            2,
        ),  # only the inversion between the two sites
        ([[1.0, 0.0], [0.0, 1.0]], [[0, 0], [0.1, 0.2], [0.4, 0.3]], 1),
        (
            [[2.0, 0.0], [0.0, 1.0]],
            [[0, 0], ["1/2", 0]],
            8,
        ),  # two cells of a square lattice: the cell counts
        ([[2.0, 0.0], [0.0, 2.0]], [[0, 0], ["1/2", 0], [0, "1/2"], ["1/2", "1/2"]], 32),
        ([[1.0]], [[0], [0.3]], 2),  # dimers: one mirror
        ([[1.0]], [[0], [0.1], [0.3]], 1),
        ([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]], [[0, 0, 0]], 48),  # fcc
        (
            [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]],
            [[0, 0, 0], [0.25, 0.25, 0.25]],
            48,
        ),  # diamond
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.3]], [[0, 0, 0]], 16),
    ],
)
def test_orders_of_other_lattices(vectors, basis, order):
    assert space_group(Lattice(vectors, basis, [1] * len(vectors)).cell).order == order


def test_a_distortion_of_a_billionth_is_no_symmetry():
    assert space_group(Lattice([[1.0, 0.0], [0.0, 1.0 + 1e-7]], [[0, 0]], [1, 1]).cell).order == 4


def test_operations_read_as_in_the_international_tables():
    symbols = {g.symbol for g in space_group(square(4).cell).operations}
    assert symbols == {"x, y", "-x, -y", "-y, x", "y, -x", "x, -y", "-x, y", "y, x", "-y, -x"}
    assert "-x+1/3, -y+1/3" in {g.symbol for g in space_group(honeycomb(4).cell).operations}


def test_site_group_of_no_sublattice_is_refused():
    with pytest.raises(ValueError, match="sublattice must be one of 0..0"):
        space_group(square(4).cell).site_group(1)


@pytest.mark.parametrize(
    ("lattice", "n"),
    [
        (square(8), 8),
        (square(8, 12), 4),
        (square(8, 16), 4),
        (triangular(6), 12),
        (triangular(6, 4), 2),
        (kagome(4), 12),
        (honeycomb(4, 5), 2),
        (lieb(4), 8),
        (cubic(4, 4, 6), 16),
        (cubic(2, 4, 6), 8),
        (chain(7), 2),
        (chain(7, periodic=False), 2),
        (square(8, periodic=False), 8),
        (square(8, 5, periodic=False), 4),
        (square(8, periodic=[True, False]), 4),
        (triangular(6, periodic=False), 4),  # a rhombus
        (honeycomb(4, periodic=False), 4),
        (kagome(4, periodic=False), 2),
        (lieb(4, periodic=False), 2),
        (cubic(3, periodic=False), 48),
        (cubic(3, 3, 3, periodic=[True, True, False]), 16),
    ],
)
def test_finite_lattices_keep_the_operations_that_fit(lattice, n):
    operations = compatible_operations(lattice)
    permutations = site_permutations(lattice)
    assert len(operations) == len(permutations) == n
    assert (permutations[0] == np.arange(lattice.n_sites)).all()
    assert (np.sort(permutations, axis=1) == np.arange(lattice.n_sites)).all()
    box = np.array(lattice.extent)[:, None] * np.array(lattice.primitive_vectors)
    for g, perm in zip(operations, permutations, strict=True):
        moved = lattice.positions @ g.cartesian.T + lattice.cell.cartesian(
            [float(t) for t in g.translation]
        )
        wrap = (moved - lattice.positions[perm]) @ np.linalg.inv(box)  # by whole periods only
        wrap[:, np.array(lattice.periodic)] -= wrap[:, np.array(lattice.periodic)].round()
        np.testing.assert_allclose(wrap, 0, atol=1e-9)


def test_no_operation_of_a_finite_piece_is_missed():
    """Every isometry that maps the positions of an open piece onto themselves is found."""
    lattice = honeycomb(3, periodic=False)
    centered = lattice.positions - lattice.positions.mean(0)
    angles = np.arange(24) * np.pi / 12
    turns = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles]
    found = 0
    for turn in turns + [t @ np.diag([1, -1]) for t in turns]:
        distance = np.linalg.norm((centered @ turn.T)[:, None] - centered, axis=2)
        found += bool((distance.min(1) < 1e-9).all())
    assert len(site_permutations(lattice)) == found


@pytest.mark.parametrize("lattice", [square(4), kagome(3), square(4, 3, periodic=[True, False])])
def test_permutations_with_translations_are_a_group(lattice):
    rows = {tuple(p) for p in site_permutations(lattice, translations=True).tolist()}
    periods = np.prod([n for n, p in zip(lattice.extent, lattice.periodic, strict=True) if p])
    assert len(rows) == len(compatible_operations(lattice)) * periods
    table = np.array(sorted(rows))
    for p in table[:: max(1, len(table) // 7)]:
        assert {tuple(q) for q in p[table].tolist()} == rows


def test_row_order_with_translations():
    lattice = square(3, 4)
    points, all_rows = site_permutations(lattice), site_permutations(lattice, translations=True)
    shift = translation_permutation(lattice, (1, 2))
    assert (all_rows[2 * 12 + (1 * 4 + 2)] == shift[points[2]]).all()


def test_translation_moves_sites_and_respects_open_axes():
    lattice = kagome(4, 5)
    perm = translation_permutation(lattice, (1, -2))
    assert perm[lattice.site_index((0, 0), 2)] == lattice.site_index((1, 3), 2)
    open_axis = square(4, 5, periodic=[True, False])
    assert (translation_permutation(open_axis, (4, 0)) == np.arange(20)).all()
    with pytest.raises(ValueError, match="0 along open axes"):
        translation_permutation(open_axis, (1, 1))
    with pytest.raises(ValueError, match="2 integers"):
        translation_permutation(open_axis, (1,))
