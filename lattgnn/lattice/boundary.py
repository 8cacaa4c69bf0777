"""Extent and boundary conditions of a finite lattice, checked and brought to a normal form."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from lattgnn.errors import InputError


def normal_extent(extent: Any, dim: int) -> tuple[int, ...]:
    """The extent as a tuple of integers.

    Args:
        extent: Number of cells along each axis, as a user wrote it.
        dim: Dimension of space.

    Raises:
        InputError: If it is not one positive integer per axis.

    Examples:
        >>> normal_extent([8, 6], 2)
        (8, 6)
    """
    try:
        numbers = tuple(index(n) for n in (extent if np.iterable(extent) else [extent]))
    except TypeError:
        numbers = ()
    if len(numbers) != dim or any(n < 1 for n in numbers):
        raise InputError(
            f"extent must be {dim} positive integers, one per axis, got {extent!r}."
            f" Use {(8,) * dim!r}."
        )
    return numbers


def normal_periodic(periodic: Any, dim: int) -> tuple[bool, ...]:
    """The boundary conditions as a tuple of bools.

    Args:
        periodic: One bool for all axes or one per axis, as a user wrote it.
        dim: Dimension of space.

    Raises:
        InputError: If it is neither.

    Examples:
        >>> normal_periodic(True, 2)
        (True, True)
    """
    flags = tuple(periodic) if np.iterable(periodic) else (periodic,)
    flags = flags * dim if len(flags) == 1 else flags
    if len(flags) != dim or not all(isinstance(p, bool | np.bool_) for p in flags):
        raise InputError(
            f"periodic must be a bool, or one for each of the {dim} axes, got {periodic!r}."
            " Use True."
        )
    return tuple(bool(p) for p in flags)
