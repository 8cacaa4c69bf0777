"""Mulliken names of irreps: A1g, B2, E'', T1u.

The letter gives the dimension (A, B: 1; E: 2; T: 3; G: 4; H: 5). A is even and B is odd under the
principal operation, which is the rotation or rotoinversion of highest order. Further marks, where
the group has the operations they refer to:

- g and u: even and odd under the inversion. A group without the inversion has ' and '' instead,
  for even and odd under the mirror normal to the principal axis. The rest of the name is that of
  the irrep of the rotations alone.
- 1 and 2 after A and B: even and odd under a two-fold rotation about an axis normal to the
  principal axis, or, if there is none, under a mirror that contains the principal axis. Among
  several, the one whose axis (or line in the mirror) is nearest to x counts. B1 is therefore
  x² − y² where x is an axis.
- k after E, for principal operations of order n > 4: the trace of the principal operation is
  2 cos(2πk/n).
- 1 and 2 after A and T of a cubic group: even and odd under four-fold rotations or rotoinversions.
- 1, 2, 3 after B in a group of three two-fold axes: even under the rotation about z, y and x (or
  about the axes nearest to these, in this order).

A planar group is treated as a group in space: its principal axis is the normal of the plane and its
mirrors contain that axis. The mirror of a line is the inversion. Irreps that would share a name are
numbered by decreasing characters, with the elements sorted by decreasing determinant, trace and
matrix entries.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from lattgnn.symmetry.point_group import PointGroup, matrix_orders

_LETTERS = {2: "E", 3: "T", 4: "G", 5: "H"}
_ORDER = "ABETGH"  # order in which the irreps are listed


def mulliken_names(group: PointGroup, characters: np.ndarray) -> list[tuple[str, int]]:
    """Names of the irreps of a group in the customary order.

    Args:
        group: Any finite point group.
        characters: Characters of all real irreps, [n_irreps, order].

    Returns:
        Pairs of a name and the row of its character. The trivial irrep comes first; g comes before
        u and ' before ''; then A before B, E and T; then 1 before 2.
    """
    solid = _Solid.of(group)
    mirror, marks = _parity(solid)
    # If there is a parity, the rotations alone decide the rest of the name.
    kept = np.arange(group.order) if mirror is None else np.flatnonzero(solid.determinants > 0)
    by_geometry = _by_geometry(group)
    entries = []
    for row, (letter, number) in enumerate(_labels(solid, kept, characters)):
        odd = mirror is not None and bool(characters[row, mirror] < 0)
        # Only breaks ties between irreps of one name; rounding errors must not decide.
        decreasing = tuple(-characters[row, by_geometry].round(6))
        entries.append((odd, _ORDER.index(letter), number, decreasing, row))
    entries.sort()
    alike = Counter(entry[:3] for entry in entries)
    seen: Counter = Counter()
    names = []
    for odd, letter, number, _, row in entries:
        seen[odd, letter, number] += 1
        serial = seen[odd, letter, number] if alike[odd, letter, number] > 1 else ""
        names.append((f"{_ORDER[letter]}{number or ''}{serial}{marks[odd]}", row))
    return names


@dataclass(frozen=True)
class _Solid:
    """The elements R of a group as matrices in space, with their geometric properties.

    Attributes:
        rotations: Matrices R, [order, 3, 3].
        determinants: det R, [order].
        orders: Smallest n with Rⁿ = 1, [order].
        turns: Smallest n with (det(R) R)ⁿ = 1, [order]: n for an n-fold axis, 2 for a mirror, 1 for
            the inversion.
        axes: Unit vectors along the axis or normal to the mirror, [order, 3].
    """

    rotations: np.ndarray
    determinants: np.ndarray
    orders: np.ndarray
    turns: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, group: PointGroup) -> _Solid:
        """The elements of a group on a line, in the plane or in space."""
        rotations = np.tile(np.eye(3), (group.order, 1, 1))
        if group.dim == 1:
            # ±1 times the unit matrix: the mirror of a line becomes the inversion.
            rotations = rotations * group.rotations
        else:
            # Planar matrices act on x and y and leave z alone.
            rotations[:, : group.dim, : group.dim] = group.rotations
        proper = rotations * group.determinants[:, None, None]
        axes = np.stack([_axis(matrix) for matrix in proper])
        return cls(
            rotations, group.determinants, matrix_orders(rotations), matrix_orders(proper), axes
        )


def _parity(solid: _Solid) -> tuple[int | None, tuple[str, str]]:
    """The element that defines the parity of irreps, with the marks for even and odd.

    It is the inversion, or, if there is none, the mirror normal to the principal axis; None if
    there is no such mirror either.
    """
    improper = solid.determinants < 0
    inversion = np.flatnonzero(improper & (solid.turns == 1))
    if len(inversion):
        return int(inversion[0]), ("g", "u")
    rotations = np.flatnonzero(~improper)
    along = np.abs(solid.axes @ solid.axes[_principal(solid, rotations)]) > 1 - 1e-6
    # Without any rotation there is no principal axis, and the only mirror counts.
    mirror = np.flatnonzero(improper & (solid.turns == 2) & (along | (len(rotations) == 1)))
    return (int(mirror[0]), ("'", "''")) if len(mirror) else (None, ("", ""))


def _labels(solid: _Solid, kept: np.ndarray, characters: np.ndarray) -> list[tuple[str, int]]:
    """Letter and number (0 for no number) of each irrep.

    Args:
        solid: The elements of the group.
        kept: Elements whose characters decide.
        characters: Characters of all irreps, [n_irreps, order].
    """
    turning = [int(g) for g in kept if solid.turns[g] > 1]
    # More than one axis of order above two: a cubic or icosahedral group.
    if len({tuple(solid.axes[g].round(6)) for g in turning if solid.turns[g] > 2}) > 1:
        quarter = next((g for g in turning if solid.turns[g] == 4), None)
        return [_polyhedral_label(character, quarter) for character in characters]
    # Exactly three rotations, all two-fold: the group 222.
    if len(turning) == 3 and all(
        solid.orders[g] == 2 and solid.determinants[g] > 0 for g in turning
    ):
        turning.sort(key=lambda g: _from_z(solid.axes[g]), reverse=True)
        return [_orthorhombic_label(character[turning]) for character in characters]
    principal = _principal(solid, kept)
    reference = _reference(solid, turning, principal)
    period = int(solid.orders[principal])
    return [_axial_label(character, principal, period, reference) for character in characters]


def _polyhedral_label(character: np.ndarray, quarter: int | None) -> tuple[str, int]:
    """Label in a cubic or icosahedral group; `quarter` is a four-fold element if there is one."""
    dim = round(character[0])
    sign = 0 if quarter is None or dim == 2 else round(character[quarter])
    return _LETTERS.get(dim, "A"), {0: 0, 1: 1, -1: 2}[sign]


def _orthorhombic_label(character: np.ndarray) -> tuple[str, int]:
    """Label in the group 222 from the characters of the rotations about z, y and x."""
    even = np.flatnonzero(character > 0)
    return ("A", 0) if len(even) == 3 else ("B", int(even[0]) + 1)


def _axial_label(
    character: np.ndarray, principal: int, period: int, reference: int | None
) -> tuple[str, int]:
    """Label in a group with one principal axis.

    Args:
        character: Character of the irrep, [order].
        principal: The principal operation.
        period: Its order n.
        reference: The element that tells 1 from 2, if there is one.
    """
    if round(character[0]) == 2:
        # The trace of the principal operation is 2 cos(2πk/n); solve for k.
        angle = np.arccos(np.clip(character[principal] / 2, -1, 1))
        return "E", round(angle * period / (2 * np.pi)) if period > 4 else 0
    letter = "A" if character[principal] > 0 else "B"
    return letter, 0 if reference is None else 1 if character[reference] > 0 else 2


def _principal(solid: _Solid, kept: np.ndarray) -> int:
    """The principal operation: the element of highest order.

    Ties are broken in favor of rotations, then the smallest angle (largest trace), then the axis
    nearest to z.
    """

    def rank(g: int) -> tuple:
        turn = round(float(solid.rotations[g].trace()), 6)
        return int(solid.orders[g]), int(solid.determinants[g]), turn, _from_z(solid.axes[g])

    return max(kept.tolist(), key=rank)


def _reference(solid: _Solid, turning: list[int], principal: int) -> int | None:
    """The element under which irreps 1 are even and irreps 2 are odd; None if there is none.

    It is the two-fold rotation about the axis nearest to x and normal to the principal axis. If
    there is none, it is the mirror that contains the principal axis and a line nearest to x.
    """
    axis = solid.axes[principal]
    across = [g for g in turning if solid.turns[g] == 2 and abs(solid.axes[g] @ axis) < 1e-6]
    lines = {g: solid.axes[g] for g in across if solid.determinants[g] > 0}
    # The line of a mirror normal to both its normal and the principal axis lies in the mirror.
    lines = lines or {g: _signed(np.cross(axis, solid.axes[g])) for g in across}
    return max(lines, key=lambda g: tuple(lines[g].round(6)), default=None)


def _axis(proper: np.ndarray) -> np.ndarray:
    """Unit vector along the axis n of a rotation by θ; 0 for the identity."""
    # With R + Rᵀ = 2 cos θ + 2 (1 − cos θ) n nᵀ and tr R = 1 + 2 cos θ, this is a multiple of n nᵀ.
    # Its largest column gives n with the smallest rounding error.
    square = proper + proper.T - (proper.trace() - 1) * np.eye(3)
    column = square[:, square.diagonal().argmax()]
    length = np.sqrt(column @ column)
    return _signed(column / length) if length > 1e-6 else np.zeros(3)


def _signed(vector: np.ndarray) -> np.ndarray:
    """The vector or its negative, whichever has a positive first non-zero component."""
    return vector * np.sign(vector[np.abs(vector) > 1e-6][0])


def _from_z(axis: np.ndarray) -> tuple:
    """Sort key that is largest for the axis nearest to z, then to y."""
    return tuple(_signed(axis[::-1]).round(6)) if axis.any() else ()


def _by_geometry(group: PointGroup) -> list[int]:
    """Elements by decreasing determinant, trace and entries, whatever their order in the group."""
    keys = [
        # + 0.0 turns -0.0 into 0.0.
        (-d, -round(float(r.trace()), 6), *(-r.round(6) + 0.0).ravel())
        for d, r in zip(group.determinants, group.rotations, strict=True)
    ]
    return sorted(range(group.order), key=lambda g: keys[g])
