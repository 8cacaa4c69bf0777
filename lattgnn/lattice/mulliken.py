"""Mulliken names of irreps: A1g, B2, E'', T1u.

The letter is the dimension (A, B: 1; E: 2; T: 3; G: 4; H: 5); A is even and B is odd under the principal
operation, the rotation or rotoinversion of highest order. The other marks, where a group has them:

- g and u: even and odd under the inversion; otherwise ' and '' under the mirror normal to the principal axis.
  The rest of the name is that of the rotations alone.
- 1 and 2 after A and B: even and odd under a two-fold rotation about an axis normal to the principal one, or
  else under a mirror through it: among several, the axis or line of the mirror nearest to x. So B1 is x² − y²
  where x is an axis.
- k after E: the principal operation has trace 2 cos(2πk/n), where n > 4.
- 1 and 2 after A and T of a cube: even and odd under four-fold rotations or rotoinversions.
- 1, 2, 3 after B of three two-fold axes: even under that about z, y, x (or nearest to them, in this order).

A plane is seen from space with its normal as the principal axis, its mirrors standing upright; a line's mirror
is the inversion. Irreps that share a name are numbered by decreasing characters, elements sorted by
decreasing determinant, trace and matrix entries.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from lattgnn.lattice.point_group import PointGroup

_LETTERS = {2: "E", 3: "T", 4: "G", 5: "H"}
_SORTED = "ABETGH"


def mulliken_names(group: PointGroup, characters: np.ndarray) -> list[tuple[str, int]]:
    """Names of the irreps of a group, each with the row of its character, in the customary order.

    Args:
        group: Any finite point group.
        characters: Characters [n_irreps, order] of all real irreps.

    Returns:
        (name, row) pairs: A before B, E, T; 1 before 2; g before u and ' before ''. The trivial irrep is first.
    """
    space = _in_space(group)
    mirror, marks = _parity(space)
    kept = np.arange(group.order) if mirror is None else np.flatnonzero(space.determinants > 0)
    stem = _Stem.of(space, kept)
    entries = []
    for row, character in enumerate(characters):
        odd = mirror is not None and bool(character[mirror] < 0)
        letter, number = stem.letter(character), stem.number(character)
        # Decreasing characters over elements in an order that does not depend on the numbering.
        tail = tuple(-character[_geometric_order(group)].round(6))
        entries.append(((odd, _SORTED.index(letter), number, tail), letter, number, marks[odd], row))
    entries.sort()
    counts = Counter(entry[1:4] for entry in entries)
    seen: Counter = Counter()
    names = []
    for _, letter, number, mark, row in entries:
        key = (letter, number, mark)
        seen[key] += 1
        text = f"{number or ''}" if counts[key] == 1 else f"{number or ''}{seen[key]}"
        names.append((f"{letter}{text}{mark}", row))
    return names


@dataclass(frozen=True)
class _Stem:
    """The elements that decide the letter and number of an irrep."""

    principal: int
    period: int
    quarter: int | None = None  # four-fold element of a group with several axes of more than two folds
    polyhedral: bool = False
    axes: tuple[int, ...] = ()  # three two-fold rotations, from z to x
    reference: int | None = None  # two-fold rotation or mirror for 1 and 2

    @classmethod
    def of(cls, space: PointGroup, kept: np.ndarray) -> _Stem:
        turns = {int(g): _turn_order(space, g) for g in kept}
        axes = {g: _axis(space, g) for g in turns if turns[g] > 1}
        principal = _principal(space, kept)
        period = int(space.element_orders[principal])
        high = {tuple(axes[g].round(6)) for g in axes if turns[g] > 2}
        if len(high) > 1:
            quarters = [g for g in axes if turns[g] == 4]
            return cls(principal, period, quarters[0] if quarters else None, polyhedral=True)
        if len(axes) == 3 and period == 2 and all(space.determinants[g] > 0 for g in axes):
            return cls(principal, period, axes=tuple(sorted(axes, key=lambda g: _toward_z(axes[g]))[::-1]))
        upright = [g for g in axes if turns[g] == 2 and abs(axes[g] @ axes[principal]) < 1e-6]
        rotations = [g for g in upright if space.determinants[g] > 0]
        lines = {
            g: axes[g] if rotations else np.cross(axes[principal], axes[g]) for g in rotations or upright
        }
        reference = max(lines, key=lambda g: tuple(_signed(lines[g]).round(6)), default=None)
        return cls(principal, period, reference=reference)

    def letter(self, character: np.ndarray) -> str:
        dim = round(character[0])
        if dim > 1:
            return _LETTERS[dim]
        return "A" if self.polyhedral or self._axis_number(character) == 0 else "B"

    def number(self, character: np.ndarray) -> int:
        dim = round(character[0])
        if self.polyhedral:
            sign = 0 if self.quarter is None else round(character[self.quarter])
            return (0, 1, 2)[sign] if dim in (1, 3) else 0
        if dim > 1:
            fold = np.arccos(np.clip(character[self.principal] / 2, -1, 1)) * self.period / (2 * np.pi)
            return round(fold) if self.period > 4 else 0
        if self.axes:
            return self._axis_number(character)
        return 0 if self.reference is None else 1 if character[self.reference] > 0 else 2

    def _axis_number(self, character: np.ndarray) -> int:
        """0 for A; otherwise which of three two-fold axes it is even under, or 1."""
        if not self.axes:
            return int(character[self.principal] < 0)
        even = [k for k, g in enumerate(self.axes, start=1) if character[g] > 0]
        return even[0] if len(even) == 1 else 0


def _parity(space: PointGroup) -> tuple[int | None, tuple[str, str]]:
    """The inversion, or else the mirror normal to the principal axis, and the marks of even and odd."""
    improper = np.flatnonzero(space.determinants < 0)
    for g in improper:
        if _turn_order(space, g) == 1:
            return int(g), ("g", "u")
    rotations = np.flatnonzero(space.determinants > 0)
    principal = _principal(space, rotations)
    for g in improper:
        if _turn_order(space, g) == 2:
            along = abs(_axis(space, g) @ _axis(space, principal)) > 1 - 1e-6 if len(rotations) > 1 else True
            if along:
                return int(g), ("'", "''")
    return None, ("", "")


def _principal(space: PointGroup, kept: np.ndarray) -> int:
    """The element of highest order, rotations first, by the smallest angle, about the axis nearest to z."""

    def rank(g: int) -> tuple:
        axis = _toward_z(_axis(space, g)) if g else ()
        turn = round(float(space.rotations[g].trace()), 6)
        return int(space.element_orders[g]), int(space.determinants[g]), turn, axis

    return max(map(int, kept), key=rank)


def _in_space(group: PointGroup) -> PointGroup:
    if group.dim == 3:
        return group
    rotations = np.tile(np.eye(3), (group.order, 1, 1))
    if group.dim == 1:
        return PointGroup(rotations * group.rotations)
    rotations[:, :2, :2] = group.rotations
    return PointGroup(rotations)


def _turn_order(space: PointGroup, g: int) -> int:
    """Order of det(R) R: the n of an n-fold rotation or rotoinversion, 2 for a mirror, 1 for the inversion."""
    turn = space.determinants[g] * space.rotations[g]
    power, order = turn, 1
    while np.abs(power - np.eye(3)).max() > 1e-6:
        power, order = power @ turn, order + 1
    return order


def _axis(space: PointGroup, g: int) -> np.ndarray:
    """Unit vector along the axis of a rotation or rotoinversion, or normal to a mirror."""
    turn = space.determinants[g] * space.rotations[g]
    # R + Rᵀ = 2 cos θ + 2 (1 − cos θ) n nᵀ and tr R = 1 + 2 cos θ
    square = turn + turn.T - (turn.trace() - 1) * np.eye(3)
    column = square[:, square.diagonal().argmax()]
    return _signed(column / np.sqrt(column @ column))


def _signed(vector: np.ndarray) -> np.ndarray:
    """±vector with its first component that is not zero positive."""
    first = vector[np.abs(vector) > 1e-6][0]
    return vector * np.sign(first)


def _toward_z(axis: np.ndarray) -> tuple:
    return tuple(_signed(axis[::-1]).round(6).tolist())


def _geometric_order(group: PointGroup) -> list[int]:
    """Elements by decreasing determinant, trace and entries: the same whatever their numbering."""
    rows = [
        (-d, -round(float(r.trace()), 6), *(-(r.round(6) + 0.0)).ravel())
        for d, r in zip(group.determinants, group.rotations, strict=True)
    ]
    return sorted(range(group.order), key=lambda g: rows[g])
