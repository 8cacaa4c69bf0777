import pytest

from lattgnn.lattice import (
    chain,
    cubic,
    honeycomb,
    kagome,
    lieb,
    space_group,
    square,
    triangular,
)
from lattgnn.symmetry import PointGroup, site_point_group, symmetry_table

SQUARE = """\
square: 8 periodic × 12 periodic cells of 1, 96 sites
primitive vectors (1, 0), (0, 1)
4 of 8 operations of the space group map this piece onto itself

Space group: 8 operations modulo translations, point group D4
  0    x, y
  1   y, -x
  2   -y, x
  3  -x, -y
  4   x, -y
  5    y, x
  6  -y, -x
  7   -x, y

Site groups
  sublattice      at  order  group  rotations of operations  equivalent to
           0  (0, 0)      8     D4                      all              0
  irreps of D4: A1 (1), A2 (1), B1 (1), B2 (1), E (2)

Orbits of directed bonds up to 2.3: 4 of 4 lengths
  orbit    length  from  to    cell  vector  arriving  stabilizer  reverse
      0  1.000000     0   0  (1, 0)  (1, 0)         4           2   itself
      1  1.414214     0   0  (1, 1)  (1, 1)         4           2   itself
      2  2.000000     0   0  (2, 0)  (2, 0)         4           2   itself
      3  2.236068     0   0  (2, 1)  (2, 1)         8           1   itself
"""


def test_table_of_the_square_lattice():
    assert symmetry_table(square(8, 12), 2.3) == SQUARE


def test_table_shows_bonds_that_distance_would_merge():
    table = symmetry_table(lieb(8), 2.0)
    assert "6 of 3 lengths" in table
    assert table.count(" 2.000000 ") == 3


def test_table_has_the_irreps_of_each_site_group_once():
    lines = [line for line in symmetry_table(lieb(8), 1.0).splitlines() if "irreps" in line]
    assert lines == [
        "  irreps of D4: A1 (1), A2 (1), B1 (1), B2 (1), E (2)",
        "  irreps of D2: A1 (1), A2 (1), B1 (1), B2 (1)",
    ]


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
