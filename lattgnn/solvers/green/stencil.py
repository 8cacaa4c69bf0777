"""A Hamiltonian as a stencil: the matrix elements of one unit cell and where they lie in a list."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from lattgnn.errors import InputError
from lattgnn.solvers.solver import TightBinding

Offset = tuple[int, ...]
Site = tuple[int, Offset]
"""Sublattice, and cell relative to that of the center."""
State = tuple[int, Offset]
"""State of the unit cell, and cell relative to that of the center."""
Key = tuple[int, int, Offset]
"""States of row and column in their unit cells, and cell of the column minus cell of the row."""

# On larger lattices the stencil is taken from a smaller one, because the list of all matrix
# elements takes seconds and much memory.
_LARGE = 2**16
_SMALL_EXTENT = 12


class Plane(NamedTuple):
    """A part of a matrix element that differs from cell to cell or depends on the field.

    Attributes:
        key: The element.
        part: 0 for the real part, 1 for the imaginary part.
    """

    key: Key
    part: int


@dataclass(frozen=True, eq=False)
class Stencil:
    """The matrix elements of a Hamiltonian that is periodic along all axes.

    H[(a, cell), (b, cell + offset)] for key (a, b, offset). Of an element and its Hermitian
    conjugate only one is kept in `constants` or `planes`, see `canonical`.

    Attributes:
        extent: Cells along each axis.
        n_sublattices: Sites per cell.
        n_orbitals: States per site.
        keys: All elements, both directions.
        constants: Real and imaginary part of the parts that are the same everywhere and do not
            depend on the field; None where the part is a plane.
        planes: All other parts.
        coupling: g if only the diagonal depends on the field, as constant − g φ, where there is one
            φ per site; otherwise None.
        offsets: These constants, by state.
        index: Position of each element in `elements`, by key, int64 [n_cells], ordered by the cell
            of the row. Empty for a stencil that was taken from a smaller lattice.
    """

    extent: tuple[int, ...]
    n_sublattices: int
    n_orbitals: int
    keys: tuple[Key, ...]
    constants: Mapping[Key, tuple[float | None, float | None]]
    planes: tuple[Plane, ...]
    coupling: float | None
    offsets: tuple[float, ...]
    index: Mapping[Key, np.ndarray]

    @property
    def n_cells(self) -> int:
        """Cells of the lattice."""
        return math.prod(self.extent)

    @property
    def n_states(self) -> int:
        """States per cell."""
        return self.n_sublattices * self.n_orbitals

    @cached_property
    def unit(self) -> float:
        """The size of the most common constant hopping; divided by it, most are ±1 in programs."""
        sizes = []
        for key in self.keys:
            off_site = any(key[2]) or key[0] // self.n_orbitals != key[1] // self.n_orbitals
            real = self.constants[canonical(key)][0]
            if off_site and real:
                sizes.append(abs(real))
        return max(sizes, key=lambda size: (sizes.count(size), size), default=1.0)

    @cached_property
    def diagonal(self) -> list[float]:
        """The constant diagonal elements; 0 where the diagonal differs from cell to cell."""
        zero = (0,) * len(self.extent)
        return [self.constants[s, s, zero][0] or 0.0 for s in range(self.n_states)]

    @cached_property
    def is_real(self) -> bool:
        """Whether all elements are real."""
        return all(value[1] == 0.0 for value in self.constants.values())

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """The most cells that an element spans along each axis."""
        offsets = [key[2] for key in self.keys]
        return tuple(max(abs(offset[k]) for offset in offsets) for k in range(len(self.extent)))

    def site(self, state: State) -> Site:
        """The site of a state."""
        return state[0] // self.n_orbitals, state[1]

    def states(self, site: Site) -> list[State]:
        """The states of a site."""
        first = site[0] * self.n_orbitals
        return [(first + k, site[1]) for k in range(self.n_orbitals)]

    @cached_property
    def bonds(self) -> list[list[Site]]:
        """For each sublattice the sites that H joins to its site in cell 0, sorted."""
        found: list[set[Site]] = [set() for _ in range(self.n_sublattices)]
        for row, col, offset in self.keys:
            site, other = row // self.n_orbitals, (col // self.n_orbitals, offset)
            if any(offset) or site != other[0]:
                found[site].add(other)
        return [sorted(bonds) for bonds in found]

    def neighbors(self, site: Site) -> list[Site]:
        """The sites that H joins to a site, in the order of `bonds`."""
        sublattice, cell = site
        return [(other, add(cell, offset)) for other, offset in self.bonds[sublattice]]


def add(a: Offset, b: Offset, sign: int = 1) -> Offset:
    """A + sign · b."""
    return tuple(x + sign * y for x, y in zip(a, b, strict=True))


def reversed_key(key: Key) -> Key:
    """The key of the Hermitian conjugate element."""
    return key[1], key[0], tuple(-n for n in key[2])


def on_diagonal(key: Key) -> bool:
    """Whether an element belongs to the diagonal of the matrix."""
    return key[0] == key[1] and not any(key[2])


def canonical(key: Key) -> Key:
    """The one of an element and its Hermitian conjugate that is kept."""
    return min(key, reversed_key(key))


def find_stencil(hamiltonian: TightBinding) -> Stencil | None:
    """The stencil of a Hamiltonian.

    Args:
        hamiltonian: The model on its lattice.

    Returns:
        The stencil; None if the lattice has an open boundary, the bonds are not the same in all
        cells, or an axis is too short to tell the direction of a bond.
    """
    if not all(hamiltonian.lattice.periodic):
        return None
    if hamiltonian.lattice.n_sites > _LARGE:
        small = _on_small_lattice(hamiltonian)
        found = None if small is None else _find(small)
        if found is not None and found.coupling is not None:
            return replace(found, extent=hamiltonian.lattice.extent, index={})
    return _find(hamiltonian)


def _on_small_lattice(hamiltonian: Any) -> Any | None:
    """The same model on a smaller lattice, None if there is none."""
    lattice = hamiltonian.lattice
    extent = [min(n, _SMALL_EXTENT) for n in lattice.extent]
    if not is_dataclass(hamiltonian) or isinstance(hamiltonian, type):
        return None
    try:
        return replace(hamiltonian, lattice=lattice.with_extent(*extent))
    except (InputError, TypeError):
        return None


def _find(hamiltonian: TightBinding) -> Stencil | None:
    lattice = hamiltonian.lattice
    n_states, rest = divmod(hamiltonian.n_states, lattice.n_cells)
    n_orbitals, rest_of_site = divmod(n_states, lattice.n_sublattices)
    index = None if rest or rest_of_site else _index(hamiltonian, n_states)
    if index is None or any(reversed_key(key) not in index for key in index):
        return None
    fields = _probe_fields(hamiltonian)
    elements = [hamiltonian.elements(field).numpy() for field in fields]
    constants, planes = {}, []
    for key in sorted(index):
        if canonical(key) != key:
            continue
        values = np.array([one[index[key]] for one in elements])
        parts = (np.real(values), np.imag(values))
        constants[key] = tuple(_uniform(part) for part in parts)
        planes += [Plane(key, k) for k in (0, 1) if constants[key][k] is None]
    coupling, offsets = _density_coupling(hamiltonian, planes, index, fields, elements)
    return Stencil(
        lattice.extent,
        lattice.n_sublattices,
        n_orbitals,
        tuple(sorted(index)),
        constants,
        tuple(planes),
        coupling,
        offsets,
        index,
    )


def _index(hamiltonian: TightBinding, n_states: int) -> dict[Key, np.ndarray] | None:
    """Position of each element in the list, by key and cell of the row."""
    extent, n_cells = hamiltonian.lattice.extent, hamiltonian.lattice.n_cells
    rows, cols = hamiltonian.rows.numpy(), hamiltonian.cols.numpy()
    row_cell = np.stack(np.unravel_index(rows // n_states, extent))
    col_cell = np.stack(np.unravel_index(cols // n_states, extent))
    size = np.array(extent)[:, None]
    # The shortest way around each axis. Half of an even extent has two directions.
    offset = (col_cell - row_cell + size // 2) % size - size // 2
    if np.any(2 * np.abs(offset) >= np.maximum(size, 2)):
        return None
    labels = np.stack([rows % n_states, cols % n_states, *offset])
    kinds, kind, counts = np.unique(labels, axis=1, return_inverse=True, return_counts=True)
    if np.any(counts != n_cells):
        return None
    order = np.lexsort((rows // n_states, kind.ravel())).reshape(-1, n_cells)
    # With n_cells elements of each kind, cells are all different unless an element is repeated.
    if np.any((rows // n_states)[order] != np.arange(n_cells)):
        return None
    found = {}
    for column, positions in zip(kinds.T.tolist(), order, strict=True):
        found[column[0], column[1], tuple(column[2:])] = positions
    return found


def _probe_fields(hamiltonian: TightBinding) -> list[torch.Tensor]:
    """Random fields: an element that is equal in all of them does not depend on the field."""
    generator = torch.Generator().manual_seed(1)
    shape = hamiltonian.field_shape
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]


def _uniform(values: np.ndarray) -> float | None:
    """The number that all values are, None if they differ."""
    first = values.flat[0]
    return float(first) if np.all(values == first) else None


def _density_coupling(
    hamiltonian: Any,
    planes: list[Plane],
    index: Mapping[Key, np.ndarray],
    fields: list[torch.Tensor],
    elements: list[np.ndarray],
) -> tuple[float | None, tuple[float, ...]]:
    """G and the constants c of a diagonal c − g φ, one constant per state; (None, ()) otherwise."""
    field_type = getattr(hamiltonian, "field_type", None)
    coupling = getattr(field_type, "density_coupling", None)
    n_sublattices = hamiltonian.lattice.n_sublattices
    diagonal = [(s, s, (0,) * hamiltonian.lattice.dim) for s in range(n_sublattices)]
    if coupling is None or hamiltonian.field_shape != (hamiltonian.lattice.n_sites,):
        return None, ()
    if [plane.key for plane in planes] != diagonal:
        return None, ()
    offsets = []
    for state, key in enumerate(diagonal):
        rest = [
            # The diagonal of a Hermitian matrix is real.
            np.real(one[index[key]]) + coupling * field.numpy()[state::n_sublattices]
            for one, field in zip(elements, fields, strict=True)
        ]
        if np.ptp(rest) > 1e-12 * (1 + np.max(np.abs(rest))):
            return None, ()
        offsets.append(float(np.round(np.mean(rest), 12)))
    return float(coupling), tuple(offsets)
