"""A lattice cut into overlapping blocks: which elements of H each block has, and where in its matrix."""

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
class Block:
    """A core with its buffer, and the elements of H between their states; the states of the core come first.

    Args:
        n_core: states of the core.
        n_states: states of core and buffer.
        elements: number of each element in the pattern of H, row by row.
        rows: its row in the block.
        cols: its column in the block.
    """

    n_core: int
    n_states: int
    elements: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]
    cols: Int[np.ndarray, " n"]

    @property
    def order(self) -> tuple[int, int]:
        """What blocks that are solved together have in common."""
        return self.n_core, self.n_states


@dataclass(frozen=True, eq=False)
class Chunk:
    """Blocks of the same order, solved together as matrices [n_blocks, n_states, n_states].

    Args:
        n_blocks: how many.
        n_core: states of a core.
        n_states: states of a block.
        elements: numbers of the elements of H that fill the matrices.
        positions: where they go in the flattened matrices.
        owned: numbers of the elements of H that have their row in a core.
        rows: their rows, counted through all matrices: block · n_states + row.
        cols: their columns, counted likewise.
    """

    n_blocks: int
    n_core: int
    n_states: int
    elements: Int[Tensor, " n_elements"]
    positions: Int[Tensor, " n_elements"]
    owned: Int[Tensor, " n_owned"]
    rows: Int[Tensor, " n_owned"]
    cols: Int[Tensor, " n_owned"]

    def to(self, device: torch.device) -> "Chunk":
        """The same on a device."""
        names = ("elements", "positions", "owned", "rows", "cols")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def cores(lattice: Lattice, core: tuple[int, ...], buffer: int) -> Int[np.ndarray, " n_cells"]:
    """Number of the core that each cell belongs to.

    An axis is cut into the fewest parts of at most `core` cells, as equal as can be; it is left whole where
    a part with its buffers would reach from end to end.
    """
    number = np.zeros(lattice.n_cells, dtype=np.int64)
    for axis, (length, most) in enumerate(zip(lattice.extent, core, strict=True)):
        parts = 1 if most + 2 * buffer >= length else -(-length // most)
        cell = lattice.cells[:: lattice.n_sublattices, axis]
        number = number * parts + cell * parts // length
    return number


def blocks(hamiltonian: TightBinding, core: tuple[int, ...], buffer: int) -> Iterator[Block]:
    """The block of each core: the core and all cells that `buffer` hops of H reach from it.

    A block's matrix is that of H between its states: boundaries of the lattice are as they are in H.
    """
    lattice = hamiltonian.lattice
    owner = cores(lattice, core, buffer)
    width = hamiltonian.n_states // lattice.n_cells
    rows, cols = hamiltonian.rows.cpu().numpy(), hamiltonian.cols.cpu().numpy()
    pattern = csr_array((np.arange(len(rows)), (rows, cols)), shape=(hamiltonian.n_states,) * 2)
    reached = _reached(owner, rows // width, cols // width, buffer)
    local = np.full(hamiltonian.n_states, -1)  # place of each state in the block at hand
    for number, (start, end) in enumerate(zip(reached.indptr, reached.indptr[1:], strict=False)):
        cells = np.sort(reached.indices[start:end])
        in_core = owner[cells] == number
        cells = np.concatenate([cells[in_core], cells[~in_core]])
        states = (width * cells[:, None] + np.arange(width)).ravel()
        local[states] = np.arange(len(states))
        part = pattern[states]
        row, col = np.repeat(np.arange(len(states)), np.diff(part.indptr)), local[part.indices]
        local[states] = -1
        inside = col >= 0
        yield Block(
            width * int(in_core.sum()), len(states), part.data[inside], row[inside], col[inside]
        )


def chunks(found: Iterable[Block], size: int) -> Iterator[Chunk]:
    """Blocks of equal order together, as many as have `size` matrix elements, at least one."""
    by_order = groupby(sorted(found, key=lambda block: block.order), lambda block: block.order)
    for (_, n_states), group in by_order:
        members, together = list(group), max(size // n_states**2, 1)
        for start in range(0, len(members), together):
            yield _chunk(members[start : start + together])


def transposed(hamiltonian: TightBinding) -> Int[Tensor, " nnz"]:
    """Number of the element [b, a] for each element [a, b] of the pattern."""
    rows, cols, n = hamiltonian.rows, hamiltonian.cols, hamiltonian.n_states
    keys, numbers = torch.sort(rows * n + cols)
    return numbers[torch.searchsorted(keys, cols * n + rows)]


def _reached(
    owner: Int[np.ndarray, " n_cells"],
    destination: Int[np.ndarray, " nnz"],
    source: Int[np.ndarray, " nnz"],
    n_hops: int,
) -> csr_array:
    """Cells within `n_hops` of each core: where the number of paths, [n_cores, n_cells], is not 0."""
    n_cells = len(owner)
    hops = csr_array((np.ones(len(source)), (source, destination)), shape=(n_cells, n_cells))
    hops = hops + eye_array(n_cells, format="csr")
    reached = csr_array((np.ones(n_cells), (owner, np.arange(n_cells))))
    for _ in range(n_hops):
        reached = reached @ hops
    return reached


def _chunk(members: list[Block]) -> Chunk:
    """Index tensors of blocks of one order."""
    (n_core, n_states), lengths = members[0].order, [len(block.rows) for block in members]
    names = ("elements", "rows", "cols")
    elements, row, col = (
        np.concatenate([getattr(block, name) for block in members]) for name in names
    )
    first, owned = np.repeat(n_states * np.arange(len(members)), lengths), row < n_core
    arrays = (
        elements,
        (first + row) * n_states + col,
        elements[owned],
        (first + row)[owned],
        (first + col)[owned],
    )
    tensors = (torch.from_numpy(array.astype(np.int64)) for array in arrays)
    return Chunk(len(members), n_core, n_states, *tensors)
