"""Reduced bases of a lattice of translations, nearest images, and equality of lengths.

The same crystal may be written in many cells, some of them very skew. Whatever depends on distances
is computed in a reduced cell, so that the choice of the cell does not matter.
"""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np

LENGTH_TOLERANCE = 1e-9
"""Lengths that agree to this relative error count as equal, here and in all of `lattgnn`.

It is far above rounding errors and far below any difference of distances that matters in physics.
"""


def obtuse_superbase(vectors: np.ndarray) -> np.ndarray:
    """An obtuse superbase of a lattice: vectors with sum 0 and no positive scalar product.

    All but the last vector are a basis of short vectors. A basis that is obtuse already comes back
    unchanged.

    Args:
        vectors: Cartesian rows [k, dim] that span the lattice, 1 ≤ k ≤ 3.

    Returns:
        Integer rows [k + 1, k]: each vector of the superbase in terms of the given vectors.

    Reference:
        J. H. Conway and N. J. A. Sloane, Proc. R. Soc. Lond. A 436, 55 (1992), who prove that
        Selling's algorithm ends.

    Examples:
        >>> print(obtuse_superbase(np.array([[1.0, 0.0], [5.0, 1.0]])))
        [[ 1  0]
         [-5  1]
         [ 4 -1]]
    """
    short = _short_basis(vectors)
    superbase = np.vstack([short, -short.sum(0)])
    n_others = len(superbase) - 2
    while True:
        pair = _acute_pair(superbase @ vectors)
        if pair is None:
            return superbase
        # Selling's step: the sum of squared lengths becomes smaller, and the sum of the vectors
        # stays 0.
        first = superbase[pair[0]].copy()
        others = [n for n in range(len(superbase)) if n not in pair]
        superbase[pair[0]] = -first
        superbase[others] += 2 // n_others * first


def nearest_image(fractions: np.ndarray, periods: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The image nearest to the origin of each point, modulo a lattice of periods.

    Args:
        fractions: Points [..., dim], as fractions of `vectors`.
        periods: Integer rows [k, dim]: the periods, in terms of `vectors`; k may be 0.
        vectors: Cartesian rows [dim, dim].

    Returns:
        Fractions [..., dim] of the nearest image. Of several images at equal distance, one that is
        close to the given point in the reduced cell.

    Examples:
        On a ring of 8 sites, site 7 is a left neighbor of site 0.

        >>> print(nearest_image(np.array([[7.0]]), np.array([[8]]), np.array([[1.0]])))
        [[-1.]]
    """
    if not len(periods):
        return fractions
    superbase = obtuse_superbase(periods @ vectors) @ periods
    basis = superbase[:-1]
    # First into the parallelepiped of the reduced periods. Halves are rounded toward 0, whatever
    # their last digit, so that points on its surface stay where they are.
    along = fractions @ vectors @ np.linalg.pinv(basis @ vectors)
    nearest = fractions - np.round(along * (1 - LENGTH_TOLERANCE)) @ basis
    # A point is nearest to the origin if no Voronoi vector brings it closer. In at most three
    # dimensions these vectors are the sums of some, but not all, vectors of an obtuse superbase
    # (Conway and Sloane).
    choices = np.array(list(product((0, 1), repeat=len(superbase))))[1:-1]
    steps = choices @ superbase
    while True:
        points, squared, moved = nearest, _squared(nearest @ vectors), False
        for step in steps:
            image = points + step
            distance = _squared(image @ vectors)
            closer = distance < squared * (1 - LENGTH_TOLERANCE)
            if closer.any():
                moved = True
                nearest = np.where(closer[..., None], image, nearest)
                squared = np.where(closer, distance, squared)
        if not moved:
            return nearest


def shortest_vector(vectors: np.ndarray) -> float:
    """Length of the shortest vector, other than 0, of the lattice that rows [k, dim] span.

    Examples:
        >>> float(shortest_vector(np.array([[1.0, 0.0], [5.0, 1.0]])))
        1.0
    """
    superbase = obtuse_superbase(vectors) @ vectors
    choices = np.array(list(product((0, 1), repeat=len(superbase))))[1:-1]
    return float(np.sqrt(_squared(choices @ superbase).min()))


def equal_lengths(squared: np.ndarray) -> np.ndarray:
    """Where each group of equal lengths begins in a sorted array of squared lengths [n]."""
    gaps = np.diff(squared) > 2 * LENGTH_TOLERANCE * squared[1:]
    return np.flatnonzero(np.concatenate([[True], gaps])[: len(squared)])


def _short_basis(vectors: np.ndarray) -> np.ndarray:
    """Integer rows [k, k] of a basis in which no vector minus multiples of another is shorter.

    In two dimensions this is the algorithm of Lagrange and Gauss. It comes first because its
    number of steps grows only with the logarithm of the shear.
    """
    basis = np.eye(len(vectors), dtype=np.int64)
    changed = True
    while changed:
        changed = False
        for i, j in permutations(range(len(basis)), 2):
            long, short = basis[[i, j]] @ vectors
            multiple = int(np.round(long @ short / (short @ short)))
            shorter = long - multiple * short
            if shorter @ shorter < long @ long * (1 - LENGTH_TOLERANCE):
                basis[i] -= multiple * basis[j]
                changed = True
    return basis


def _acute_pair(superbase: np.ndarray) -> tuple[int, int] | None:
    """Two vectors with a positive scalar product, if there are any."""
    lengths = np.linalg.norm(superbase, axis=1)
    for i, j in combinations(range(len(superbase)), 2):
        if superbase[i] @ superbase[j] > LENGTH_TOLERANCE * lengths[i] * lengths[j]:
            return i, j
    return None


def _squared(vectors: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...i->...", vectors, vectors)
