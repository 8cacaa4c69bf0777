"""Equivariant maps between representations: linear ones, and bilinear ones (Clebsch-Gordan)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lattgnn.symmetry.irreducible import invariant_tensors
from lattgnn.symmetry.representations import Representation, check_same_group

Subgroup = Sequence[int] | np.ndarray | None


def intertwiner_dim(a: Representation, b: Representation, subgroup: Subgroup = None) -> int:
    """Number of independent equivariant linear maps from a to b: ⟨χ_a, χ_b⟩ over the group.

    Args:
        a: Representation of the inputs of the maps.
        b: Representation of the outputs of the maps.
        subgroup: Elements that the maps must commute with; None stands for the whole group.

    Raises:
        InputError: If a and b belong to different groups, or the elements are not a subgroup.

    Examples:
        >>> from lattgnn.lattice import square
        >>> from lattgnn.symmetry import site_point_group, vector
        >>> group = site_point_group(square(8).cell)
        >>> v = vector(group)
        >>> intertwiner_dim(v, v), intertwiner_dim(v, v, subgroup=[0])
        (1, 4)
    """
    chosen = _elements(a, b, subgroup)
    return round(float((a.character[chosen] * b.character[chosen]).mean()))


def intertwiners(
    a: Representation, b: Representation, subgroup: Subgroup = None
) -> Float[np.ndarray, "n b_dim a_dim"]:
    """Orthonormal basis (Frobenius) of the linear maps K with ρ_b(g) K = K ρ_a(g).

    Matrices with a single non-zero entry are averaged over the group and orthonormalized in
    row-major order. Between permutation representations, all non-zero entries of one K are
    therefore equal, and no two K overlap.

    Args:
        a: Representation of the inputs of K.
        b: Representation of the outputs of K.
        subgroup: Elements that K must commute with; None stands for the whole group.

    Returns:
        The n = intertwiner_dim(a, b, subgroup) maps, float64 [n, b.dim, a.dim].

    Raises:
        InputError: If a and b belong to different groups, or the elements are not a subgroup.

    Examples:
        >>> from lattgnn.lattice import square
        >>> from lattgnn.symmetry import site_point_group, vector
        >>> group = site_point_group(square(8).cell)
        >>> v = vector(group)
        >>> intertwiners(v, v).shape
        (1, 2, 2)
    """
    chosen = _elements(a, b, subgroup)
    return invariant_tensors([b.matrices[chosen], a.matrices[chosen]])


def clebsch_gordan(
    a: Representation, b: Representation, c: Representation
) -> Float[np.ndarray, "n c_dim a_dim b_dim"]:
    """Orthonormal basis (Frobenius) of the equivariant bilinear maps from a and b to c.

    Σ_ij C[k, :, i, j] x_i y_j transforms as c if x transforms as a and y as b.

    Args:
        a: Representation of the first input.
        b: Representation of the second input.
        c: Representation of the output.

    Returns:
        The n maps C, float64 [n, c.dim, a.dim, b.dim].

    Raises:
        InputError: If the representations belong to different groups.

    Examples:
        >>> from lattgnn.lattice import square
        >>> from lattgnn.symmetry import site_point_group, vector
        >>> group = site_point_group(square(8).cell)
        >>> v = vector(group)
        >>> clebsch_gordan(v, v, v).shape
        (0, 2, 2, 2)
    """
    check_same_group(a, b)
    check_same_group(a, c)
    return invariant_tensors([c.matrices, a.matrices, b.matrices])


def _elements(a: Representation, b: Representation, subgroup: Subgroup) -> np.ndarray:
    """Indices of the elements of the subgroup, or of the whole group."""
    check_same_group(a, b)
    return np.arange(a.group.order) if subgroup is None else a.group.check_subgroup(subgroup)
