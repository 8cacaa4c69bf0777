"""Patches lie where they say, have the bonds of the lattice, and meet all sites alike."""

import numpy as np
import pytest
import torch

from lattgnn.audit.patches import PatchShape
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import Lattice, chain, cubic, honeycomb, kagome, square, triangular
from lattgnn.solvers import ExactDiagonalization

LABELED = Lattice(
    [[2, 0], [0, 1]],
    [[0, 0], ["1/2", 0]],
    extent=(9, 12),
    site_labels=["A", "B"],
    bond_labels={"strong": [[0, 1, [0, 0]]], "weak": [[1, 0, [1, 0]]]},
)
LATTICES = [chain(20), square(10, 13), triangular(11), honeycomb(9), kagome(8), cubic(7), LABELED]
LATTICES += [
    Lattice([[1, 0], [0, 1]], [[0, 0]], (11, 12), periodic=(False, True), name="strip"),
    Lattice([[1, 0], [0, 1]], [[0, 0]], (13, 11), periodic=False, name="flake"),
]


def neighbors(lattice, sites):
    """The neighbors of each site, with the label of the bond and of the site."""
    bonds = lattice.bonds(1.0)
    labels = lattice.site_labels or ("",) * lattice.n_sublattices
    found = {site: set() for site in sites}
    for source, destination, label in zip(
        bonds.source, bonds.destination, bonds.label, strict=True
    ):
        if destination in found:
            kinds = labels[source % lattice.n_sublattices], labels[destination % len(labels)]
            found[destination].add((source, str(label), *kinds))
    return found


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_the_core_and_its_surroundings_have_the_bonds_of_the_lattice(lattice, generator):
    shape = PatchShape.of(lattice, 2, (2,) * lattice.dim)
    for _ in range(5):
        patch = shape.cut(shape.random_start(generator))
        here = neighbors(shape.patch_lattice, patch.core)
        there = neighbors(lattice, patch.core_sites)
        for inside, outside in zip(patch.core, patch.core_sites, strict=True):
            mapped = {(patch.sites[source], *rest) for source, *rest in here[inside]}
            assert mapped == there[outside]


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: lattice.name)
def test_each_site_is_in_the_core_of_the_same_number_of_patches(lattice):
    shape = PatchShape.of(lattice, 3, (1,) * lattice.dim)
    counts = np.zeros(lattice.n_sites, dtype=int)
    ranges = []
    for length, core, periodic in zip(lattice.extent, shape.core, lattice.periodic, strict=True):
        starts = range(length) if periodic and core < length else range(0, length, core)
        ranges.append(starts)
    for start in np.stack(np.meshgrid(*ranges), -1).reshape(-1, lattice.dim):
        patch = shape.cut(tuple(int(cell) for cell in start))
        counts[patch.core_sites] += 1
        assert len(np.unique(patch.sites)) == len(patch.sites)
    assert counts.min() == counts.max()


def test_a_wider_margin_keeps_the_core_also_where_it_takes_the_whole_axis(generator):
    lattice = square(12, 20)
    shape = PatchShape.of(lattice, 4, (2, 2))
    wide = shape.widened((5, 5))
    assert (shape.extent, wide.extent) == ((8, 8), (12, 14))
    for _ in range(10):
        start = shape.random_start(generator)
        assert np.array_equal(shape.cut(start).core_sites, wide.cut(start).core_sites)


def test_a_lattice_that_is_too_small_for_margins_is_its_own_patch():
    shape = PatchShape.of(square(8, 30), 4, (3, 3))
    assert (shape.core, shape.extent) == ((8, 4), (8, 10))
    whole = PatchShape.of(square(8), 4, (3, 3))
    assert whole.is_whole
    assert whole.cut((0, 0)).core.tolist() == list(range(64))


@pytest.mark.parametrize("periodic", [True, False])
def test_forces_on_the_core_approach_those_of_the_whole_lattice(periodic, rng, generator):
    lattice = Lattice([[1, 0], [0, 1]], [[0, 0]], (16, 16), periodic=periodic)
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    field = 2 * torch.randn(256, generator=rng, dtype=torch.float64)
    _, right = ExactForceField(Holstein(lattice), solver)(field)
    errors = []
    for halo in (1, 3, 5):
        shape = PatchShape.of(lattice, 4, (halo, halo))
        patch = shape.cut(shape.random_start(np.random.default_rng(3)))
        _, found = ExactForceField(Holstein(shape.patch_lattice), solver)(field[patch.sites])
        errors.append(float((found[patch.core] - right[patch.core_sites]).square().mean().sqrt()))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


@pytest.fixture
def generator():
    return np.random.default_rng(0)
