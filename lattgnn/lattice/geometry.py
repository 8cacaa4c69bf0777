"""`Lattice`: a finite piece of a crystal, with its boundary conditions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from lattgnn.errors import InputError
from lattgnn.lattice.boundary import normal_extent, normal_periodic
from lattgnn.lattice.coloring import alternating_signs
from lattgnn.lattice.finite_bonds import Bonds, list_bonds
from lattgnn.lattice.labels import Bond, values_by_label
from lattgnn.lattice.orbits import neighbor_shells
from lattgnn.lattice.read_only import read_only
from lattgnn.lattice.unit_cell import UnitCell
from lattgnn.memory import require_memory
from lattgnn.serialize import describe


@dataclass(frozen=True, init=False)
class Lattice:
    """A finite piece of a crystal in 1, 2 or 3 dimensions, each axis periodic or open.

    Sites are numbered cell by cell: cells in row-major order (axis 0 slowest) and the basis
    fastest. Two lattices are equal if everything but their names is equal.

    Labels tell the symmetry what the positions do not show. A site label stands for a kind of site,
    such as an element or an on-site energy, and a bond label for a kind of bond, such as a hopping.
    The space group then holds only operations that map sites and bonds to those of the same label.

    Args:
        primitive_vectors: Cartesian rows [dim, dim], one vector per row, in any unit of length.
        basis: Sites of a cell [n_sublattices, dim] as fractions of the primitive vectors, such as
            0.5 or "1/3".
        extent: Number of cells along each axis.
        periodic: Whether each axis is periodic; one bool holds for all axes.
        name: Name for tables and plots.
        site_labels: One text or integer per site of the basis. None: all sites are of one kind.
        bond_labels: For each label the bonds of one cell, each as [source, destination, offset]:
            two sites of the basis, and the integers of the cell where the second one is. Bonds have
            no direction; listing one of the two is enough. Bonds that are not listed have no label.

    Raises:
        InputError: If shapes disagree, the vectors are linearly dependent, two sites coincide, an
            extent is below 1, or a label is wrong.

    Examples:
        A square lattice of 6 × 4 cells with a second site at the center of each cell:

        >>> centered = Lattice([[1, 0], [0, 1]], [[0, 0], ["1/2", "1/2"]], extent=[6, 4])
        >>> centered.n_sites
        48
        >>> for distance, count in centered.shells(2):
        ...     print(f"{distance:.4f} {count}")
        0.7071 4
        1.0000 4
        >>> print(centered.with_extent(2).bipartite_signs)
        [ 1 -1  1 -1  1 -1  1 -1]

        A chain with bonds that are strong and weak in turn:

        >>> dimers = {"strong": [[0, 1, [0]]], "weak": [[1, 0, [1]]]}
        >>> ssh = Lattice([[2]], [[0], ["1/2"]], extent=3, bond_labels=dimers)
        >>> print(ssh.bonds(1.0).label[:4])
        ['strong' 'weak' 'strong' 'weak']
    """

    primitive_vectors: tuple[tuple[float, ...], ...] = field(compare=False)
    basis: tuple[tuple[Fraction, ...], ...] = field(compare=False)
    extent: tuple[int, ...]
    periodic: tuple[bool, ...]
    name: str = field(compare=False)
    site_labels: tuple[str, ...] = field(compare=False)
    bond_labels: Mapping[str, tuple[Bond, ...]] = field(compare=False)
    cell: UnitCell = field(init=False)

    # The cell stands for all fields that describe the crystal when lattices are compared. The
    # fields hold normal forms. Users and YAML files may write more, and jsonargparse takes the
    # types of the arguments from this signature.
    def __init__(
        self,
        primitive_vectors: Sequence | np.ndarray,
        basis: Sequence | np.ndarray,
        extent: int | Sequence | np.ndarray,
        periodic: bool | Sequence = True,
        name: str = "lattice",
        *,
        site_labels: Sequence | None = None,
        bond_labels: Mapping | None = None,
    ) -> None:
        cell = UnitCell.create(
            primitive_vectors, basis, site_labels=site_labels, bond_labels=bond_labels
        )
        values = {
            "primitive_vectors": cell.primitive_vectors,
            "basis": cell.basis,
            "extent": normal_extent(extent, cell.dim),
            "periodic": normal_periodic(periodic, cell.dim),
            "name": name,
            "site_labels": cell.site_labels,
            "bond_labels": MappingProxyType(dict(cell.bond_labels)),
            "cell": cell,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def __reduce__(self) -> tuple:
        # Pickles hold the arguments and not the cached arrays.
        return Lattice.from_dict, (self.to_dict(),)

    def __repr__(self) -> str:
        return f"Lattice({', '.join(f'{k}={v!r}' for k, v in self.hyperparameters.items())})"

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The arguments that make an equal lattice; labels only where there are some.

        Descriptions of lattices without labels, and thereby the names of datasets, are those from
        before there were labels.
        """
        arguments = {
            "primitive_vectors": self.primitive_vectors,
            "basis": self.basis,
            "extent": self.extent,
            "periodic": self.periodic,
            "name": self.name,
        }
        if self.site_labels:
            arguments["site_labels"] = self.site_labels
        if self.bond_labels:
            arguments["bond_labels"] = dict(self.bond_labels)
        return arguments

    @property
    def dim(self) -> int:
        """Dimension of space."""
        return self.cell.dim

    @property
    def n_sublattices(self) -> int:
        """Number of sites per cell."""
        return self.cell.n_sublattices

    @cached_property
    def n_cells(self) -> int:
        """Number of cells."""
        return math.prod(self.extent)

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return self.n_cells * self.n_sublattices

    @cached_property
    def cells(self) -> np.ndarray:
        """Cell of each site, int64 [n_sites, dim]."""
        n_bytes = 2 * 8 * self.dim * self.n_sites
        require_memory(n_bytes, f"a lattice of {self.n_sites:,} sites", "Use a smaller extent.")
        axes = np.meshgrid(*map(np.arange, self.extent), indexing="ij")
        cells = np.stack(axes, -1).reshape(-1, self.dim)
        return read_only(np.repeat(cells, self.n_sublattices, axis=0))

    @cached_property
    def sublattices(self) -> np.ndarray:
        """Sublattice of each site, int64 [n_sites]."""
        return read_only(np.tile(np.arange(self.n_sublattices), self.n_cells))

    @cached_property
    def positions(self) -> np.ndarray:
        """Cartesian position of each site, float64 [n_sites, dim]."""
        basis = np.array(self.cell.basis, dtype=np.float64)
        return read_only(self.cell.cartesian(self.cells + basis[self.sublattices]))

    def with_extent(self, *extent: int) -> "Lattice":
        """The same crystal and boundaries with another number of cells.

        Args:
            *extent: Number of cells along each axis; one number holds for all axes.
        """
        return replace(self, extent=extent * self.dim if len(extent) == 1 else extent)

    def ravel(self, cells: np.ndarray, sublattices: np.ndarray) -> np.ndarray:
        """Indices of sites, [...].

        Args:
            cells: Cells of the sites, within the extent, [..., dim].
            sublattices: Sublattices of the sites, [...].
        """
        number = np.ravel_multi_index(np.moveaxis(cells, -1, 0), self.extent)  # type: ignore[arg-type]
        return number * self.n_sublattices + sublattices

    def site_index(self, cell: Sequence[int] | np.ndarray, sublattice: int = 0) -> int:
        """Index of a site.

        Args:
            cell: Cell of the site; cells beyond a periodic boundary are wrapped around.
            sublattice: Sublattice of the site.

        Raises:
            InputError: If the cell lies beyond an open boundary or there is no such sublattice.
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

    def bonds(self, cutoff: float | None = None, *, label: str | None = None) -> Bonds:
        """Directed bonds up to a cutoff, or of any length with a label; each with its orbit.

        Args:
            cutoff: Largest length of a bond, in the units of the primitive vectors.
            label: One of `bond_labels`. Give either this or the cutoff.

        Returns:
            The bonds, sorted by (destination, orbit, source); see `bond_orbits` for the orbits.

        Raises:
            InputError: If the cutoff is not positive, the extent is too small for it, or no bond
                has the label.

        Examples:
            >>> from lattgnn.lattice import chain
            >>> bonds = chain(4).bonds(cutoff=1.0)
            >>> print(bonds.source, bonds.destination)
            [1 3 0 2 1 3 0 2] [0 0 1 1 2 2 3 3]
        """
        if (cutoff is None) == (label is None):
            raise InputError(
                f"bonds need either a cutoff or a label, got {cutoff!r} and label={label!r}."
                " Use bonds(1.0) for nearest neighbors at distance 1."
            )
        if label is not None:
            cutoff = self.cell.label_length(label)
        assert cutoff is not None
        return list_bonds(self.cell, self.extent, self.periodic, float(cutoff), label)

    def site_values(self, values: Mapping[str, float]) -> np.ndarray:
        """One number per site, chosen by the label of the site.

        Args:
            values: A number for each of the `site_labels`.

        Returns:
            The numbers, float64 [n_sites].

        Raises:
            InputError: If a label has no number, or a number belongs to no label.

        Examples:
            >>> ionic = Lattice([[2]], [[0], ["1/2"]], extent=2, site_labels=["A", "B"])
            >>> print(ionic.site_values({"A": 0.5, "B": -0.5}))
            [ 0.5 -0.5  0.5 -0.5]
        """
        found = values_by_label("values", values, self.site_labels)
        cell_values = np.array([found[label] for label in self.site_labels], dtype=np.float64)
        return cell_values[self.sublattices]

    def shells(self, n: int, sublattice: int = 0) -> list[tuple[float, int]]:
        """The nearest shells of neighbors of a site, in the infinite crystal.

        Args:
            n: Number of shells.
            sublattice: Sublattice of the central site.

        Returns:
            Distance and number of sites of each shell, sorted by distance.

        Raises:
            InputError: If n is below 1 or there is no such sublattice.

        Examples:
            >>> from lattgnn.lattice import square
            >>> for distance, count in square(8).shells(3):
            ...     print(f"{distance:.4f} {count}")
            1.0000 4
            1.4142 4
            2.0000 4
        """
        return neighbor_shells(self.cell, n, sublattice)

    @cached_property
    def neighbor_distance(self) -> float:
        """Smallest distance between two sites."""
        return min(self.shells(1, s)[0][0] for s in range(self.n_sublattices))

    @cached_property
    def _alternating_signs(self) -> np.ndarray | None:
        return alternating_signs(self.cell, self.extent, self.periodic, self.neighbor_distance)

    @property
    def is_bipartite(self) -> bool:
        """Whether signs ±1 can be chosen so that nearest neighbors always have opposite signs."""
        return self._alternating_signs is not None

    @cached_property
    def bipartite_signs(self) -> np.ndarray:
        """Signs ±1, opposite on nearest neighbors: a generalized checkerboard; int64 [n_sites].

        Parts that nearest-neighbor bonds do not join, such as the chains of a rectangular lattice,
        alternate along the shortest bonds between them.

        Raises:
            InputError: If the lattice is not bipartite.
        """
        signs = self._alternating_signs
        if signs is None:
            raise InputError(
                "the lattice must be bipartite for signs that alternate, got"
                f" {self.name} of extent {self.extent}, periodic={self.periodic}."
                " Use even extents on a lattice without odd loops."
            )
        return read_only(signs)

    def to_dict(self) -> dict:
        """The lattice as plain JSON types, which `from_dict` reads."""
        return describe(self.hyperparameters)

    @classmethod
    def from_dict(cls, data: Mapping) -> "Lattice":
        """The lattice that `to_dict` wrote."""
        return cls(**data)
