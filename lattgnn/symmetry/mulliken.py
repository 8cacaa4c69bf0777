"""Mulliken names of irreps: A1g, B2, E'', T1u.

The letter is the dimension (A, B: 1; E: 2; T: 3; G: 4; H: 5); A is even and B is odd under the
principal operation, the rotation or rotoinversion of highest order. The other marks, where a group
has them:

- g and u: even and odd under the inversion; otherwise ' and '' under the mirror normal to the
  principal axis. The rest of the name is that of the rotations alone.
- 1 and 2 after A and B: even and odd under a two-fold rotation about an axis normal to the
  principal one, or else under a mirror through it: among several, the axis or line of the mirror
  nearest to x. So B1 is x² − y² where x is an axis.
- k after E: the principal operation has trace 2 cos(2πk/n), where n > 4.
- 1 and 2 after A and T of a cube: even and odd under four-fold rotations or rotoinversions.
- 1, 2, 3 after B of three two-fold axes: even under that about z, y, x (or nearest to them, in
  this order).

A plane is seen from space with its normal as the principal axis and its mirrors upright; a line's
mirror is the inversion. Irreps that share a name are numbered by decreasing characters, elements
sorted by decreasing determinant, trace and matrix entries.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from lattgnn.symmetry.point_group import PointGroup, matrix_orders

_LETTERS = {2: "E", 3: "T", 4: "G", 5: "H"}
_ORDER = "ABETGH"


def mulliken_names(group: PointGroup, characters: np.ndarray) -> list[tuple[str, int]]:
    """Names of the irreps of a group, each with the row of its character, in the customary order.

    Args:
        group: Any finite point group.
        characters: Characters [n_irreps, order] of all real irreps.

    Returns:
        (name, row) pairs, the trivial irrep first: g before u, ' before ''; A before B, E, T; 1
        before 2.
    """
    solid = _Solid.of(group)
    mirror, marks = _parity(solid)
    kept = np.arange(group.order) if mirror is None else np.flatnonzero(solid.determinants > 0)
    by_geometry = _by_geometry(group)
    entries = []
    for row, (letter, number) in enumerate(_labels(solid, kept, characters)):
        odd = mirror is not None and bool(characters[row, mirror] < 0)
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
    """The elements R of a group as matrices in space, and what they do there."""

    rotations: np.ndarray  # [order, 3, 3]
    determinants: np.ndarray  # det R, [order]
    orders: np.ndarray  # smallest n with Rⁿ = 1
    turns: (
        np.ndarray
    )  # the same of det(R) R: n of an n-fold axis, 2 of a mirror, 1 of the inversion
    axes: np.ndarray  # unit vectors along the axis or normal to the mirror, [order, 3]

    @classmethod
    def of(cls, group: PointGroup) -> _Solid:
        rotations = np.tile(np.eye(3), (group.order, 1, 1))
        if group.dim == 1:
            rotations = rotations * group.rotations
        else:
            rotations[:, : group.dim, : group.dim] = group.rotations
        proper = rotations * group.determinants[:, None, None]
        axes = np.stack([_axis(matrix) for matrix in proper])
        return cls(
            rotations, group.determinants, matrix_orders(rotations), matrix_orders(proper), axes
        )


def _parity(solid: _Solid) -> tuple[int | None, tuple[str, str]]:
    """The inversion, or else the mirror normal to the principal axis, and the marks of even and odd."""
    improper = solid.determinants < 0
    inversion = np.flatnonzero(improper & (solid.turns == 1))
    if len(inversion):
        return int(inversion[0]), ("g", "u")
    rotations = np.flatnonzero(~improper)
    along = np.abs(solid.axes @ solid.axes[_principal(solid, rotations)]) > 1 - 1e-6
    mirror = np.flatnonzero(improper & (solid.turns == 2) & (along | (len(rotations) == 1)))
    return (int(mirror[0]), ("'", "''")) if len(mirror) else (None, ("", ""))


def _labels(solid: _Solid, kept: np.ndarray, characters: np.ndarray) -> list[tuple[str, int]]:
    """Letter and number (0 for none) of each irrep by the characters of some elements."""
    turning = [int(g) for g in kept if solid.turns[g] > 1]
    if len({tuple(solid.axes[g].round(6)) for g in turning if solid.turns[g] > 2}) > 1:
        quarter = next((g for g in turning if solid.turns[g] == 4), None)
        return [_polyhedral_label(character, quarter) for character in characters]
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
    dim = round(character[0])
    sign = 0 if quarter is None or dim == 2 else round(character[quarter])
    return _LETTERS.get(dim, "A"), {0: 0, 1: 1, -1: 2}[sign]


def _orthorhombic_label(character: np.ndarray) -> tuple[str, int]:
    even = np.flatnonzero(character > 0)
    return ("A", 0) if len(even) == 3 else ("B", int(even[0]) + 1)


def _axial_label(
    character: np.ndarray, principal: int, period: int, reference: int | None
) -> tuple[str, int]:
    if round(character[0]) == 2:
        angle = np.arccos(np.clip(character[principal] / 2, -1, 1))
        return "E", round(angle * period / (2 * np.pi)) if period > 4 else 0
    letter = "A" if character[principal] > 0 else "B"
    return letter, 0 if reference is None else 1 if character[reference] > 0 else 2


def _principal(solid: _Solid, kept: np.ndarray) -> int:
    """The element of highest order, rotations first, by the smallest angle, about the axis nearest to z."""

    def rank(g: int) -> tuple:
        turn = round(float(solid.rotations[g].trace()), 6)
        return int(solid.orders[g]), int(solid.determinants[g]), turn, _from_z(solid.axes[g])

    return max(kept.tolist(), key=rank)


def _reference(solid: _Solid, turning: list[int], principal: int) -> int | None:
    """The two-fold rotation across the principal axis, or else the mirror through it, nearest to x."""
    axis = solid.axes[principal]
    across = [g for g in turning if solid.turns[g] == 2 and abs(solid.axes[g] @ axis) < 1e-6]
    lines = {g: solid.axes[g] for g in across if solid.determinants[g] > 0}
    lines = lines or {g: _signed(np.cross(axis, solid.axes[g])) for g in across}
    return max(lines, key=lambda g: tuple(lines[g].round(6)), default=None)


def _axis(proper: np.ndarray) -> np.ndarray:
    """Unit vector along the axis of a rotation, 0 for the identity."""
    # R + Rᵀ = 2 cos θ + 2 (1 − cos θ) n nᵀ and tr R = 1 + 2 cos θ
    square = proper + proper.T - (proper.trace() - 1) * np.eye(3)
    column = square[:, square.diagonal().argmax()]
    length = np.sqrt(column @ column)
    return _signed(column / length) if length > 1e-6 else np.zeros(3)


def _signed(vector: np.ndarray) -> np.ndarray:
    """±vector with its first component that is not zero positive."""
    return vector * np.sign(vector[np.abs(vector) > 1e-6][0])


def _from_z(axis: np.ndarray) -> tuple:
    """What is largest for the axis nearest to z, then y."""
    return tuple(_signed(axis[::-1]).round(6)) if axis.any() else ()


def _by_geometry(group: PointGroup) -> list[int]:
    """Elements by decreasing determinant, trace and entries: the same whatever their numbering."""
    keys = [
        (-d, -round(float(r.trace()), 6), *(-r.round(6) + 0.0).ravel())
        for d, r in zip(group.determinants, group.rotations, strict=True)
    ]
    return sorted(range(group.order), key=lambda g: keys[g])
