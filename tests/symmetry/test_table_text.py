import pytest

from lattgnn.lattice import (
    Lattice,
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
from lattgnn.symmetry import PointGroup, site_point_group, symmetry_table

SQUARE = """\
square: 8 × 12 unit cells of 1 site, 96 sites, periodic boundaries
primitive vectors (1, 0), (0, 1)
4 of the 8 operations of the space group map this finite lattice onto itself

Space group: 8 operations up to lattice translations, point group D4
Image of the point (x, y) in units of the primitive vectors:
  0  x, y    1  y, -x   2  -y, x   3  -x, -y
  4  x, -y   5  y, x    6  -y, -x  7  -x, y

Site groups: the operations, up to lattice translations, that leave a site in place
  sublattice  position  group  order  operations  equivalent to
           0    (0, 0)     D4      8         all              0
  irreps of D4 (dimension): A1 (1), A2 (1), B1 (1), B2 (1), E (2)

Orbits of directed bonds up to length 2.3: 4 orbits, 4 distinct lengths
  orbit    length  from  to  offset  vector  per site  stabilizer  reverse
      0  1.000000     0   0  (1, 0)  (1, 0)         4           2   itself
      1  1.414214     0   0  (1, 1)  (1, 1)         4           2   itself
      2  2.000000     0   0  (2, 0)  (2, 0)         4           2   itself
      3  2.236068     0   0  (2, 1)  (2, 1)         8           1   itself
  from, to    sublattices of one bond of the orbit; offset is between their unit cells
  per site    number of bonds of the orbit that end at one site
  stabilizer  number of operations that leave the bond in place
  reverse     orbit of the bonds in the opposite direction
"""


def test_table_of_the_square_lattice():
    assert symmetry_table(square(8, 12), 2.3) == SQUARE


def test_table_shows_bonds_that_distance_would_merge():
    table = symmetry_table(lieb(8), 2.0)
    assert "6 orbits, 3 distinct lengths" in table
    assert table.count(" 2.000000 ") == 3


def test_table_has_the_irreps_of_each_site_group_once():
    lines = [line for line in symmetry_table(lieb(8), 1.0).splitlines() if "irreps" in line]
    assert lines == [
        "  irreps of D4 (dimension): A1 (1), A2 (1), B1 (1), B2 (1), E (2)",
        "  irreps of D2 (dimension): A1 (1), A2 (1), B1 (1), B2 (1)",
    ]


def test_site_groups_list_the_operations_that_fix_the_site():
    """In a cell that is not primitive, several operations have the same rotation."""
    doubled = Lattice([[2.0, 0.0], [0.0, 1.0]], [[0, 0], ["1/2", 0]], [4, 4])
    rows = [line for line in symmetry_table(doubled, 1.0).splitlines() if "  0 1" in line]
    assert len(rows) == 2
    for sublattice, row in enumerate(rows):
        operations = enumerate(space_group(doubled.cell).operations)
        fixing = [str(i) for i, g in operations if g.sublattices[sublattice] == sublattice]
        assert f"  {' '.join(fixing)}  " in row


def test_boundaries_are_named():
    assert "64 sites, open boundaries\n" in symmetry_table(square(8, periodic=False), 1.0)
    mixed = symmetry_table(square(8, periodic=[True, False]), 1.0)
    assert "64 sites, periodic along axis 0, open along axis 1\n" in mixed


def test_rounding_errors_are_not_printed():
    assert "e-1" not in symmetry_table(honeycomb(4), 2.0)


@pytest.mark.parametrize(
    ("named", "group", "site"),
    [
        (chain, "D1", "D1"),
        (triangular, "D6", "D6"),
        (honeycomb, "D6", "D3"),
        (kagome, "D6", "D2"),
        (cubic, "m-3m", "m-3m"),
    ],
)
def test_names_of_point_groups(named, group, site):
    found = space_group(named(4).cell)
    assert PointGroup.from_rotations([g.cartesian for g in found.operations]).name == group
    assert site_point_group(named(4).cell).name == site


def test_too_small_an_extent_is_refused():
    with pytest.raises(ValueError, match=r"Use \(5, 5\)"):
        symmetry_table(square(4), 2.3)


def test_labels_have_columns_of_their_own():
    text = symmetry_table(shastry_sutherland(4), 1.5)
    rows = [line.split() for line in text.splitlines()]
    start = next(n for n, row in enumerate(rows) if row[:1] == ["orbit"])
    assert rows[start][-1] == "label"
    labels = [row[-1] for row in rows[start + 1 : start + 6]]
    assert labels == ["square", "square", "dimer", "-", "-"]
    text = symmetry_table(staggered_square(4), 1.0)
    assert "sublattice  label    position" in text
    assert "label" not in symmetry_table(square(4), 1.0)
