"""Blocks cover the lattice, and patches contain what the force on a block depends on."""

import numpy as np
import pytest
import torch

from lattgnn.dynamics import noise
from lattgnn.dynamics.domains import cut
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, chain, cubic, kagome, square


@pytest.mark.parametrize(
    ("lattice", "n", "cuts"),
    [
        (chain(20), 3, None),
        (square(extent=(12, 9)), 5, [5]),
        (square(extent=(12, 9)), 6, [2, 3]),
        (kagome(extent=(8, 6)), 4, [2, 2]),
        (cubic(extent=(6, 5, 4)), 2, [1, 2]),
    ],
)
def test_the_sites_of_all_blocks_are_those_of_the_lattice(lattice, n, cuts):
    whole = cut(lattice, n, (1,) * lattice.dim, cuts=cuts)
    found = []
    for rank in range(n):
        domain = whole.of(rank)
        sites = np.arange(lattice.n_sites)[None]
        assert [domain.site(k) for k in range(domain.n_sites)] == domain.part_of(sites)[0].tolist()
        patch = torch.from_numpy(domain.patch_sites())[None]
        block = domain.copy_block(patch, torch.empty(1, domain.n_sites, dtype=torch.int64))
        assert block[0].tolist() == domain.part_of(sites)[0].tolist()
        found += domain.part_of(sites)[0].tolist()
    assert sorted(found) == list(range(lattice.n_sites))


@pytest.mark.parametrize("components", [(), (3,)])
@pytest.mark.parametrize("cuts", [[4], [2, 2], [1, 4]])
def test_a_block_has_the_noise_of_its_sites(components, cuts):
    lattice = square(extent=(20, 37))
    whole = noise(5, 7, (2, lattice.n_sites, *components), first_replica=3)
    for rank in range(4):
        domain = cut(lattice, 4, (2, 2), cuts=cuts).of(rank)
        shape = (2, domain.n_sites, *components)
        found = noise(5, 7, shape, first_replica=3, first_site=domain.rows)
        assert found.numpy().tobytes() == domain.part_of(whole.numpy()).tobytes()


def test_an_open_end_has_no_halo():
    lattice = Lattice([[1, 0], [0, 1]], [[0, 0]], extent=[12, 12], periodic=[False, True])
    first, middle, last = (cut(lattice, 3, (2, 2), cuts=[3]).of(rank) for rank in range(3))
    halos = [(d.pieces[0].below, d.pieces[0].above) for d in (first, middle, last)]
    assert halos == [(0, 2), (2, 2), (2, 0)]
    assert first.patch.periodic == (False, True)
    assert first.pieces[1].below == first.pieces[1].above == 0


def test_the_mesh_has_the_smallest_patches():
    assert cut(square(64), 16, (4, 4)).mesh == (4, 4)
    assert cut(square(extent=(640, 16)), 4, (4, 4)).mesh == (4, 1)


def test_blocks_that_are_narrower_than_the_halo_are_refused():
    message = (
        "the lattice of 20 × 20 cells cannot be cut into 4 blocks that are at least as wide as the "
        "halo of 12 × 12 cells. Use fewer processes or a larger lattice."
    )
    with pytest.raises(InputError) as error:
        cut(square(20), 4, (12, 12))
    assert str(error.value) == message


def test_cuts_for_another_number_of_processes_are_refused():
    with pytest.raises(InputError, match=r"whose product is 4, got \[3, 2\]. Leave it out."):
        cut(square(60), 4, (2, 2), cuts=[3, 2])


def test_blocks_consist_of_whole_units():
    domain = cut(square(extent=(40, 40)), 3, (5, 5), unit=(4, 4), cuts=[3])
    starts = [domain.of(rank).pieces[0].start for rank in range(3)]
    assert starts == [0, 12, 24] and domain.halo[0] == 8
