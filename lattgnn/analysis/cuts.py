"""Cuts of S(q) along straight lines between high-symmetry points of the Brillouin zone.

The zone is the set of wavevectors that are closer to q = 0 than to any other reciprocal-lattice
vector, so it does not depend on the choice of the primitive vectors. It is that of the crystal
without labels: with a staggered potential the cell of the square lattice has two sites, but the cut
still goes through (π, π). On a finite lattice S(q) is defined on a grid of wavevectors only. A cut
takes the grid points nearest to the line, and averages over all lines that are equivalent by
symmetry.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.spatial import Voronoi

from lattgnn.lattice import Lattice, space_group
from lattgnn.lattice.reduction import obtuse_superbase

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class ZonePath:
    """A path through the Brillouin zone.

    Attributes:
        names: Names of its points, such as Γ, X, M, Γ. Of a zone without common names, F is the
            center of a face, E that of an edge, and C a corner.
        points: The points, units 1/a.
    """

    names: tuple[str, ...]
    points: Float[Array, "n_points dim"]


@dataclass(frozen=True, eq=False)
class Cut:
    """S(q) along a path.

    Attributes:
        path: The path.
        position: Distance along the path of each value, units 1/a.
        corners: Distance along the path of each point of the path.
        structure: S at each position [*batch, n], units of field².
    """

    path: ZonePath
    position: Float[Array, "n"]
    corners: Float[Array, "n_points"]
    structure: Float[Array, "*batch n"]


def zone_path(lattice: Lattice) -> ZonePath:
    """A path from Γ to the center of a face, through an edge to a corner of the zone, back to Γ.

    The face is the one nearest to Γ, then the nearest edge of it, then the nearest corner of that.

    Args:
        lattice: The lattice. Its zone is that of the positions of its sites, without labels.

    Returns:
        The path: Γ–X on the chain, Γ–X–M–Γ on the square, Γ–M–K–Γ on the triangular and
        Γ–X–M–R–Γ on the cubic lattice.

    Example:
        >>> from lattgnn.lattice import square
        >>> path = zone_path(square(4))
        >>> print(*path.names, np.abs(path.points / np.pi).round(3).tolist())
        Γ X M Γ [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    """
    dim, given = lattice.dim, _reciprocal_of_positions(lattice)
    reciprocal = obtuse_superbase(given)[:-1] @ given  # short vectors of the same lattice
    gamma = np.zeros(dim)
    if dim == 1:
        return ZonePath(("Γ", "X"), np.array([gamma, np.abs(reciprocal[0]) / 2]))
    faces = _faces(reciprocal)
    points = [gamma, *_descend(faces, dim), gamma]
    return ZonePath(("Γ", *_names(faces), "Γ"), np.array(points))


def structure_factor_cut(
    field: Shaped[Array, "*batch n_sites"], lattice: Lattice, path: ZonePath | None = None
) -> Cut:
    """S(q) along a path, averaged over the equivalent paths.

    Args:
        field: The classical field, one scalar per site.
        lattice: The lattice of the field.
        path: The path. Default: `zone_path`.

    Returns:
        The cut, with S as `structure_factor` defines it.

    Example:
        >>> from lattgnn.lattice import square
        >>> lattice = square(8)
        >>> cut = structure_factor_cut(lattice.bipartite_signs, lattice)
        >>> peak = cut.structure.argmax()
        >>> print(cut.structure[peak].round(3), np.isclose(cut.position[peak], cut.corners[2]))
        64.0 True
    """
    path = zone_path(lattice) if path is None else path
    lengths = np.linalg.norm(np.diff(path.points, axis=0), axis=1)
    corners = np.concatenate([[0.0], np.cumsum(lengths)])
    grid, positions = _grid_points(lattice, path, corners)
    values = _structure_at(np.asarray(field, dtype=np.float64), lattice, grid)
    # Equivalent wavevectors have the same position along the path up to rounding.
    bins = np.unique(np.round(positions / _scale(lattice), 6), return_inverse=True)[1]
    counts = np.bincount(bins)
    rows = values.reshape(-1, len(bins))
    mean = np.stack([np.bincount(bins, row) / counts for row in rows])
    position = np.bincount(bins, positions) / counts
    return Cut(path, position, corners, mean.reshape(*values.shape[:-1], len(counts)))


def _reciprocal(lattice: Lattice) -> Float[Array, "dim dim"]:
    return 2 * np.pi * np.linalg.inv(np.asarray(lattice.primitive_vectors, dtype=np.float64)).T


def _reciprocal_of_positions(lattice: Lattice) -> Float[Array, "dim dim"]:
    """Reciprocal vectors of all translations that take the sites, without labels, to sites."""
    cell, dim = replace(lattice.cell, site_labels=(), bond_labels=()), lattice.dim
    identity = tuple(tuple(int(i == j) for j in range(dim)) for i in range(dim))
    found = [g.translation for g in space_group(cell).operations if g.rotation == identity]
    # All in units of 1/scale of the primitive vectors, so that they are whole numbers.
    scale = math.lcm(*(t.denominator for translation in found for t in translation))
    rows = [[int(scale * t) for t in translation] for translation in found]
    basis = _integer_basis(np.array([*rows, *(scale * np.eye(dim, dtype=np.int64))]))
    return np.linalg.inv(basis / scale).T @ _reciprocal(lattice)


def _integer_basis(rows: Int[Array, "n dim"]) -> Int[Array, "dim dim"]:
    """A basis of all sums of whole-number vectors, by Euclid's algorithm in each column."""
    rows = rows.copy()
    for column in range(rows.shape[1]):
        while True:
            left = column + np.flatnonzero(rows[column:, column])
            pivot = left[np.abs(rows[left, column]).argmin()]
            rows[[column, pivot]] = rows[[pivot, column]]
            if len(left) == 1:
                break
            quotients = rows[column + 1 :, column] // rows[column, column]
            rows[column + 1 :] -= quotients[:, None] * rows[column]
    return rows[: rows.shape[1]]


def _scale(lattice: Lattice) -> float:
    """A wavenumber of the size of the zone, for tolerances."""
    return 2 * math.pi / lattice.neighbor_distance


def _faces(reciprocal: Float[Array, "dim dim"]) -> list[Float[Array, "n dim"]]:
    """Corners of each face of the zone, the cell around the origin of the reciprocal lattice."""
    dim = len(reciprocal)
    shifts = np.array(list(product((-2, -1, 0, 1, 2), repeat=dim)))
    cells = Voronoi(shifts @ reciprocal)
    origin = int(np.flatnonzero(~shifts.any(axis=1))[0])
    faces = []
    for pair, corners in zip(cells.ridge_points, cells.ridge_vertices, strict=True):
        if origin in pair and -1 not in corners:
            points = cells.vertices[corners]
            # Rounding makes faces of no size where more zones meet in a point than they need to.
            distinct = np.unique(np.round(points / np.abs(reciprocal).max(), 6), axis=0)
            if len(distinct) >= dim:
                faces.append(points)
    return faces


def _names(faces: list[Array]) -> tuple[str, ...]:
    """Common names of the points of `_descend`, of the zones that have some."""
    distances = [np.linalg.norm(_middle(face)) for face in faces]
    is_regular = max(distances) < min(distances) * (1 + 1e-6)
    if faces[0].shape[1] == 3:
        return ("X", "M", "R") if is_regular and len(faces) == 6 else ("F", "E", "C")
    if len(faces) == 4:  # the zone of a square or of a rectangular lattice
        return ("X", "M") if is_regular else ("X", "S")
    return ("M", "K") if is_regular else ("F", "C")


def _descend(faces: list[Array], dim: int) -> list[Float[Array, "dim"]]:
    """Nearest center of a face, of an edge of it in three dimensions, and nearest corner."""

    def nearest(points: list[Array]) -> Array:
        # Rounded, so that of equally near ones the same is taken on every machine.
        largest = max(np.abs(point).max() for point in points)
        return min(points, key=lambda q: tuple(np.round([q @ q / largest**2, *(-q / largest)], 6)))

    center = nearest([_middle(face) for face in faces])
    face = next(face for face in faces if np.allclose(_middle(face), center))
    if dim == 2:
        return [center, nearest(list(face))]
    edges = _edges(face)
    edge_center = nearest([edge.mean(axis=0) for edge in edges])
    edge = next(edge for edge in edges if np.allclose(edge.mean(axis=0), edge_center))
    return [center, edge_center, nearest(list(edge))]


def _middle(face: Array) -> Float[Array, "dim"]:
    """Foot of the face: half of the reciprocal vector that is perpendicular to it."""
    if face.shape[1] == 2:
        along = face[1] - face[0]
        return face[0] - along * (face[0] @ along) / (along @ along)
    normal = np.cross(face[1] - face[0], face[2] - face[0])
    return normal * (face[0] @ normal) / (normal @ normal)


def _edges(face: Array) -> list[Float[Array, "2 dim"]]:
    """Pairs of neighboring corners of a polygon whose corners are listed in order."""
    return [np.array(pair) for pair in pairwise([*face, face[0]])]


def _grid_points(
    lattice: Lattice, path: ZonePath, corners: Float[Array, "n_points"]
) -> tuple[Int[Array, "n dim"], Float[Array, "n"]]:
    """Wavevectors of the lattice nearest to the path and to its images by symmetry.

    Returns:
        Their integer coordinates on the grid, not reduced to one zone, and the position of each
        along the path.
    """
    vectors = np.asarray(lattice.primitive_vectors, dtype=np.float64)
    to_grid = np.asarray(lattice.extent)[:, None] * vectors / (2 * np.pi)
    rotations = [g.cartesian for g in space_group(lattice.cell).operations]
    rotations += [-g for g in rotations]  # S(−q) = S(q) for a real field
    found = set()
    for rotation, k in product(rotations, range(len(corners) - 1)):
        start, end = path.points[k : k + 2] @ rotation.T
        first, last = to_grid @ start, to_grid @ end
        n_steps = max(1, round(float(np.abs(last - first).max())))
        steps = first + np.linspace(0, 1, n_steps + 1)[:, None] * (last - first)
        nearest = np.round(steps + 1e-9)  # halves, as at a corner of an odd lattice, go up
        q = np.linalg.solve(to_grid, nearest.T).T
        length = corners[k + 1] - corners[k]
        along = np.clip((q - start) @ (end - start) / length**2, 0, 1)
        position = np.round((corners[k] + along * length) / _scale(lattice), 9)
        # The images of a symmetric path meet the same grid points again.
        found.update(map(tuple, np.column_stack([nearest, position]).tolist()))
    table = np.array(sorted(found))
    return table[:, :-1].astype(np.int64), table[:, -1] * _scale(lattice)


def _structure_at(
    field: Float[Array, "*batch n_sites"], lattice: Lattice, grid: Array
) -> Float[Array, "*batch n"]:
    """S at wavevectors with integer coordinates on the grid, in any zone."""
    axes = tuple(range(-lattice.dim - 1, -1))
    cells = field.reshape(*field.shape[:-1], *lattice.extent, lattice.n_sublattices)
    amplitude = np.fft.fftn(cells, axes=axes)
    amplitude = amplitude.reshape(*field.shape[:-1], -1, lattice.n_sublattices)
    index = np.ravel_multi_index(tuple(grid.T), lattice.extent, mode="wrap")
    # The sum over cells repeats from zone to zone, the phase of the position in the cell does not.
    q = (grid / np.asarray(lattice.extent)) @ _reciprocal(lattice)
    offsets = lattice.positions[: lattice.n_sublattices] - lattice.positions[0]
    phases = np.exp(-1j * (q @ offsets.T))
    return np.abs((amplitude[..., index, :] * phases).sum(axis=-1)) ** 2 / lattice.n_sites
