import numpy as np
import pytest
import torch

from lattgnn.hamiltonians import DoubleExchange, Holstein, Peierls
from lattgnn.lattice import chain, cubic, honeycomb, kagome, square
from lattgnn.solvers.subsystems import (
    batch_subsystems,
    core_numbers,
    cut_into_subsystems,
    transposed_elements,
)

CUT = [  # model, core, buffer: several subsystems each
    (Holstein(chain(30)), (7,), 3),
    (Holstein(square(12, 9, periodic=(False, True))), (4, 3), 2),
    (DoubleExchange(honeycomb(7)), (2, 2), 2),
    (Peierls(kagome(6, 4)), (2, 4), 1),
    (Holstein(cubic(5)), (2, 2, 2), 1),
]


def test_cores_are_as_equal_as_possible_and_an_axis_that_a_subsystem_spans_is_not_cut():
    assert core_numbers(chain(12), (5,), 1).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert core_numbers(chain(11), (5,), 1).tolist() == [0] * 4 + [1] * 4 + [2] * 3
    assert core_numbers(chain(9), (5,), 2).tolist() == [0] * 9
    assert core_numbers(chain(10), (5,), 2).tolist() == [0] * 5 + [1] * 5
    assert core_numbers(honeycomb(4, 6), (9, 3), 1).tolist() == [0, 0, 0, 1, 1, 1] * 4


@pytest.mark.parametrize("periodic", [True, False])
def test_a_subsystem_is_a_core_and_the_cells_within_some_hops(periodic):
    lattice = square(12, periodic=periodic)
    found = list(cut_into_subsystems(Holstein(lattice), (4, 4), 3))
    assert len(found) == 9 and all(subsystem.n_core == 16 for subsystem in found)
    sizes = sorted({subsystem.n_states for subsystem in found})
    # The core, its four sides of 4 × 3 cells and its four corners of 1 + 2 cells; fewer at a
    # boundary.
    assert sizes == ([16 + 48 + 12] if periodic else [16 + 24 + 3, 16 + 36 + 6, 16 + 48 + 12])
    # Hops to second neighbors cross the corners, which then belong to the subsystem.
    assert {
        subsystem.n_states for subsystem in cut_into_subsystems(Peierls(square(12)), (4, 4), 3)
    } == {100}


@pytest.mark.parametrize(("model", "core", "buffer"), CUT)
def test_matrices_are_those_of_h_and_each_element_has_one_owner(model, core, buffer):
    found = list(cut_into_subsystems(model, core, buffer))
    assert len(found) > 1 and sum(subsystem.n_core for subsystem in found) == model.n_states
    pattern = torch.zeros(model.n_states, model.n_states, dtype=torch.bool)
    pattern[model.rows, model.cols] = True
    owned = []
    for subsystem in found:
        in_core = subsystem.rows < subsystem.n_core
        owned.append(subsystem.elements[in_core])
        # Find the states from their diagonal elements, which every model has.
        diagonal = subsystem.rows == subsystem.cols
        states = model.rows[torch.from_numpy(subsystem.elements[diagonal])]
        assert len(states) == subsystem.n_states
        assert torch.equal(states[subsystem.rows], model.rows[subsystem.elements])
        assert torch.equal(states[subsystem.cols], model.cols[subsystem.elements])
        assert len(subsystem.elements) == pattern[states][:, states].sum()
    assert np.array_equal(np.sort(np.concatenate(owned)), np.arange(len(model.rows)))


@pytest.mark.parametrize(("model", "core", "buffer"), CUT)
def test_batches_hold_all_subsystems_and_keep_to_their_size(model, core, buffer):
    found = list(cut_into_subsystems(model, core, buffer))
    for size in (1, 10_000, 2**40):
        together = list(batch_subsystems(found, size))
        assert sum(batch.n_subsystems for batch in together) == len(found)
        assert all(
            batch.n_subsystems == 1 or batch.n_subsystems * batch.n_states**2 <= size
            for batch in together
        )
        owned = torch.cat([batch.owned for batch in together])
        assert torch.equal(owned.sort().values, torch.arange(len(model.rows)))
    assert len(together) == len({subsystem.size for subsystem in found})


@pytest.mark.parametrize(("model", "core", "buffer"), CUT)
def test_transposed(model, core, buffer):
    partner = transposed_elements(model)
    assert torch.equal(model.rows[partner], model.cols) and torch.equal(
        model.cols[partner], model.rows
    )
