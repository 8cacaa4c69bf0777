"""Dzyaloshinskii–Moriya vectors of all bonds from those of one bond of each orbit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from lattgnn.errors import InputError, errors_about
from lattgnn.hamiltonians.hopping import first_orbits
from lattgnn.lattice import Lattice, Operation, space_group
from lattgnn.lattice.labels import Bond, reversed_bond

_ORBIT = re.compile(r"orbit (\d+)")

# Relative difference of two vectors that symmetry makes equal: rounding, with a wide margin.
_ROUNDING = 1e-9


def dm_bonds(
    lattice: Lattice, vectors: Mapping[str, Sequence[float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Site i, site j and D_ij of all bonds that have a DM vector, in both directions.

    Args:
        lattice: The lattice.
        vectors: D of the representative bond of some orbits, which points from i to j.

    Raises:
        InputError: If a key names no orbit, the lattice is too small, or D is not one of those that
            the symmetry of the bond allows (Moriya's rules).
    """
    cell_vectors, longest = _cell_vectors(lattice, vectors)
    with errors_about("dm_vectors"):
        bonds = lattice.bonds(longest)
    # A bond of the list starts at its source, which is site i here.
    table = np.array([cell_vectors.get(bond, (0.0, 0.0, 0.0)) for bond in bonds.cell_bonds])
    found = table[bonds.cell_bond]
    present = found.any(axis=1)
    return bonds.source[present], bonds.destination[present], found[present]


def spin_matrix(operation: Operation) -> np.ndarray:
    """Matrix [3, 3] of an operation on axial vectors, such as spins and DM vectors.

    It is det(g) g. In fewer than three dimensions g leaves the other directions in place, so that
    a reflection of a planar lattice is a reflection in a plane that contains z.

    Args:
        operation: Operation of the space group.
    """
    dim = len(operation.cartesian)
    matrix = np.eye(3)
    matrix[:dim, :dim] = operation.cartesian
    return np.linalg.det(matrix) * matrix


def _cell_vectors(
    lattice: Lattice, vectors: Mapping[str, Sequence[float]]
) -> tuple[dict[Bond, np.ndarray], float]:
    """D of every bond that starts in cell 0 and has one, and the length of the longest."""
    found: dict[Bond, np.ndarray] = {}
    longest = 0.0
    for key, vector in vectors.items():
        match = _ORBIT.fullmatch(str(key))
        if match is None:
            raise InputError(
                f"dm_vectors must be given by orbit, got {key!r}. Use 'orbit 0'; the numbers are"
                " those of the symmetry table."
            )
        number = int(match[1])
        orbit = first_orbits(lattice, number + 1)[number]
        start = (orbit.source_sublattice, orbit.destination_sublattice, orbit.offset)
        longest = max(longest, orbit.distance)
        for operation in space_group(lattice.cell).operations:
            bond = operation.move_bond(*start)
            moved = spin_matrix(operation) @ np.array(vector)
            _add(found, bond, moved, key)
            _add(found, reversed_bond(bond), -moved, key)
    return found, longest


def _add(found: dict[Bond, np.ndarray], bond: Bond, vector: np.ndarray, key: str) -> None:
    """Store the vector of a bond, which must not have another one."""
    known = found.setdefault(bond, vector)
    if np.abs(known - vector).max() > _ROUNDING * max(np.abs(vector).max(), 1e-300):
        raise InputError(
            f"the DM vector of {key} must be one that the symmetry of its bond allows (Moriya's"
            f" rules), but symmetry gives one bond both {known.round(6).tolist()} and"
            f" {vector.round(6).tolist()}. Use a vector along another direction, or bulk_dm."
        )
