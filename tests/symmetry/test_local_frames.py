from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattgnn.lattice import Lattice, chain, cubic, honeycomb, kagome, lieb, space_group, square
from lattgnn.symmetry import local_element, site_classes, site_point_group, vector

# A wallpaper group with glides only, p2gg; its four sites are general positions at (x, y).
GLIDES = Lattice(
    [[1.0, 0.0], [0.0, 1.3]],
    [["1/10", "1/7"], ["9/10", "6/7"], ["3/5", "5/14"], ["2/5", "9/14"]],
    [4, 4],
    name="p2gg",
)
# Diamond: the two sites are related by operations with fractional translations.
DIAMOND = Lattice(
    [[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]],
    [[0, 0, 0], ["1/4", "1/4", "1/4"]],
    [4] * 3,
    name="diamond",
)
LATTICES = [chain(4), square(4), honeycomb(4), kagome(4), lieb(4), cubic(4), GLIDES, DIAMOND]
CLASSES = {
    "chain": [(0,)],
    "square": [(0,)],
    "honeycomb": [(0, 1)],
    "kagome": [(0, 1, 2)],
    "lieb": [(0,), (1, 2)],
    "cubic": [(0,)],
    "p2gg": [(0, 1, 2, 3)],
    "diamond": [(0, 1)],
}
GROUPS = {
    "chain": ["D1"],
    "square": ["D4"],
    "honeycomb": ["D3"],
    "kagome": ["D2"],
    "lieb": ["D4", "D2"],
    "cubic": ["m-3m"],
    "p2gg": ["C1"],
    "diamond": ["-43m"],
}
named = pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)


def multiply(group, first, second):
    """The operation of a space group that is first after second, up to lattice translations."""
    rotation = np.array(first.rotation) @ np.array(second.rotation)
    moved = tuple(first.sublattices[s] for s in second.sublattices)
    (found,) = [
        g
        for g in group.operations
        if (np.array(g.rotation) == rotation).all() and g.sublattices == moved
    ]
    return found


def class_of(lattice, sublattice):
    return next(c for c in site_classes(lattice.cell) if sublattice in c.sublattices)


@named
def test_classes(lattice):
    found = site_classes(lattice.cell)
    assert [c.sublattices for c in found] == CLASSES[lattice.name]
    assert [c.group.name for c in found] == GROUPS[lattice.name]
    assert site_classes(lattice.with_extent(*[5] * lattice.dim).cell) is found
    for c in found:
        assert c.group == site_point_group(lattice.cell, c.sublattices[0])


@named
def test_frames_take_the_representative_to_each_site(lattice):
    for c in site_classes(lattice.cell):
        assert c.frames[0].symbol == ", ".join("xyz"[: lattice.dim])
        origin = np.array(lattice.cell.basis[c.sublattices[0]])
        for s, frame in zip(c.sublattices, c.frames, strict=True):
            image = np.array(frame.rotation) @ origin + np.array(frame.translation)
            assert tuple(image) == lattice.cell.basis[s]
            assert frame.sublattices[c.sublattices[0]] == s


@named
def test_cocycle_of_all_pairs(lattice):
    group = space_group(lattice.cell)
    for first, second in product(group.operations, repeat=2):
        together = multiply(group, first, second)
        for s in range(lattice.n_sublattices):
            table = class_of(lattice, s).group.table
            after = local_element(lattice.cell, first, second.sublattices[s])
            before = local_element(lattice.cell, second, s)
            assert local_element(lattice.cell, together, s) == table[after, before]


@named
def test_local_elements_are_the_rotations_between_frames(lattice):
    for operation, s in product(space_group(lattice.cell).operations, range(lattice.n_sublattices)):
        c = class_of(lattice, s)
        frames = dict(zip(c.sublattices, c.frames, strict=True))
        local = c.group.rotations[local_element(lattice.cell, operation, s)]
        left = frames[operation.sublattices[s]].cartesian @ local
        np.testing.assert_allclose(left, operation.cartesian @ frames[s].cartesian, atol=1e-12)


@named
def test_site_operations_of_the_representative_are_themselves(lattice):
    for c in site_classes(lattice.cell):
        first = c.sublattices[0]
        members = space_group(lattice.cell).site_group(first)
        assert [local_element(lattice.cell, g, first) for g in members] == list(
            range(c.group.order)
        )


def test_a_vector_field_turns_as_it_does_in_the_laboratory():
    """Components in local frames, moved by local elements, are the moved vectors' components."""
    lattice = kagome(4)
    (c,) = site_classes(lattice.cell)
    rho = vector(c.group).matrices
    frames = np.stack([frame.cartesian for frame in c.frames])
    field = np.random.default_rng(0).normal(size=(3, 2))
    for operation in space_group(lattice.cell).operations:
        moved = np.empty_like(field)
        for s in range(3):
            moved[operation.sublattices[s]] = (
                rho[local_element(lattice.cell, operation, s)] @ field[s]
            )
        before = np.einsum("sij,sj->si", frames, field)
        after = np.einsum("sij,sj->si", frames, moved)
        np.testing.assert_allclose(
            after[list(operation.sublattices)], before @ operation.cartesian.T, atol=1e-12
        )


@given(st.lists(st.sampled_from([0, "1/2", "1/3", "1/4", "2/3", "3/4"]), min_size=6, max_size=6))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_cocycle_on_random_bases(numbers):
    basis = list(dict.fromkeys(zip(numbers[::2], numbers[1::2], strict=True)))
    lattice = Lattice([[1.0, 0.0], [0.0, 1.0]], basis, [2, 2])
    assert sorted(s for c in site_classes(lattice.cell) for s in c.sublattices) == list(
        range(len(basis))
    )
    group = space_group(lattice.cell)
    generator = np.random.default_rng(0)
    for first, second in generator.integers(group.order, size=(10, 2)):
        g, h = group.operations[first], group.operations[second]
        rotation = np.array(g.rotation) @ np.array(h.rotation)
        for s in range(lattice.n_sublattices):
            c = class_of(lattice, s)
            frames = dict(zip(c.sublattices, c.frames, strict=True))
            l1, l2 = (
                local_element(lattice.cell, g, h.sublattices[s]),
                local_element(lattice.cell, h, s),
            )
            end = np.array(frames[g.sublattices[h.sublattices[s]]].rotation)
            local = np.linalg.solve(end, rotation @ np.array(frames[s].rotation))
            members = space_group(lattice.cell).site_group(c.sublattices[0])
            assert (np.array(members[c.group.table[l1, l2]].rotation) == local.round()).all()
