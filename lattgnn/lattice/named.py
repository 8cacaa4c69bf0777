"""The named lattices, all with nearest neighbors at distance 1.

Every function takes the number of cells as `square(40)`, `square(40, 24)` or `square(extent=[40,
24])`, where one number holds for all axes. `periodic` is one bool for all axes or one per axis.

Examples:
    >>> square(40, 24).n_sites
    960
    >>> kagome(8, periodic=[True, False]).periodic
    (True, False)
"""

import re
from collections.abc import Sequence
from typing import Any

from lattgnn.errors import InputError
from lattgnn.lattice.geometry import Lattice

ROOT3 = 3**0.5
CHECKERBOARD = [[1.0, 1.0], [1.0, -1.0]]  # the cell of two sites of a square lattice
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


def staggered_square(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Square lattice with the site labels "A" and "B" of a checkerboard: 2 sites per cell.

    The labels stand for two kinds of sites, such as those of a staggered potential.
    """
    basis = [[0, 0], ["1/2", "1/2"]]
    return _lattice(
        "staggered square", CHECKERBOARD, basis, size, extent, periodic, site_labels=["A", "B"]
    )


def brick_wall(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Brick wall: a square lattice with the bond label "brick" on 3 of 4 bonds, 2 sites per cell.

    Each site has a labeled bond to its left and to its right, and one up or down in turn: the
    bonds of a honeycomb lattice on the sites of a square lattice.
    """
    bricks = [[0, 1, [0, 0]], [0, 1, [-1, -1]], [0, 1, [0, -1]]]
    basis = [[0, 0], ["1/2", "1/2"]]
    return _lattice(
        "brick wall", CHECKERBOARD, basis, size, extent, periodic, bond_labels={"brick": bricks}
    )


def shastry_sutherland(*size: int, extent: Extent = None, periodic: Periodic = True) -> Lattice:
    """Shastry–Sutherland lattice: orthogonal dimers on a square lattice, 4 sites per cell.

    Nearest neighbors have the bond label "square". One diagonal of every second plaquette, along
    the two directions in turn, has the bond label "dimer".

    Reference:
        B. S. Shastry and B. Sutherland, Physica B+C 108, 1069 (1981).
    """
    basis = [[0, 0], ["1/2", 0], [0, "1/2"], ["1/2", "1/2"]]
    labels = {
        "dimer": [[0, 3, [0, 0]], [1, 2, [1, -1]]],
        "square": [
            *([0, 1, [0, 0]], [1, 0, [1, 0]], [2, 3, [0, 0]], [3, 2, [1, 0]]),  # along x
            *([0, 2, [0, 0]], [2, 0, [0, 1]], [1, 3, [0, 0]], [3, 1, [0, 1]]),  # along y
        ],
    }
    vectors = [[2.0, 0.0], [0.0, 2.0]]
    return _lattice(
        "shastry-sutherland", vectors, basis, size, extent, periodic, bond_labels=labels
    )


def _lattice(
    name: str,
    vectors: list[list[float]],
    basis: list[list],
    size: tuple[int, ...],
    extent: Extent,
    periodic: Periodic,
    **labels: Any,
) -> Lattice:
    """The lattice of a name, from an extent given as positional numbers or as `extent`."""
    example = f"{re.sub('[ -]', '_', name)}({', '.join('8' * len(vectors))})"
    if bool(size) == (extent is not None):
        raise InputError(
            f"the extent must be given exactly once, got {size!r} and extent={extent!r}."
            f" Use {example}."
        )
    if any(isinstance(number, Sequence) for number in size):
        raise InputError(
            f"the numbers of cells must be given one by one, got {size!r}. Use {example}, or "
            "extent=[...] for a list."
        )
    cells = size if extent is None else [extent] if isinstance(extent, int) else extent
    cells = tuple(cells) * len(vectors) if len(cells) == 1 else tuple(cells)
    return Lattice(vectors, basis, cells, periodic, name, **labels)
