"""Whether float32 is accurate enough: a comparison with float64 on a part of a field."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from typing import Any

from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice

# Largest difference between a density in float32 and in float64.
ROUNDING = 2e-5
# Cells along each axis of the part of a field in which the two are compared.
_MOST_CELLS = 32


def part_extent(extent: tuple[int, ...]) -> tuple[int, ...]:
    """Cells along each axis of the part that is compared."""
    return tuple(min(n, _MOST_CELLS) for n in extent)


def part_of(field: Tensor, lattice: Lattice) -> Tensor:
    """A corner of one field, [1, ...]. It is then solved as a periodic lattice of its own."""
    part = field.view(*lattice.extent, lattice.n_sublattices, *field.shape[1:])
    for axis, n in enumerate(part_extent(lattice.extent)):
        part = part.narrow(axis, 0, n)
    return part.reshape(1, -1, *field.shape[1:])


def model_of_part(model: Any) -> Any | None:
    """The same model on the lattice of the part; None if its parameters belong to its lattice."""
    if not is_dataclass(model) or isinstance(model, type):
        return None
    values: Any = model
    try:
        smaller = values.lattice.with_extent(*part_extent(values.lattice.extent))
        return replace(values, lattice=smaller)
    except (InputError, TypeError):
        return None


def check_rounding(error: float, allowed: float) -> None:
    """Refuse float32 where its densities differ from those in float64 by more than is allowed.

    Raises:
        InputError: If they do.
    """
    if not error <= allowed:
        raise InputError(
            "the forces of GreenFunction in float32 are not accurate enough in this field: "
            f"densities differ by {error:.1g} from those in float64, and at most {allowed:.1g} can "
            "be rounding. Use a field in float64."
        )
