import pickle

import numpy as np
import pytest

from lattgnn.lattice import honeycomb, kagome, lieb, space_group, square
from lattgnn.symmetry import PointGroup, site_point_group


def test_names(named_group):
    name, group = named_group
    assert group.name == name.removeprefix("line ")
    assert group.dim == {True: 1, False: 2 if name[0] in "CD" else 3}[name.startswith("line")]


def test_table_inverse_and_classes(group):
    everyone = np.arange(group.order)
    np.testing.assert_array_equal(group.rotations[0], np.eye(group.dim))
    products = group.rotations[:, None] @ group.rotations
    np.testing.assert_allclose(group.rotations[group.table], products, atol=1e-12)
    assert (np.sort(group.table, axis=1) == everyone).all()
    assert (group.table[everyone, group.inverse] == 0).all()
    assert sorted(g for c in group.classes for g in c) == everyone.tolist()
    for c in group.classes:
        images = {int(group.table[group.table[h, c[0]], group.inverse[h]]) for h in everyone}
        assert images == set(c)
    assert [group.index(r) for r in group.rotations] == everyone.tolist()


def test_common_entries_are_exact():
    lattice = honeycomb(4)
    entries = np.abs(site_point_group(lattice.cell).rotations)
    assert set(entries.flat) <= {0.0, 0.5, 3**0.5 / 2, 1.0}


@pytest.mark.parametrize(
    "lattice", [square(4), kagome(4), honeycomb(4), lieb(4)], ids=lambda x: x.name
)
def test_site_group_keeps_the_order_of_operations(lattice):
    for s in range(lattice.n_sublattices):
        members = space_group(lattice.cell).site_group(s)
        group = site_point_group(lattice.cell, s)
        np.testing.assert_allclose(group.rotations, [g.cartesian for g in members], atol=1e-12)
        assert site_point_group(lattice.with_extent(6).cell, s) is group


def test_equality_goes_by_value_and_order(crystal):
    group = crystal("D4")
    again = PointGroup.from_rotations(group.rotations + 1e-12)
    assert again == group and hash(again) == hash(group) and again is not group
    assert PointGroup.from_rotations(group.rotations[::-1]) != group
    assert crystal("D3") != crystal("32") and group != "D4"
    assert not group.rotations.flags.writeable
    copy = pickle.loads(pickle.dumps(group))
    assert copy == group and not copy.rotations.flags.writeable


def test_the_identity_comes_first_and_repeats_count_once(crystal):
    group = crystal("D4")
    again = PointGroup.from_rotations(np.concatenate([group.rotations[::-1], group.rotations]))
    np.testing.assert_array_equal(again.rotations[0], np.eye(2))
    np.testing.assert_array_equal(again.rotations[1:], group.rotations[:0:-1])


def test_what_is_no_group_is_refused(crystal):
    group = crystal("D4")
    with pytest.raises(ValueError, match="closed under multiplication, got 3"):
        PointGroup.from_rotations(group.rotations[:3])
    with pytest.raises(ValueError, match="closed under multiplication"):
        PointGroup.from_rotations(group.rotations[1:2])
    with pytest.raises(ValueError, match="orthogonal"):
        PointGroup.from_rotations([[[1.0, 0.5], [0.0, 1.0]]])
    with pytest.raises(ValueError, match="orthogonal"):
        PointGroup.from_rotations([[[np.nan]]])
    with pytest.raises(ValueError, match="shape"):
        PointGroup.from_rotations(np.eye(2))
    with pytest.raises(ValueError, match="element of D4"):
        group.index([[0.6, 0.8], [-0.8, 0.6]])
    with pytest.raises(ValueError, match="element of D4"):
        group.index([1.0])
    for wrong in ([0, 1], [], [0, 99]):
        with pytest.raises(ValueError, match="subgroup must be closed"):
            group.check_subgroup(wrong)
