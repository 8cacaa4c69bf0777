"""Oriented triangles that cover a lattice in two dimensions once: where chirality and charge live.

They are the Delaunay triangles of the sites: the elementary triangles of the triangular lattice,
the squares of the square lattice cut in two along parallel diagonals, the hexagons of the honeycomb
and kagome lattices cut in four. With periodic boundaries they form a closed surface with
`2 n_sublattices` triangles per cell, so a topological charge is an integer.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.spatial import Delaunay

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.lattice.reduction import LENGTH_TOLERANCE

Array = np.ndarray
# (sublattice, cell) of each corner of a triangle; the smallest coordinates of cells are 0.
Corners = tuple[tuple[int, tuple[int, int]], ...]
# A small linear map without any symmetry. Sites on one circle, such as the corners of a square, lie
# on an ellipse afterwards, so that there is exactly one Delaunay triangulation; being linear, the
# map keeps all cells alike.
TILT = np.eye(2) + 1e-4 * np.array([[1.0, 0.6180339887], [0.2360679775, -0.4142135624]])


@dataclass(frozen=True, eq=False)
class Triangles:
    """The triangles of a lattice, cell by cell.

    Attributes:
        lattice: The lattice.
        corners: Sites at the corners of each triangle, counterclockwise.
        cells: Index of the cell that each triangle belongs to.
        kinds: Which of the triangles of its cell each one is, from 0. Triangles of one kind are
            translations of each other.
        points: Positions of the corners, units a. Triangles across a periodic boundary are not torn
            apart: they stick out of the lattice.
        areas: Area of each triangle, units a².
        elementary: Whether all three sides are bonds of nearest neighbors.
    """

    lattice: Lattice
    corners: Int[Array, "n_triangles 3"]
    cells: Int[Array, "n_triangles"]
    kinds: Int[Array, "n_triangles"]
    points: Float[Array, "n_triangles 3 2"]
    areas: Float[Array, "n_triangles"]
    elementary: Bool[Array, "n_triangles"]

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def cell_lattice(self) -> Lattice:
        """The lattice of cells, with one site per cell, for averages over cells."""
        whole = self.lattice
        return Lattice(
            whole.primitive_vectors, [[0, 0]], whole.extent, whole.periodic, f"{whole.name} cells"
        )

    def cell_sums(
        self, values: Shaped[Array, "*batch n_triangles"]
    ) -> Float[Array, "*batch n_cells"]:
        """Sum over the triangles of each cell.

        Args:
            values: One number per triangle.

        Returns:
            The sums, one per site of `cell_lattice`.
        """
        rows = np.asarray(values, dtype=np.float64).reshape(-1, len(self))
        n = self.lattice.n_cells
        sums = [np.bincount(self.cells, weights=row, minlength=n) for row in rows]
        return np.reshape(sums, (*np.shape(values)[:-1], n))

    def cell_means(
        self, values: Shaped[Array, "*batch n_triangles"]
    ) -> Float[Array, "*batch n_cells"]:
        """Mean over the triangles of each cell; 0 for a cell without any, at an open boundary.

        Args:
            values: One number per triangle.

        Returns:
            The means, one per site of `cell_lattice`.
        """
        counts = np.bincount(self.cells, minlength=self.lattice.n_cells)
        return self.cell_sums(values) / np.maximum(counts, 1)


@lru_cache(maxsize=16)
def triangles(lattice: Lattice) -> Triangles:
    """List the triangles of a lattice in two dimensions, without those beyond an open boundary.

    Args:
        lattice: The lattice.

    Returns:
        The triangles, sorted by cell and kind.

    Raises:
        InputError: If the lattice is not two-dimensional.

    Example:
        >>> from lattgnn.lattice import kagome, square
        >>> print(triangles(square(4)).corners[:2])
        [[0 4 1]
         [1 4 5]]
        >>> found = triangles(kagome(4))
        >>> len(found) // 16, int(found.elementary.sum()) // 16
        (6, 2)
    """
    if lattice.dim != 2:
        raise InputError(
            f"lattice must have two dimensions for triangles, got {lattice.dim}. Use one of its "
            "planes."
        )
    found = _cell_triangles(lattice)
    sublattices = np.array([[s for s, _ in corners] for corners in found])
    offsets = np.array([[cell for _, cell in corners] for corners in found])
    basis = np.array(lattice.cell.basis, dtype=np.float64)
    points = lattice.cell.cartesian(offsets + basis[sublattices])
    sides = np.roll(points, -1, axis=1) - points
    longest = np.linalg.norm(sides, axis=-1).max(axis=1)
    areas = 0.5 * (sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])

    # [cell, kind, corner, axis]: the cell of each corner, wrapped around periodic axes.
    homes = lattice.cells[:: lattice.n_sublattices]
    corner_cells = homes[:, None, None] + offsets
    wrapped = corner_cells % lattice.extent
    inside = (wrapped == corner_cells) | np.array(lattice.periodic)
    exists = inside.all(axis=(2, 3)).ravel()
    corners = lattice.ravel(wrapped, sublattices).reshape(-1, 3)
    kinds = np.tile(np.arange(len(found)), lattice.n_cells)
    is_elementary = longest <= lattice.neighbor_distance * (1 + LENGTH_TOLERANCE)
    return Triangles(
        lattice,
        corners=corners[exists],
        cells=np.repeat(np.arange(lattice.n_cells), len(found))[exists],
        kinds=kinds[exists],
        points=(lattice.cell.cartesian(homes)[:, None, None] + points).reshape(-1, 3, 2)[exists],
        areas=areas[kinds][exists],
        elementary=is_elementary[kinds][exists],
    )


def _cell_triangles(lattice: Lattice) -> list[Corners]:
    """One triangle of each kind, counterclockwise."""
    # Cells around the origin in the reduced basis, where near sites lie in near cells.
    steps = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    cells = np.repeat(steps @ lattice.cell.reduction, lattice.n_sublattices, axis=0)
    sublattices = np.tile(np.arange(lattice.n_sublattices), len(steps))
    basis = np.array(lattice.cell.basis, dtype=np.float64)
    points = lattice.cell.cartesian(cells + basis[sublattices])
    found = set()
    for simplex in Delaunay(points @ TILT).simplices:
        if not (cells[simplex] == 0).all(axis=1).any():
            continue  # far from the origin, maybe at the hull
        first, second, third = points[simplex]
        turns_left = np.linalg.det(np.stack([second - first, third - first])) > 0
        corners = simplex if turns_left else simplex[::-1]
        found.add(_canonical(sublattices[corners], cells[corners]))
    # Euler's formula for a torus: as many triangles as there are sites, times two.
    assert len(found) == 2 * lattice.n_sublattices
    return sorted(found)


def _canonical(sublattices: Array, cells: Array) -> Corners:
    """The same corners for all translations of a triangle and for any choice of its first one."""
    offsets = cells - cells.min(axis=0)
    corners = [(int(s), (int(x), int(y))) for s, (x, y) in zip(sublattices, offsets, strict=True)]
    return min(
        (corners[0], corners[1], corners[2]),
        (corners[1], corners[2], corners[0]),
        (corners[2], corners[0], corners[1]),
    )
