"""Parameters of an integrator that may have one value for each component of the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lattgnn.errors import InputError

#: One number, or one for each component of the field.
PerComponent = float | tuple[float, ...]


def as_tuple(value: PerComponent) -> tuple[float, ...]:
    """One number or those of the components, as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def check_components(parameters: Mapping[str, Any], field_shape: Sequence[int]) -> None:
    """Refuse parameters of components that the field does not have.

    Args:
        parameters: Values by name; tuples hold one number for each component.
        field_shape: Shape of one field, (n_sites,) or (n_sites, n_components).

    Raises:
        InputError: If the numbers of parameters and components differ.
    """
    n = field_shape[1] if len(field_shape) == 2 else 0
    for name, value in parameters.items():
        if isinstance(value, tuple) and len(value) != n:
            kind = f"{n} components" if n else "no components"
            raise InputError(
                f"{name} has {len(value)} numbers, one for each component, but the field has "
                f"{kind}. Use one number, or as many as there are components."
            )


def by_component(
    parameters: Mapping[str, PerComponent], field_shape: Sequence[int]
) -> list[tuple[float, ...]]:
    """The parameters once if all are numbers, otherwise those of each component of the field.

    Args:
        parameters: Values by name; tuples hold one number for each component.
        field_shape: Shape of one field, (n_sites,) or (n_sites, n_components).

    Raises:
        InputError: If the numbers of parameters and components differ.
    """
    given = {name: value for name, value in parameters.items() if isinstance(value, tuple)}
    if not given:
        return [tuple(parameters.values())]  # type: ignore[arg-type]
    check_components(given, field_shape)
    n = field_shape[1]
    columns = [value if isinstance(value, tuple) else (value,) * n for value in parameters.values()]
    return list(zip(*columns, strict=True))
