"""Representations of point groups: how the components of a quantity mix under each operation.

Examples:
    >>> from lattgnn.lattice import square
    >>> from lattgnn.symmetry import clebsch_gordan, parse_representation, site_point_group, trivial
    >>> group = site_point_group(square(8).cell)
    >>> mixed = parse_representation("axial + vector", group)
    >>> [(irrep.name, count) for irrep, count in mixed.irreps()]
    [('A2', 1), ('E', 1)]
    >>> clebsch_gordan(mixed, mixed, trivial(group)).shape  # one invariant product for each irrep
    (2, 1, 3, 3)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import groupby

import numpy as np

from lattgnn.errors import InputError
from lattgnn.lattice.read_only import read_only
from lattgnn.symmetry.irreducible import invariant_tensors, irreducible_matrices
from lattgnn.symmetry.point_group import PointGroup


@dataclass(frozen=True, eq=False)
class Representation:
    """Real orthogonal matrices ρ(g), one for each element of a point group.

    `a + b` is a direct sum, `3 * a` is the direct sum of three copies, and `a * b` is the tensor
    product (last index fastest). Representations are equal if their groups and matrices are: the
    irrep E of a square equals the vector representation.

    Args:
        group: The point group.
        matrices: Matrices with ρ(g) ρ(h) = ρ(g h), [order, dim, dim].
        name: Text from which `parse_representation` makes this representation.
        summands: The summands if it is a direct sum.

    Raises:
        InputError: If the matrices are not an orthogonal representation of the group.
    """

    group: PointGroup
    matrices: np.ndarray = field(repr=False)
    name: str
    summands: tuple[Representation, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        shape = self.matrices.shape
        if len(shape) != 3 or shape[0] != self.group.order or shape[1] != shape[2] or not shape[1]:
            raise InputError(
                f"matrices must have the shape [{self.group.order}, dim, dim] for"
                f" {self.group.name}, got {shape}. Use one square matrix for each element."
            )
        # Test ρ(g) ρ(h) v = ρ(g h) v for one generic vector v. Products of all pairs of matrices
        # would cost another factor of the dimension. Orthogonality is ρ(g⁻¹) = ρ(g)ᵀ.
        images = self.matrices @ np.cos(np.arange(1, shape[1] + 1) ** 1.5)
        defect = np.abs(
            np.einsum("gij,hj->ghi", self.matrices, images) - images[self.group.table]
        ).max()
        defect = max(
            defect, np.abs(self.matrices - self.matrices[self.group.inverse].swapaxes(1, 2)).max()
        )
        if not defect <= 1e-6:
            raise InputError(
                f"matrices must be orthogonal and multiply as {self.group.name} does, got a"
                f" defect of {defect:.1e}. Use the order of the group's elements."
            )
        self.matrices.setflags(write=False)

    def __reduce__(self) -> tuple:
        # Pickles carry no cached properties.
        return Representation, (self.group, np.array(self.matrices), self.name, self.summands)

    @cached_property
    def _key(self) -> tuple:
        # + 0.0 turns -0.0 into 0.0, whose bytes differ.
        return self.group, self.dim, (self.matrices.round(9) + 0.0).tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Representation) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __add__(self, other: Representation) -> Representation:
        return direct_sum(self, other)

    def __rmul__(self, times: int) -> Representation:
        if not isinstance(times, int):
            return NotImplemented
        if times < 1:
            raise InputError(
                f"a multiplicity must be at least 1, got {times!r}. Use 2 * representation."
            )
        return direct_sum(*[self] * times)

    def __mul__(self, other: Representation) -> Representation:
        if not isinstance(other, Representation):
            return NotImplemented
        check_same_group(self, other)
        product = np.einsum("gij,gkl->gikjl", self.matrices, other.matrices)
        factors = (f"({a.name})" if len(a.blocks) > 1 else a.name for a in (self, other))
        size = self.dim * other.dim
        return Representation(self.group, product.reshape(-1, size, size), " * ".join(factors))

    @property
    def dim(self) -> int:
        """Number of components."""
        return self.matrices.shape[1]

    @cached_property
    def character(self) -> np.ndarray:
        """Trace of each matrix, float64 [order]."""
        return read_only(self.matrices.trace(axis1=1, axis2=2))

    @property
    def blocks(self) -> tuple[Representation, ...]:
        """The direct summands in order, such as A1, E and E of "A1 + 2 E".

        A representation that was not made as a direct sum is its own only summand, even if it is
        reducible.
        """
        return self.summands or (self,)

    @cached_property
    def is_trivial(self) -> bool:
        """Whether no element changes any component."""
        return bool((self.matrices == np.eye(self.dim)).all())

    @cached_property
    def is_permutation(self) -> bool:
        """Whether elements only permute components.

        If so, any function applied to each component is equivariant.
        """
        return bool(((self.matrices == 0) | (self.matrices == 1)).all())

    @cached_property
    def endomorphism_dim(self) -> int:
        """Number of independent matrices that commute with all ρ(g); 1 or 2 for an irrep."""
        return round(float((self.character**2).mean()))

    def multiplicity(self, irrep: Representation) -> int:
        """Number of times an irrep is contained: ⟨χ, χ_irrep⟩ / ⟨χ_irrep, χ_irrep⟩.

        Args:
            irrep: Irrep of the same group.

        Raises:
            InputError: If the irrep belongs to another group.
        """
        check_same_group(self, irrep)
        return round(float((self.character * irrep.character).mean())) // irrep.endomorphism_dim

    def irreps(self) -> tuple[tuple[Representation, int], ...]:
        """The irreps contained and their multiplicities, in the order of `irreps(group)`."""
        counts = ((irrep, self.multiplicity(irrep)) for irrep in irreps(self.group))
        return tuple((irrep, count) for irrep, count in counts if count)

    def to_irreps(self) -> np.ndarray:
        """Orthogonal matrix U, float64 [dim, dim], that decomposes the representation.

        U ρ(g) Uᵀ is the direct sum of `irreps()`, in order.
        """
        rows = np.zeros((0, self.dim))
        for irrep, _ in self.irreps():
            for block in invariant_tensors([irrep.matrices, self.matrices]):
                # Gram-Schmidt on whole intertwiners K. What is left of K after removing the copies
                # found before is still an intertwiner, so K Kᵀ is a multiple of the unit matrix
                # (Schur). For irreps of complex type some intertwiners bring nothing new.
                block = block - block @ rows.T @ rows
                norm = np.sqrt((block**2).sum() / irrep.dim)
                if norm > 1e-6:
                    rows = np.vstack([rows, block / norm])
        assert len(rows) == self.dim
        return rows


def direct_sum(*parts: Representation) -> Representation:
    """The direct sum of one or more representations of a group, in order.

    Args:
        *parts: The representations. Those that are direct sums themselves contribute their
        summands.

    Returns:
        The direct sum; the only part itself if there is one.

    Raises:
        InputError: If the groups differ.

    Examples:
        >>> from lattgnn.lattice import square
        >>> from lattgnn.symmetry import site_point_group, trivial, vector
        >>> group = site_point_group(square(8).cell)
        >>> direct_sum(vector(group), trivial(group)).name
        'vector + trivial'
    """
    for part in parts:
        check_same_group(parts[0], part)
    blocks = tuple(block for part in parts for block in part.blocks)
    if len(blocks) == 1:
        return blocks[0]
    dim, start = sum(block.dim for block in blocks), 0
    matrices = np.zeros((parts[0].group.order, dim, dim))
    for block in blocks:
        stop = start + block.dim
        matrices[:, start:stop, start:stop] = block.matrices
        start = stop
    runs = ((name, len(list(run))) for name, run in groupby(block.name for block in blocks))
    name = " + ".join(name if count == 1 else f"{count} {name}" for name, count in runs)
    return Representation(parts[0].group, matrices, name, blocks)


@lru_cache(maxsize=64)
def irreps(group: PointGroup) -> tuple[Representation, ...]:
    """All real irreps of a group with Mulliken names; the trivial one comes first.

    A pair of complex conjugate irreps is one real irrep with `endomorphism_dim` 2, such as E of C4.

    Args:
        group: The point group.

    Examples:
        >>> from lattgnn.lattice import square
        >>> from lattgnn.symmetry import site_point_group
        >>> group = site_point_group(square(8).cell)
        >>> [irrep.name for irrep in irreps(group)]
        ['A1', 'A2', 'B1', 'B2', 'E']
    """
    return tuple(Representation(group, m, name) for name, m in irreducible_matrices(group))


def check_same_group(a: Representation, b: Representation) -> None:
    """Check that two representations belong to the same group.

    Args:
        a: One representation.
        b: The other representation.

    Raises:
        InputError: If the groups differ.
    """
    if a.group != b.group:
        raise InputError(
            f"representations must be of one group, got {a.name!r} of {a.group}"
            f" and {b.name!r} of {b.group}. Use the same PointGroup for both."
        )
