"""Real irreducible representations of point groups in a fixed, reproducible basis.

Characters follow from the algebra of conjugacy classes. Matrices follow from polynomials in the
coordinates. Homogeneous polynomials of degree 0, 1, 2, ... are searched for each irrep; at each
degree polynomials that transform as they are come first, and then those multiplied by det R. This
makes T1g of a cube the axial vector. The basis of an irrep is obtained by projecting the monomials
in lexicographic order (x², xy, xz, y², yz, z²) and orthonormalizing the results. E of a square is
(x, y), E2 of a hexagon is (x² − y², 2xy), T2g of a cube is (xy, xz, yz), and Eg of a cube is
(2x² − y² − z², √3 (y² − z²)).

The basis does not depend on the eigensolver of the linear-algebra library, which may return any
sign, order or mixture of degenerate vectors. Weights in checkpoints refer to this basis, so it must
never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import combinations, combinations_with_replacement

import numpy as np

from lattgnn.symmetry.mulliken import mulliken_names
from lattgnn.symmetry.point_group import PointGroup, snapped


@lru_cache(maxsize=64)
def irreducible_matrices(group: PointGroup) -> tuple[tuple[str, np.ndarray], ...]:
    """All real irreps of a group, one from each class of equivalent irreps.

    Args:
        group: Any finite point group.

    Returns:
        Pairs of a Mulliken name and orthogonal matrices, float64 [order, dim, dim]. The trivial
        irrep comes first.

    Reference:
        J.-P. Serre, Linear Representations of Finite Groups (Springer, 1977), sections 2.6, 6.3
        and 13.2.
    """
    missing = _central_idempotents(group)
    found = []
    for carrier in _carriers(group):
        # Σ_g ε_k(g) ρ(g) projects on the copies of irrep k among the polynomials of this degree.
        projectors = np.einsum("kg,gij->kij", missing, carrier)
        # The trace of a projector is a whole number: its rank.
        present = projectors.trace(axis1=1, axis2=2) > 0.5
        for idempotent, projector in zip(missing[present], projectors[present], strict=True):
            subspace = _irreducible_subspace(carrier, projector, _dimension(group, idempotent))
            basis = canonical_basis(
                subspace.diagonal(), lambda k, p=subspace: p[k], round(subspace.trace())
            )
            # The matrices must have the same bits on every machine.
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

    The unit vectors are projected and orthonormalized in order (Gram-Schmidt). A unit vector is
    skipped if its projection lies almost in the span of the vectors found before, so that rounding
    errors cannot decide whether it counts.

    Args:
        diagonal: Diagonal P_kk of the orthogonal projector, [n].
        column: Function that returns P e_k, [n], for the unit vector e_k.
        rank: Dimension of the range.

    Returns:
        One vector per row, float64 [rank, n]. Each vector has a positive component along the unit
        vector that it was made from.
    """
    basis, found = np.zeros((rank, len(diagonal))), 0
    # Smallest squared norm that counts as new. If all n unit vectors had less left, the trace of
    # what is missing would be below 1/4, whereas one missing dimension has trace 1. So the loop
    # always finds all vectors.
    enough = 0.25 / len(diagonal)
    for k in range(len(diagonal)):
        if found == rank:
            break
        if diagonal[k] - (basis[:found, k] ** 2).sum() < enough:
            continue
        vector = column(k)
        for _ in range(2):  # the second pass removes the rounding errors of the first
            vector = vector - (basis[:found] @ vector) @ basis[:found]
        vector = np.where(np.abs(vector) < 1e-13, 0.0, vector)
        basis[found] = vector / np.sqrt((vector**2).sum())
        found += 1
    assert found == rank
    return basis


def invariant_tensors(factors: Sequence[np.ndarray]) -> np.ndarray:
    """Orthonormal basis of the tensors that are invariant under a group acting on every index.

    Tensors with a single non-zero entry are averaged over the group and orthonormalized in
    row-major order.

    Args:
        factors: For each index k of the tensors the orthogonal matrices that act on it, [order,
            dim_k, dim_k]. All lists have the group elements in the same order.

    Returns:
        The n basis tensors, float64 [n, dim_1, dim_2, ...].
    """
    dims = [factor.shape[1] for factor in factors]
    diagonal = _average([factor.diagonal(axis1=1, axis2=2) for factor in factors])
    column = partial(_average_of_unit, factors)
    return canonical_basis(diagonal, column, round(float(diagonal.sum()))).reshape(-1, *dims)


def _average_of_unit(factors: Sequence[np.ndarray], unit: int) -> np.ndarray:
    """Group average of the tensor whose only non-zero entry has the flat index `unit`."""
    index = np.unravel_index(unit, [factor.shape[1] for factor in factors])
    return _average([factor[:, :, k] for factor, k in zip(factors, index, strict=True)])


def _average(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Group average of the tensor product of one vector per index, [order, dim_k], flattened."""
    order = len(vectors[0])
    product = np.ones((order, 1))
    for vector in vectors[:-1]:
        product = (product[:, :, None] * vector[:, None]).reshape(order, -1)
    # The product over the last index and the sum over the group are one matrix product.
    return (product.T @ vectors[-1]).ravel() / order


def _central_idempotents(group: PointGroup) -> np.ndarray:
    """Central idempotents ε_k(g) = (d/e) χ_k(g) / |G| of all real irreps k, [n_irreps, order].

    Here d is the dimension of the irrep and e the dimension of its endomorphism algebra (1 or 2).
    They are the common eigenvectors of convolution with all class functions. Real irreps need only
    class functions with f(g) = f(g⁻¹), so each class is joined with the class of its inverses.
    """
    real_classes = {tuple(sorted({*c, *group.inverse[list(c)].tolist()})) for c in group.classes}
    indicator = np.zeros((len(real_classes), group.order))
    for row, members in zip(indicator, sorted(real_classes), strict=True):
        row[list(members)] = len(members) ** -0.5
    # Convolution (f * h)(a) = Σ_b f(a b⁻¹) h(b) with a generic class function f, as a matrix
    # between class functions. Its eigenvalues differ for all irreps unless f is unlucky. The
    # coefficients of f are cosines and not random numbers, so that every run takes the same f.
    for trial in range(1, 100):
        weights = np.cos(trial * np.arange(1, len(indicator) + 1)) @ indicator
        convolution = indicator @ weights[group.table[:, group.inverse]] @ indicator.T
        values, vectors = np.linalg.eigh(convolution)
        if len(values) == 1 or np.diff(values).min() > 1e-3:
            break
    else:
        raise AssertionError("no class function tells the irreps apart")
    units = vectors.T @ indicator
    # A unit vector u along ε satisfies ε = u(1) u, whatever its sign: ε(1) = Σ_g ε(g)².
    idempotents = units[:, :1] * units
    # |G| ε(g) is a whole number unless the group has a five-fold axis or an axis of order
    # seven or higher. Whole numbers are made exact, to be the same on every machine.
    whole = (idempotents * group.order).round()
    exact = np.abs(idempotents * group.order - whole) < 1e-9
    return np.where(exact, whole / group.order, idempotents)


def _dimension(group: PointGroup, idempotent: np.ndarray) -> int:
    """Dimension d of the irrep that belongs to an idempotent, from its Frobenius-Schur indicator.

    Σ_g ε(g²) is d if the irrep is also irreducible over the complex numbers. If it is the sum of
    two complex conjugate irreps, the sum is 0, and d follows from |G| ε(1) = d²/2. No point group
    has a quaternionic irrep.
    """
    real = round(idempotent[group.table.diagonal()].sum())
    return real if real else round((2 * group.order * idempotent[0]) ** 0.5)


def _carriers(group: PointGroup) -> Iterator[np.ndarray]:
    """Orthogonal matrices [order, n, n] on the polynomials of degree 0, 1, 2, ...

    Each degree comes twice: as it is and multiplied by det R. The basis consists of the monomials
    in lexicographic order. They are orthonormal in the invariant (Bombieri) product when x^α is
    divided by its norm, which is √(α!) up to a common factor.
    """
    dim, signs = group.dim, group.determinants[:, None, None]
    powers: list[tuple[int, ...]] = [()]
    carrier = np.ones((group.order, 1, 1))
    for degree in range(1, group.order + 2):
        yield carrier
        yield signs * carrier
        higher = list(combinations_with_replacement(range(dim), degree))
        # Normalized monomials of degree l are x^α = Σ_i √(α_i / l) x^(α − e_i) ⊗ x_i. This embeds
        # them in the product of degree l − 1 and the vector, where the action is known.
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
    """Projector on one irreducible subspace within all copies of an irrep.

    It is the subspace where the images of the first monomial under the group are largest. Ties are
    broken by the next monomials, and then by sums of two monomials.

    Args:
        carrier: Matrices of the group on the polynomials, [order, n, n].
        projector: Projector on all copies of the irrep, [n, n].
        dim: Dimension of the irrep.
    """
    units = np.eye(len(projector))
    for seed in [*units, *(a + b for a, b in combinations(units, 2))]:
        if round(projector.trace()) == dim:
            return projector
        images = carrier @ (projector @ seed)
        # The mean of x xᵀ over the images x commutes with the group, so every eigenspace is
        # invariant. The one with the largest eigenvalue is kept. A seed orthogonal to the subspace
        # has no images and is skipped.
        values, vectors = np.linalg.eigh(images.T @ images / len(images))
        if values[-1] > 1e-6:
            top = vectors[:, values > (1 - 1e-6) * values[-1]]
            projector = top @ top.T
    assert round(projector.trace()) == dim
    return projector


def _is_irreducible(group: PointGroup, matrices: np.ndarray) -> bool:
    """Whether orthogonal matrices are a representation irreducible over the reals.

    The criterion is that the mean of χ(g)² + χ(g²) over the group is 2.
    """
    products = matrices[:, None] @ matrices
    character = matrices.trace(axis1=1, axis2=2)
    squares = character[group.table.diagonal()]
    return bool(
        np.abs(products - matrices[group.table]).max() < 1e-6
        and abs((character**2 + squares).mean() - 2) < 1e-6
    )
