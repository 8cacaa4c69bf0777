"""A lattice cut into overlapping subsystems, with the elements of H in each of them.

Every cell belongs to one core. A subsystem is a core together with its buffer, the cells within a
number of hops of it. Buffers overlap, cores do not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import csr_array, eye_array
from torch import Tensor

from lattgnn.lattice import Lattice
from lattgnn.solvers.solver import TightBinding


@dataclass(frozen=True, eq=False)
class Subsystem:
    """A core with its buffer, and the elements of H between their states.

    States of the core come first.

    Attributes:
        n_core: Number of states of the core.
        n_states: Number of states of core and buffer.
        elements: Position of each element in the pattern of H, row by row.
        rows: Its row in the matrix of the subsystem.
        cols: Its column in the matrix of the subsystem.
    """

    n_core: int
    n_states: int
    elements: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]
    cols: Int[np.ndarray, " n"]

    @property
    def size(self) -> tuple[int, int]:
        """States of the core and of the whole; only subsystems of equal size share a batch."""
        return self.n_core, self.n_states


@dataclass(frozen=True, eq=False)
class SubsystemBatch:
    """Subsystems of equal size, solved together as matrices [n_subsystems, n_states, n_states].

    Attributes:
        n_subsystems: Number of subsystems.
        n_core: Number of states of each core.
        n_states: Number of states of each subsystem.
        elements: Positions, in the pattern of H, of the elements that fill the matrices.
        positions: Where they go in the flattened matrices.
        owned: Positions, in the pattern of H, of the elements whose row lies in a core.
        states: States that appear in them as row or column, numbered through all matrices:
            subsystem · n_states + state.
        rows: Position of the row of each owned element in `states`.
        cols: Position of its column in `states`.
    """

    n_subsystems: int
    n_core: int
    n_states: int
    elements: Int[Tensor, " n_elements"]
    positions: Int[Tensor, " n_elements"]
    owned: Int[Tensor, " n_owned"]
    states: Int[Tensor, " n_touched"]
    rows: Int[Tensor, " n_owned"]
    cols: Int[Tensor, " n_owned"]

    def to(self, device: torch.device) -> "SubsystemBatch":
        """The same batch on a device."""
        names = ("elements", "positions", "owned", "states", "rows", "cols")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def core_numbers(
    lattice: Lattice, core: tuple[int, ...], buffer: int
) -> Int[np.ndarray, " n_cells"]:
    """Number of the core that each cell belongs to.

    Each axis is cut into the fewest parts of at most `core` cells, as equal as possible. An axis is
    not cut if a part with its two buffers would span it.

    Args:
        lattice: The lattice.
        core: Largest number of cells of a core along each axis.
        buffer: Number of hops around a core.

    Returns:
        Core numbers, the last axis fastest.
    """
    number = np.zeros(lattice.n_cells, dtype=np.int64)
    for axis, (length, most) in enumerate(zip(lattice.extent, core, strict=True)):
        n_parts = 1 if most + 2 * buffer >= length else -(-length // most)  # rounded up
        # `lattice.cells` has one row per site, and the sites of a cell are consecutive.
        cell = lattice.cells[:: lattice.n_sublattices, axis]
        # Cell c goes to part floor(c · n_parts / length), so that sizes differ by one at most.
        number = number * n_parts + cell * n_parts // length
    return number


def cut_into_subsystems(
    hamiltonian: TightBinding, core: tuple[int, ...], buffer: int
) -> Iterator[Subsystem]:
    """The subsystem of each core: the core and all cells within `buffer` hops of H.

    Its matrix is H restricted to its states, so bonds across its edge are cut, while the boundaries
    of the lattice are those of H.

    Args:
        hamiltonian: H, of which only the sparsity pattern is used.
        core: Largest number of cells of a core along each axis.
        buffer: Number of hops around a core.

    Yields:
        Subsystems in the order of their cores.
    """
    lattice = hamiltonian.lattice
    core_of_cell = core_numbers(lattice, core, buffer)
    states_per_cell = hamiltonian.n_states // lattice.n_cells
    rows, cols = hamiltonian.rows.cpu().numpy(), hamiltonian.cols.cpu().numpy()
    # A matrix whose values are the positions of the elements, so that slicing it slices the
    # pattern.
    pattern = csr_array((np.arange(len(rows)), (rows, cols)), shape=(hamiltonian.n_states,) * 2)
    reached = _cells_within_hops(
        core_of_cell, rows // states_per_cell, cols // states_per_cell, buffer
    )
    # Number of each state of the lattice in the current subsystem; -1 outside of it. Only the
    # entries of the subsystem are reset after use, so that the cost of all subsystems is linear in
    # their sizes.
    local = np.full(hamiltonian.n_states, -1)
    for number in range(len(reached.indptr) - 1):
        cells = np.sort(reached.indices[reached.indptr[number] : reached.indptr[number + 1]])
        in_core = core_of_cell[cells] == number
        cells = np.concatenate([cells[in_core], cells[~in_core]])
        states = (states_per_cell * cells[:, None] + np.arange(states_per_cell)).ravel()
        local[states] = np.arange(len(states))
        part = pattern[states]
        row = np.repeat(np.arange(len(states)), np.diff(part.indptr))
        col = local[part.indices]
        local[states] = -1
        inside = col >= 0
        n_core = states_per_cell * int(in_core.sum())
        yield Subsystem(n_core, len(states), part.data[inside], row[inside], col[inside])


def batch_subsystems(
    subsystems: Iterable[Subsystem], max_elements: int
) -> Iterator[SubsystemBatch]:
    """Collect subsystems of equal size in batches.

    Args:
        subsystems: The subsystems.
        max_elements: Largest number of matrix elements of a batch; a batch has at least one
            subsystem.

    Yields:
        The batches, by size.
    """
    by_size = sorted(subsystems, key=lambda subsystem: subsystem.size)
    for (_, n_states), group in groupby(by_size, lambda subsystem: subsystem.size):
        members = list(group)
        n_together = max(max_elements // n_states**2, 1)
        for start in range(0, len(members), n_together):
            yield _batch(members[start : start + n_together])


def transposed_elements(hamiltonian: TightBinding) -> Int[Tensor, " nnz"]:
    """Position of the element [b, a] for each element [a, b] of the pattern."""
    rows, cols, n = hamiltonian.rows, hamiltonian.cols, hamiltonian.n_states
    # An element is identified by row · n + column; look up the identifier with both exchanged.
    keys, positions = torch.sort(rows * n + cols)
    return positions[torch.searchsorted(keys, cols * n + rows)]


def _cells_within_hops(
    core_of_cell: Int[np.ndarray, " n_cells"],
    destination: Int[np.ndarray, " nnz"],
    source: Int[np.ndarray, " nnz"],
    n_hops: int,
) -> csr_array:
    """Cells within `n_hops` of each core: the pattern of the result, [n_cores, n_cells].

    Its values are numbers of paths. They are sums of positive numbers, so no entry cancels.
    """
    n_cells = len(core_of_cell)
    hops = csr_array((np.ones(len(source)), (source, destination)), shape=(n_cells, n_cells))
    hops = hops + eye_array(n_cells, format="csr")  # staying counts as a hop: within, not exactly
    reached = csr_array((np.ones(n_cells), (core_of_cell, np.arange(n_cells))))
    for _ in range(n_hops):
        reached = reached @ hops
    return reached


def _batch(members: list[Subsystem]) -> SubsystemBatch:
    """Index tensors of subsystems of equal size."""
    n_core, n_states = members[0].size
    elements = np.concatenate([member.elements for member in members])
    row = np.concatenate([member.rows for member in members])
    col = np.concatenate([member.cols for member in members])
    # Each subsystem has its states after those of the one before it.
    lengths = [len(member.rows) for member in members]
    first = np.repeat(n_states * np.arange(len(members)), lengths)
    owned = row < n_core
    # Products of all other rows of the eigenstates are never needed.
    ends = np.stack([(first + row)[owned], (first + col)[owned]])
    states, inverse = np.unique(ends, return_inverse=True)
    rows, cols = inverse.reshape(ends.shape)  # numpy 1 returns it flat
    arrays = (elements, (first + row) * n_states + col, elements[owned], states, rows, cols)
    tensors = [torch.from_numpy(array.astype(np.int64)) for array in arrays]
    return SubsystemBatch(len(members), n_core, n_states, *tensors)
