"""How the components of a field transform, read from a text such as "vector" or "B1 + A1"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lattgnn.errors import InputError
from lattgnn.lattice.operations import Operation
from lattgnn.lattice.unit_cell import UnitCell
from lattgnn.symmetry.equivariant_kernels import SiteType
from lattgnn.symmetry.local_frames import SiteClass, local_element, site_classes
from lattgnn.symmetry.representation_text import parse_representation
from lattgnn.symmetry.representations import Representation

CARTESIAN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "vector": lambda rotation: rotation,
    "pseudoscalar": lambda rotation: np.array([[np.linalg.det(rotation)]]),
    "pseudovector": lambda rotation: np.linalg.det(rotation) * rotation,
    "axial": lambda rotation: (
        np.linalg.det(rotation) * (rotation if len(rotation) == 3 else np.eye(1))
    ),
}
"""Representations defined for all rotations; their components refer to one global frame."""


@dataclass(frozen=True, eq=False)
class FieldRepresentation:
    """The representation of a field on each class of equivalent sites of a crystal.

    The components of a vector are Cartesian and refer to the same frame everywhere. Those of an
    irrep of the site group refer to the local frame of their site; see `site_classes`.

    Attributes:
        cell: The unit cell.
        representations: One representation per class of equivalent sites.
    """

    cell: UnitCell
    representations: tuple[Representation, ...]

    def __eq__(self, other: object) -> bool:
        """Whether operations act in the same way on the components, whatever the names."""
        return (
            isinstance(other, FieldRepresentation)
            and (self.cell, self.representations) == (other.cell, other.representations)
            and np.allclose(self.to_local(), other.to_local(), atol=1e-9)
        )

    @property
    def n_components(self) -> int:
        """Number of components of the field per site.

        Raises:
            InputError: If the number differs between the classes of sites.
        """
        counts = {representation.dim for representation in self.representations}
        if len(counts) > 1:
            raise InputError(
                "a field must have equally many components on all sites, got "
                f"{', '.join(f'{r.name} ({r.dim})' for r in self.representations)}. Use 'vector'."
            )
        return counts.pop()

    @property
    def is_scalar(self) -> bool:
        """Whether the field is one invariant number per site."""
        return all(r.dim == 1 and r.is_trivial for r in self.representations)

    @property
    def name(self) -> str:
        """The text that describes the representation; one text per class where they differ."""
        names = [representation.name for representation in self.representations]
        return names[0] if len(set(names)) == 1 else "; ".join(names)

    def site_types(self) -> tuple[SiteType, ...]:
        """The type of the sites of each class."""
        return tuple(
            SiteType(c, representation) for c, representation in enumerate(self.representations)
        )

    def to_local(self) -> np.ndarray:
        """Matrices that take the given components to local frames, [n_sublattices, dim, dim]."""
        matrices = np.empty((self.cell.n_sublattices, self.n_components, self.n_components))
        for sites, representation in zip(
            site_classes(self.cell), self.representations, strict=True
        ):
            for s, frame in zip(sites.sublattices, sites.frames, strict=True):
                matrices[s] = _extended(representation, frame.cartesian).T
        return matrices

    def site_matrices(self, operation: Operation) -> np.ndarray:
        """Action of an operation on the components of each sublattice.

        Args:
            operation: Operation of the space group.

        Returns:
            For each sublattice the matrix from its components to those of its image,
            [n_sublattices, dim, dim].
        """
        local, matrices = self.to_local(), np.empty_like(self.to_local())
        for sites, representation in zip(
            site_classes(self.cell), self.representations, strict=True
        ):
            for s in sites.sublattices:
                # To the local frame, act there, and back from the local frame of the image.
                moved = representation.matrices[local_element(self.cell, operation, s)]
                matrices[s] = local[operation.sublattices[s]].T @ moved @ local[s]
        return matrices


def field_representation(cell: UnitCell, text: str | Sequence[str]) -> FieldRepresentation:
    """The representation of a field, read from text.

    Args:
        cell: The unit cell, whose site groups define the irreps.
        text: Sum of irreps of the site group and of the names trivial, vector, axial, pseudoscalar,
            pseudovector and regular, such as "vector" or "A1 + 2 E"; or a list with one such text
            per class of equivalent sites.

    Returns:
        The representation on every site.

    Raises:
        InputError: If a site group has no such representation, or there are not as many texts as
            classes.

    Examples:
        >>> from lattgnn.lattice import square, space_group
        >>> cell = square(8).cell
        >>> field = field_representation(cell, "vector + trivial")
        >>> field.n_components
        3
        >>> rotation = space_group(cell).operations[1]
        >>> print(rotation.symbol, field.site_matrices(rotation)[0].tolist())
        y, -x [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return _field_representation(cell, text if isinstance(text, str) else tuple(text))


@lru_cache(maxsize=256)
def _field_representation(cell: UnitCell, text: str | tuple[str, ...]) -> FieldRepresentation:
    classes: tuple[SiteClass, ...] = site_classes(cell)
    texts = (text,) * len(classes) if isinstance(text, str) else text
    if len(texts) != len(classes):
        raise InputError(
            "there must be one representation for all sites, or one for each of the"
            f" {len(classes)} classes of equivalent sites, got {texts!r}. Use 'trivial'."
        )
    pairs = zip(texts, classes, strict=True)
    return FieldRepresentation(
        cell, tuple(parse_representation(name, sites.group) for name, sites in pairs)
    )


def _extended(representation: Representation, rotation: np.ndarray) -> np.ndarray:
    """Matrix of the rotation of a local frame, which need not be an element of the site group.

    Cartesian components rotate with the frame. Components of irreps are defined in the local frame
    and do not change.
    """
    matrix, start = np.eye(representation.dim), 0
    for block in representation.blocks:
        stop = start + block.dim
        if block.name in CARTESIAN:
            matrix[start:stop, start:stop] = CARTESIAN[block.name](rotation)
        start = stop
    return matrix
