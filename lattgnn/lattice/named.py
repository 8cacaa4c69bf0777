"""The named lattices, all with nearest neighbors at distance 1.

Every function takes the number of cells as `square(40)`, `square(40, 24)` or `square(extent=[40,
24])`, where one number holds for all axes. `periodic` is one bool for all axes or one per axis.

Examples:
    >>> square(40, 24).n_sites
    960
    >>> kagome(8, periodic=[True, False]).periodic
    (True, False)
"""

from collections.abc import Sequence

from lattgnn.errors import InputError
from lattgnn.lattice.geometry import Lattice

ROOT3 = 3**0.5
Extent = Sequence[int] | None
Periodic = bool | Sequence[bool]


def chain(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Chain: 2 neighbors, 2 operations."""
    return _lattice("chain", [[1.0]], [[0]], size, extent, periodic)


def square(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Square lattice: 4 neighbors, 8 operations, bipartite."""
    return _lattice("square", [[1.0, 0.0], [0.0, 1.0]], [[0, 0]], size, extent, periodic)


def triangular(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Triangular lattice: 6 neighbors, 12 operations."""
    return _lattice("triangular", [[1.0, 0.0], [0.5, ROOT3 / 2]], [[0, 0]], size, extent, periodic)


def honeycomb(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Honeycomb lattice: 2 sites per cell, 3 neighbors, bipartite."""
    vectors = [[1.5, ROOT3 / 2], [1.5, -ROOT3 / 2]]
    return _lattice("honeycomb", vectors, [[0, 0], ["1/3", "1/3"]], size, extent, periodic)


def kagome(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Kagome lattice: 3 sites per cell, 4 neighbors, corner-sharing triangles."""
    vectors = [[2.0, 0.0], [1.0, ROOT3]]
    return _lattice("kagome", vectors, [[0, 0], ["1/2", 0], [0, "1/2"]], size, extent, periodic)


def lieb(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Lieb lattice: corners and edge centers of a square lattice, 3 sites per cell, bipartite."""
    vectors = [[2.0, 0.0], [0.0, 2.0]]
    return _lattice("lieb", vectors, [[0, 0], ["1/2", 0], [0, "1/2"]], size, extent, periodic)


def cubic(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Simple cubic lattice: 6 neighbors, 48 operations, bipartite."""
    vectors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    return _lattice("cubic", vectors, [[0, 0, 0]], size, extent, periodic)


def _lattice(
    name: str,
    vectors: list[list[float]],
    basis: list[list],
    size: tuple[int, ...],
    extent: Extent,
    periodic: Periodic,
) -> Lattice:
    """The lattice of a name, from an extent given as positional numbers or as `extent`."""
    example = ", ".join("8" * len(vectors))
    if bool(size) == (extent is not None):
        raise InputError(
            f"the extent must be given exactly once, got {size!r} and extent={extent!r}."
            f" Use {name}({example})."
        )
    cells = size if extent is None else [extent] if isinstance(extent, int) else extent
    cells = tuple(cells) * len(vectors) if len(cells) == 1 else tuple(cells)
    return Lattice(vectors, basis, cells, periodic, name)
