"""The area of each site or cell in a picture of a lattice, as polygons at their true positions."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from scipy.spatial import Voronoi

from lattgnn.lattice import Lattice
from lattgnn.report.style import DIVERGING

Array = np.ndarray
Polygons = Float[Array, "n_polygons n_corners 2"]


def is_rectangular(lattice: Lattice) -> bool:
    """Whether the primitive vectors are orthogonal.

    Args:
        lattice: A lattice in two dimensions.
    """
    first, second = np.asarray(lattice.primitive_vectors, dtype=np.float64)
    return bool(abs(first @ second) < 1e-9 * np.linalg.norm(first) * np.linalg.norm(second))


def wigner_seitz_cells(lattice: Lattice) -> Polygons:
    """Corners of the Wigner–Seitz cell of each site, such as a hexagon on the triangular lattice.

    Args:
        lattice: A Bravais lattice in two dimensions.

    Returns:
        The corners, counterclockwise.
    """
    # In the reduced basis, all neighbors that bound the cell are among these.
    steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    points = lattice.cell.cartesian(steps @ lattice.cell.reduction)
    diagram = Voronoi(points)
    origin = int(np.flatnonzero((steps == 0).all(axis=1))[0])
    corners = diagram.vertices[diagram.regions[diagram.point_region[origin]]]
    around = np.argsort(np.arctan2(corners[:, 1], corners[:, 0]))
    return lattice.positions[:, None] + corners[around]


def draw_polygons(
    axes: Axes, polygons: Polygons, values: Float[Array, "n_polygons"], norm: Normalize
) -> PolyCollection:
    """Draw one scalar per polygon.

    Args:
        axes: Where to draw. Its limits are set to the polygons.
        polygons: The corners.
        values: The scalars.
        norm: The color scale.

    Returns:
        The drawn object, for a color bar.
    """
    # With antialiasing, the background would shine through between neighbors.
    drawn = PolyCollection(list(polygons), linewidths=0, antialiaseds=False, rasterized=True)
    drawn.set(array=values, norm=norm, cmap=DIVERGING)
    axes.add_collection(drawn)
    low, high = polygons.min(axis=(0, 1)), polygons.max(axis=(0, 1))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return drawn
