"""`Lattice`: a finite piece of a crystal, with its boundary conditions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from operator import index
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lattgnn.errors import InputError
from lattgnn.lattice.finite_bonds import Bonds, list_bonds
from lattgnn.lattice.orbits import orbits_within
from lattgnn.lattice.unit_cell import UnitCell


@dataclass(frozen=True, init=False)
class Lattice:
    """Cells of a crystal along 1, 2 or 3 axes, each periodic or open.

    Sites are numbered cell by cell, cells row-major (axis 0 slowest) and the basis fastest. Equality and hash
    go by value, the name left out.

    Args:
        primitive_vectors: [dim, dim], one vector a row, cartesian.
        basis: [n_sublattices, dim], sites of a cell as fractions of the primitive vectors: 0.5 or "1/3".
        extent: Number of cells along each axis.
        periodic: Whether each axis closes on itself; one bool stands for all axes.
        name: What to call it in tables.

    Raises:
        ValueError: If shapes disagree, the vectors are dependent, two sites coincide or an extent is below 1.
    """

    primitive_vectors: tuple[tuple[float, ...], ...]
    basis: tuple[tuple[Fraction, ...], ...]
    extent: tuple[int, ...]
    periodic: tuple[bool, ...]
    name: str = field(compare=False)
    cell: UnitCell = field(init=False, repr=False, compare=False)

    # Fields are normal forms; what a user or a YAML file may write is wider, and jsonargparse reads it here.
    def __init__(
        self,
        primitive_vectors: Sequence | np.ndarray,
        basis: Sequence | np.ndarray,
        extent: int | Sequence | np.ndarray,
        periodic: bool | Sequence = True,
        name: str = "lattice",
    ) -> None:
        cell = UnitCell.create(primitive_vectors, basis)
        values = {
            "primitive_vectors": cell.primitive_vectors,
            "basis": cell.basis,
            "extent": _extent(extent, cell.dim),
            "periodic": _periodic(periodic, cell.dim),
            "name": name,
            "cell": cell,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def __reduce__(self) -> tuple:
        # Other processes get the recipe and not the cached arrays.
        return Lattice, (self.primitive_vectors, self.basis, self.extent, self.periodic, self.name)

    @property
    def dim(self) -> int:
        """Dimension of space."""
        return self.cell.dim

    @property
    def n_sublattices(self) -> int:
        """Sites in one cell."""
        return self.cell.n_sublattices

    @cached_property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(np.prod(self.extent))

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return self.n_cells * self.n_sublattices

    @cached_property
    def cells(self) -> np.ndarray:
        """Cell of each site, int64 [n_sites, dim]."""
        cells = np.stack(np.meshgrid(*map(np.arange, self.extent), indexing="ij"), -1).reshape(
            -1, self.dim
        )
        return _read_only(np.repeat(cells, self.n_sublattices, axis=0))

    @cached_property
    def sublattices(self) -> np.ndarray:
        """Sublattice of each site, int64 [n_sites]."""
        return _read_only(np.tile(np.arange(self.n_sublattices), self.n_cells))

    @cached_property
    def positions(self) -> np.ndarray:
        """Cartesian position of each site, float64 [n_sites, dim]."""
        basis = np.array(self.cell.basis, dtype=np.float64)
        return _read_only(self.cell.cartesian(self.cells + basis[self.sublattices]))

    def with_extent(self, *extent: int) -> "Lattice":
        """The same crystal and boundaries with another number of cells; one number holds for all axes."""
        return replace(self, extent=extent * self.dim if len(extent) == 1 else extent)

    def ravel(self, cells: np.ndarray, sublattices: np.ndarray) -> np.ndarray:
        """Numbers of the sites in `cells` [..., dim] within the extent, on `sublattices` [...]."""
        number = np.ravel_multi_index(np.moveaxis(cells, -1, 0), self.extent)  # type: ignore[arg-type]
        return number * self.n_sublattices + sublattices

    def site_index(self, cell: Sequence[int] | np.ndarray, sublattice: int = 0) -> int:
        """Number of a site; cells beyond a periodic boundary are brought back.

        Raises:
            ValueError: If the cell lies beyond an open boundary or there is no such sublattice.
        """
        wrapped = tuple(
            n % e if p else n for n, e, p in zip(cell, self.extent, self.periodic, strict=True)
        )
        inside = all(0 <= n < e for n, e in zip(wrapped, self.extent, strict=True))
        if not inside or not 0 <= sublattice < self.n_sublattices:
            raise InputError(
                f"a site must lie within extent {self.extent} and {self.n_sublattices} sublattices,"
                f" got cell {tuple(cell)} and sublattice {sublattice}. Use numbers from 0."
            )
        return int(self.ravel(np.array([wrapped]), np.array([sublattice]))[0])

    def bonds(self, cutoff: float) -> Bonds:
        """Directed bonds up to `cutoff`, each with its orbit; see `bond_orbits`."""
        return list_bonds(self.cell, self.extent, self.periodic, float(cutoff))

    def shells(self, n: int, sublattice: int = 0) -> list[tuple[float, int]]:
        """Distance and number of the sites in each of the `n` nearest shells of the infinite lattice.

        Args:
            n: How many shells.
            sublattice: Sublattice of the central site.
        """
        if n < 1 or not 0 <= sublattice < self.n_sublattices:
            raise InputError(
                f"shells need n >= 1 and a sublattice of 0..{self.n_sublattices - 1},"
                f" got {n!r} and {sublattice!r}. Use shells(3)."
            )
        cutoff = float(np.linalg.norm(np.array(self.primitive_vectors), axis=1).min())
        while True:
            counts: dict[Fraction, int] = {}
            for orbit in orbits_within(self.cell, cutoff):
                leaving = sum(bond[0] == sublattice for bond in orbit.bonds)
                if leaving:
                    counts[orbit.squared_distance] = counts.get(orbit.squared_distance, 0) + leaving
            if len(counts) >= n:
                return [(float(square) ** 0.5, count) for square, count in list(counts.items())[:n]]
            cutoff *= 1.5

    @cached_property
    def neighbor_distance(self) -> float:
        """Distance of nearest neighbours, over all sublattices."""
        return min(self.shells(1, s)[0][0] for s in range(self.n_sublattices))

    @cached_property
    def _parity_labels(self) -> np.ndarray:
        """Components of the double cover of the nearest-neighbour graph, [2, n_sites]."""
        bonds, n = self.bonds(self.neighbor_distance), self.n_sites
        ones = np.ones(len(bonds), dtype=np.int8)
        cover = coo_array((ones, (bonds.source, bonds.destination + n)), (2 * n, 2 * n))
        return connected_components(cover, directed=False)[1].reshape(2, n)

    @property
    def is_bipartite(self) -> bool:
        """Whether nearest neighbours always carry opposite signs for some choice of signs."""
        return bool((self._parity_labels[0] != self._parity_labels[1]).all())

    @cached_property
    def bipartite_signs(self) -> np.ndarray:
        """±1 for each site, int64 [n_sites], opposite on nearest neighbours: a generalised checkerboard.

        Raises:
            ValueError: If the lattice is not bipartite.
        """
        if not self.is_bipartite:
            raise InputError(
                f"the lattice must be bipartite to have two signs, got {self.name} of extent {self.extent},"
                f" periodic={self.periodic}. Use even extents on a lattice without odd loops."
            )
        return _read_only(np.where(self._parity_labels[0] < self._parity_labels[1], 1, -1))

    def to_dict(self) -> dict:
        """Plain JSON types; `from_dict` reverses it."""
        return {
            "name": self.name,
            "primitive_vectors": [list(row) for row in self.primitive_vectors],
            "basis": [[str(x) for x in row] for row in self.basis],
            "extent": list(self.extent),
            "periodic": list(self.periodic),
        }

    @classmethod
    def from_dict(cls, data: Mapping) -> "Lattice":
        """The lattice that `to_dict` described."""
        return cls(**data)


def _extent(extent: Any, dim: int) -> tuple[int, ...]:
    try:
        numbers = tuple(index(n) for n in (extent if np.iterable(extent) else [extent]))
    except TypeError:
        numbers = ()
    if len(numbers) != dim or any(n < 1 for n in numbers):
        raise InputError(
            f"extent must be {dim} positive integers, one for each axis, got {extent!r}. Use {(8,) * dim!r}."
        )
    return numbers


def _periodic(periodic: Any, dim: int) -> tuple[bool, ...]:
    flags = tuple(periodic) if np.iterable(periodic) else (periodic,)
    flags = flags * dim if len(flags) == 1 else flags
    if len(flags) != dim or not all(isinstance(p, bool | np.bool_) for p in flags):
        raise InputError(
            f"periodic must be a bool, or one for each of the {dim} axes, got {periodic!r}. Use True."
        )
    return tuple(bool(p) for p in flags)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
