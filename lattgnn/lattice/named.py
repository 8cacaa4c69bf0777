"""The named lattices; nearest neighbours are at distance 1 on each.

Every function takes the number of cells as `square(40)`, `square(40, 24)` or `square(extent=[40, 24])`, one
number standing for all axes, and `periodic` as one bool or one an axis.
"""

from collections.abc import Sequence

from lattgnn.errors import InputError
from lattgnn.lattice.geometry import Lattice

ROOT3 = 3**0.5
Extent = Sequence[int] | None
Periodic = bool | Sequence[bool]


def chain(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Sites in a row."""
    return _lattice("chain", [[1.0]], [[0]], size, extent, periodic)


def square(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Square lattice: 4 neighbours, 8 operations, bipartite."""
    return _lattice("square", [[1.0, 0.0], [0.0, 1.0]], [[0, 0]], size, extent, periodic)


def triangular(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Triangular lattice: 6 neighbours, 12 operations."""
    return _lattice("triangular", [[1.0, 0.0], [0.5, ROOT3 / 2]], [[0, 0]], size, extent, periodic)


def honeycomb(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Honeycomb lattice: 2 sites a cell, 3 neighbours, bipartite."""
    vectors = [[1.5, ROOT3 / 2], [1.5, -ROOT3 / 2]]
    return _lattice("honeycomb", vectors, [[0, 0], ["1/3", "1/3"]], size, extent, periodic)


def kagome(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Kagome lattice: 3 sites a cell, 4 neighbours, corner-sharing triangles."""
    vectors = [[2.0, 0.0], [1.0, ROOT3]]
    return _lattice("kagome", vectors, [[0, 0], ["1/2", 0], [0, "1/2"]], size, extent, periodic)


def lieb(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Lieb lattice: a square lattice with a site on each edge, 3 sites a cell, bipartite."""
    vectors = [[2.0, 0.0], [0.0, 2.0]]
    return _lattice("lieb", vectors, [[0, 0], ["1/2", 0], [0, "1/2"]], size, extent, periodic)


def cubic(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Simple cubic lattice: 6 neighbours, 48 operations, bipartite."""
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
    example = ", ".join("8" * len(vectors))
    if bool(size) == (extent is not None):
        raise InputError(
            f"the extent must be given, and once, got {size!r} and extent={extent!r}. Use {name}({example})."
        )
    cells = size if extent is None else [extent] if isinstance(extent, int) else extent
    cells = tuple(cells) * len(vectors) if len(cells) == 1 else tuple(cells)
    return Lattice(vectors, basis, cells, periodic, name)
