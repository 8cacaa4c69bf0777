import numpy as np
import pytest
import torch

from lattgnn.hamiltonians import DoubleExchange, Holstein, Peierls
from lattgnn.lattice import chain, cubic, honeycomb, kagome, square
from lattgnn.solvers.subsystems import blocks, chunks, cores, transposed

CUT = [  # model, core, buffer: several blocks each
    (Holstein(chain(30)), (7,), 3),
    (Holstein(square(12, 9, periodic=(False, True))), (4, 3), 2),
    (DoubleExchange(honeycomb(7)), (2, 2), 2),
    (Peierls(kagome(6, 4)), (2, 4), 1),
    (Holstein(cubic(5)), (2, 2, 2), 1),
]


def test_cores_are_as_equal_as_can_be_and_an_axis_that_is_nearly_reached_is_left_whole():
    assert cores(chain(12), (5,), 1).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert cores(chain(11), (5,), 1).tolist() == [0] * 4 + [1] * 4 + [2] * 3
    assert cores(chain(9), (5,), 2).tolist() == [0] * 9
    assert cores(chain(10), (5,), 2).tolist() == [0] * 5 + [1] * 5
    assert cores(honeycomb(4, 6), (9, 3), 1).tolist() == [0, 0, 0, 1, 1, 1] * 4


@pytest.mark.parametrize("periodic", [True, False])
def test_a_block_is_the_core_and_what_hops_reach(periodic):
    lattice = square(12, periodic=periodic)
    found = list(blocks(Holstein(lattice), (4, 4), 3))
    assert len(found) == 9 and all(block.n_core == 16 for block in found)
    sizes = sorted({block.n_states for block in found})
    # the core, its sides of 4 × 3 cells, its corners of 1 + 2 cells: four of each where there is no boundary
    assert sizes == ([16 + 48 + 12] if periodic else [16 + 24 + 3, 16 + 36 + 6, 16 + 48 + 12])
    # second neighbours hop across corners, which then belong to the block
    assert {block.n_states for block in blocks(Peierls(square(12)), (4, 4), 3)} == {100}


@pytest.mark.parametrize(("model", "core", "buffer"), CUT)
def test_matrices_are_those_of_h_and_each_element_has_one_owner(model, core, buffer):
    found = list(blocks(model, core, buffer))
    assert len(found) > 1 and sum(block.n_core for block in found) == model.n_states
    pattern = torch.zeros(model.n_states, model.n_states, dtype=torch.bool)
    pattern[model.rows, model.cols] = True
    owned = []
    for block in found:
        in_core = block.rows < block.n_core
        owned.append(block.elements[in_core])
        # states by their diagonal elements, which every model has
        diagonal = block.rows == block.cols
        states = model.rows[torch.from_numpy(block.elements[diagonal])]
        assert len(states) == block.n_states
        assert torch.equal(states[block.rows], model.rows[block.elements])
        assert torch.equal(states[block.cols], model.cols[block.elements])
        assert len(block.elements) == pattern[states][:, states].sum()
    assert np.array_equal(np.sort(np.concatenate(owned)), np.arange(len(model.rows)))


@pytest.mark.parametrize(("model", "core", "buffer"), CUT)
def test_chunks_hold_all_blocks_within_their_size(model, core, buffer):
    found = list(blocks(model, core, buffer))
    for size in (1, 10_000, 2**40):
        together = list(chunks(found, size))
        assert sum(chunk.n_blocks for chunk in together) == len(found)
        assert all(
            chunk.n_blocks == 1 or chunk.n_blocks * chunk.n_states**2 <= size for chunk in together
        )
        owned = torch.cat([chunk.owned for chunk in together])
        assert torch.equal(owned.sort().values, torch.arange(len(model.rows)))
    assert len(together) == len({block.order for block in found})


@pytest.mark.parametrize(("model", "core", "buffer"), CUT)
def test_transposed(model, core, buffer):
    partner = transposed(model)
    assert torch.equal(model.rows[partner], model.cols) and torch.equal(
        model.cols[partner], model.rows
    )
