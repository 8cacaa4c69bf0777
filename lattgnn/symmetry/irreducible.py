"""Real irreducible representations of point groups, in a basis that no linear-algebra library can change.

Characters come from the algebra of conjugacy classes. Matrices come from polynomials in the
coordinates: an irrep is looked for among homogeneous polynomials of degree 0, 1, 2, ..., at each
    degree first among plain ones and then among those times det R, so that T1g of a cube is the
    axial vector. Its basis is the monomials in lexicographic order (x², xy, xz, y², yz, z²),
    projected and
orthonormalized: E of a square is (x, y), E2 of a hexagon (x² − y², 2xy), T2g of a cube (xy, xz,
yz) and its Eg (2x² − y² − z², √3 (y² − z²)). Checkpoints depend on it: it must never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations, combinations_with_replacement

import numpy as np

from lattgnn.symmetry.mulliken import mulliken_names
from lattgnn.symmetry.point_group import PointGroup, snapped


@lru_cache(maxsize=64)
def irreducible_matrices(group: PointGroup) -> tuple[tuple[str, np.ndarray], ...]:
    """All real irreps of a group, one from each class of equivalent ones.

    Args:
        group: Any finite point group.

    Returns:
        Mulliken name and orthogonal matrices, float64 [order, dim, dim], of each, the trivial one
        first.

    Reference:
        J.-P. Serre, Linear Representations of Finite Groups (Springer, 1977), sections 2.6, 6.3
        and 13.2.
    """
    missing = _central_idempotents(group)
    found = []
    for carrier in _carriers(group):
        projectors = np.einsum("kg,gij->kij", missing, carrier)
        present = projectors.trace(axis1=1, axis2=2) > 0.5
        for idempotent, projector in zip(missing[present], projectors[present], strict=True):
            subspace = _irreducible_subspace(carrier, projector, _dimension(group, idempotent))
            basis = canonical_basis(
                subspace.diagonal(), lambda k, p=subspace: p[k], round(subspace.trace())
            )
            found.append(snapped(basis @ carrier @ basis.T, 1e-12))
        missing = missing[~present]
        if not len(missing):
            break
    for matrices in found:
        assert _is_irreducible(group, matrices)
    characters = np.array([m.trace(axis1=1, axis2=2) for m in found])
    return tuple((name, found[k]) for name, k in mulliken_names(group, characters))


def canonical_basis(
    diagonal: np.ndarray, column: Callable[[int], np.ndarray], rank: int
) -> np.ndarray:
    """Orthonormal basis of the range of a projector P that depends on P alone.

    Unit vectors, in order, are projected and orthonormalized (Gram-Schmidt). One is passed over if
    so little is new in it that rounding could decide.

    Args:
        diagonal: P_kk of the orthogonal projector, [n].
        column: P e_k for the unit vector of number k, [n].
        rank: Dimension of the range.

    Returns:
        float64 [rank, n], one vector per row; vector i has a positive entry where its unit vector
        is.
    """
    basis, found = np.zeros((rank, len(diagonal))), 0
    # If every unit vector had less than this left, the traces would add up to less than one
    # dimension.
    enough = 0.25 / len(diagonal)
    for k in range(len(diagonal)):
        if found == rank:
            break
        if diagonal[k] - (basis[:found, k] ** 2).sum() < enough:
            continue
        vector = column(k)
        for _ in range(2):  # the second pass removes the rounding of the first
            vector = vector - (basis[:found] @ vector) @ basis[:found]
        vector = np.where(np.abs(vector) < 1e-13, 0.0, vector)
        basis[found] = vector / np.sqrt((vector**2).sum())
        found += 1
    assert found == rank
    return basis


def invariant_tensors(factors: Sequence[np.ndarray]) -> np.ndarray:
    """Orthonormal basis of the tensors that matrices of a group, one on each index, leave alone.

    Tensors with a single entry are averaged over the group and orthonormalized in row-major order.

    Args:
        factors: Orthogonal matrices [order, dim_k, dim_k] for each index k, elements in one order.

    Returns:
        float64 [n, dim_1, dim_2, ...].
    """
    dims = [factor.shape[1] for factor in factors]
    order = len(factors[0])

    def outer(rows: list[np.ndarray]) -> np.ndarray:
        product = np.ones((order, 1))
        for row in rows:
            product = (product[:, :, None] * row[:, None]).reshape(order, -1)
        return product

    def average(unit: int) -> np.ndarray:
        columns = [f[:, :, k] for f, k in zip(factors, np.unravel_index(unit, dims), strict=True)]
        return (outer(columns[:-1]).T @ columns[-1]).ravel() / order

    diagonals = [factor.diagonal(axis1=1, axis2=2) for factor in factors]
    diagonal = (outer(diagonals[:-1]).T @ diagonals[-1]).ravel() / order
    return canonical_basis(diagonal, average, round(float(diagonal.sum()))).reshape(-1, *dims)


def _central_idempotents(group: PointGroup) -> np.ndarray:
    """ε_k(g) = (d/e) χ_k(g) / |G| of each real irrep k, [n_irreps, order]; e is its endomorphism dimension.

    They are the common eigenvectors of all sums over classes, a class joined with that of its
    inverses.
    """
    real_classes = {tuple(sorted({*c, *group.inverse[list(c)].tolist()})) for c in group.classes}
    indicator = np.zeros((len(real_classes), group.order))
    for row, members in zip(indicator, sorted(real_classes), strict=True):
        row[list(members)] = len(members) ** -0.5
    # (f * h)(a) = Σ_b f(a b⁻¹) h(b) for a generic class function f, restricted to class functions.
    for trial in range(1, 100):
        weights = np.cos(trial * np.arange(1, len(indicator) + 1)) @ indicator
        convolution = indicator @ weights[group.table[:, group.inverse]] @ indicator.T
        values, vectors = np.linalg.eigh(convolution)
        if len(values) == 1 or np.diff(values).min() > 1e-3:
            break
    else:
        raise AssertionError("no class function tells the irreps apart")
    units = vectors.T @ indicator
    idempotents = units[:, :1] * units
    # Σ of characters of finite order: whole numbers unless an axis is five-, seven- or more-fold.
    whole = (idempotents * group.order).round()
    exact = np.abs(idempotents * group.order - whole) < 1e-9
    return np.where(exact, whole / group.order, idempotents)


def _dimension(group: PointGroup, idempotent: np.ndarray) -> int:
    """Dimension of the irrep of an idempotent by its Frobenius-Schur indicator.

    Σ_g ε(g²) is d if the irrep stays irreducible in complex numbers; if it is a pair of complex
    conjugate ones, that sum is 0 and |G| ε(1) = d²/2. (No point group has a quaternionic irrep.)
    """
    real = round(idempotent[group.table.diagonal()].sum())
    return real if real else round((2 * group.order * idempotent[0]) ** 0.5)


def _carriers(group: PointGroup) -> Iterator[np.ndarray]:
    """Orthogonal matrices [order, n, n] on the polynomials of degree 0, 1, ..., without and with det R.

    The basis is the monomials in lexicographic order, orthonormal in the invariant (Bombieri)
    product: x^α is divided by its norm, √(α!) up to a common factor.
    """
    dim, signs = group.dim, group.determinants[:, None, None]
    powers: list[tuple[int, ...]] = [()]
    carrier = np.ones((group.order, 1, 1))
    for degree in range(1, group.order + 2):
        yield carrier
        yield signs * carrier
        higher = list(combinations_with_replacement(range(dim), degree))
        # x^α = Σ_i √(α_i / l) x^(α - e_i) ⊗ x_i as unit vectors.
        embedding = np.zeros((len(powers), dim, len(higher)))
        for column, monomial in enumerate(higher):
            for axis in set(monomial):
                rest = list(monomial)
                rest.remove(axis)
                share = (monomial.count(axis) / degree) ** 0.5
                embedding[powers.index(tuple(rest)), axis, column] = share
        left = np.einsum("pia,gpq->gqia", embedding, carrier)
        left = np.einsum("gqia,gij->gaqj", left, group.rotations)
        carrier = np.einsum("gaqj,qjb->gab", left, embedding)
        powers = higher


def _irreducible_subspace(carrier: np.ndarray, projector: np.ndarray, dim: int) -> np.ndarray:
    """Projector on one irreducible subspace of an isotypic one.

    It is where the images of the first monomial are largest; the next ones, and sums of two,
    decide ties.
    """
    units = np.eye(len(projector))
    for seed in [*units, *(a + b for a, b in combinations(units, 2))]:
        if round(projector.trace()) == dim:
            return projector
        images = carrier @ (projector @ seed)
        values, vectors = np.linalg.eigh(images.T @ images / len(images))
        if values[-1] > 1e-6:
            top = vectors[:, values > (1 - 1e-6) * values[-1]]
            projector = top @ top.T
    assert round(projector.trace()) == dim
    return projector


def _is_irreducible(group: PointGroup, matrices: np.ndarray) -> bool:
    """Whether orthogonal matrices are a real-irreducible representation: ⟨χ(g)² + χ(g²)⟩ = 2."""
    products = matrices[:, None] @ matrices
    character = matrices.trace(axis1=1, axis2=2)
    squares = character[group.table.diagonal()]
    return bool(
        np.abs(products - matrices[group.table]).max() < 1e-6
        and abs((character**2 + squares).mean() - 2) < 1e-6
    )
