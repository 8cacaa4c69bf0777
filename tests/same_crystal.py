"""One crystal written in two ways: another cell, turned, mirrored, in another unit of length."""

from itertools import permutations
from typing import NamedTuple

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from lattgnn.lattice import Lattice, cubic, honeycomb, kagome, square, triangular

EXAMPLES = settings(deadline=None, max_examples=12, derandomize=True)
SCALES = [1.0, 3.905, np.pi, 2.8665e-10, 5.43e3, 1e-29, 1e30]
DIMENSIONS = {square: 2, triangular: 2, honeycomb: 2, kagome: 2, cubic: 3}


class Written(NamedTuple):
    """A lattice and the same lattice written in another way.

    Attributes:
        plain: The lattice with its usual cell.
        other: The other way to write it.
        site: Site of `plain` that each site of `other` is.
        turn: Orthogonal matrix of the rotation or mirror.
        scale: Ratio of the lattice constants.
    """

    plain: Lattice
    other: Lattice
    site: np.ndarray
    turn: np.ndarray
    scale: float


@st.composite
def ways_to_write(draw, named=tuple(DIMENSIONS)):
    """Draw the arguments of `rewrite`: a named lattice, an integer matrix, a turn and a scale."""
    function = draw(st.sampled_from(named))
    dim = DIMENSIONS[function]
    change = np.eye(dim, dtype=int)[list(draw(st.permutations(range(dim))))]
    shears = st.tuples(st.sampled_from(list(permutations(range(dim), 2))), st.integers(-6, 6))
    for (i, j), n in draw(st.lists(shears, max_size=4)):
        change[i] += n * change[j]
    turn = np.eye(dim)
    for i, j in [(0, 1), (1, 2), (0, 2)][: dim * (dim - 1) // 2]:
        angle = draw(st.sampled_from([0.0, 0.3, np.pi / 7, 2.5]))
        step = np.eye(dim)
        step[[i, i, j, j], [i, j, i, j]] = np.array([1, -1, 1, 1]) * [
            np.cos(angle),
            np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        ]
        turn = step @ turn
    turn[0] *= draw(st.sampled_from([1, -1]))
    return function, change, turn, draw(st.sampled_from(SCALES))


def rewrite(way, extent: int = 4) -> Written:
    """Write a lattice of L × L (× L) cells with the primitive vectors `change` × its own.

    The periods of both are L times all lattice vectors, so both are the same torus.
    """
    function, change, turn, scale = way
    plain = function(extent)
    back = np.rint(np.linalg.inv(change)).astype(int)
    vectors = scale * change @ np.array(plain.primitive_vectors) @ turn.T
    basis = np.array(plain.basis) @ back  # exact fractions, not moved into the cell
    other = Lattice(vectors, basis, plain.extent, plain.periodic, f"{plain.name} rewritten")
    cells = (other.cells @ change) % np.array(plain.extent)
    return Written(plain, other, plain.ravel(cells, other.sublattices), turn, scale)
