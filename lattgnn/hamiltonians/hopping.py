"""Hopping by shell, by orbit or by label of the bonds: which bonds carry it, and how much."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.errors import InputError, check_number, errors_about
from lattgnn.lattice import Bonds, Lattice, Orbit, orbits_within
from lattgnn.lattice.labels import values_by_label

Hopping: TypeAlias = float | Sequence[float] | Mapping[str, float]
"""One number for nearest neighbors; a list by shell; a mapping by orbit or by bond label."""

_ORBIT = re.compile(r"orbit (\d+)")


class HoppingBonds(NamedTuple):
    """Directed bonds on which electrons hop, both directions.

    Attributes:
        pairs: Destination and source of each bond, which are row and column of its element.
        values: Hopping on each bond, float64.
        displacement: Cartesian vector from source to destination, float64.
    """

    pairs: Int[Tensor, "2 n_bonds"]
    values: Float[Tensor, " n_bonds"]
    displacement: Float[np.ndarray, "n_bonds dim"]


def normal_hopping(
    lattice: Lattice, t: Hopping, name: str = "t"
) -> float | tuple[float, ...] | dict[str, float]:
    """A hopping in its normal form, after a check.

    Args:
        lattice: The lattice.
        t: One number for nearest neighbors. Or a list with one number per shell, in the order of
            the distances, such as [1.0, 0.0, -0.85]. Or a mapping: from orbits of bonds, numbered
            as the symmetry table prints them, such as {"orbit 0": 1.0, "orbit 3": 0.2}; or from
            all bond labels of the lattice.
        name: Name of the argument, for errors.

    Returns:
        The number; the list as a tuple without zeros at its end, a number if it has one entry; or
        the mapping as a dictionary.

    Raises:
        InputError: If an entry is not a finite number, a bond label has no number, or a key is
            neither a label nor an orbit.
    """
    if isinstance(t, Mapping):
        if _by_orbit(t):
            return {str(key): value for key, value in t.items()}
        return values_by_label(name, t, tuple(lattice.bond_labels))
    if isinstance(t, str) or not isinstance(t, Sequence):
        return cast(float, t)  # the base class of the models checks numbers
    for value in t:
        check_number(name, value)
    values = list(t)
    while len(values) > 1 and values[-1] == 0:
        values.pop()
    if not values:
        raise InputError(f"{name} must hold at least one number, got []. Use [1.0].")
    return values[0] if len(values) == 1 else tuple(values)


def hopping_bonds(lattice: Lattice, t: Hopping, name: str = "t") -> HoppingBonds:
    """The bonds on which electrons hop, and the hopping on each of them.

    Args:
        lattice: The lattice.
        t: The hopping, as `normal_hopping` returns it.
        name: Name of the argument, for errors.

    Raises:
        InputError: If the lattice is too small for the bonds or does not have them.
    """
    if isinstance(t, Mapping):
        return _orbit_bonds(lattice, t, name) if _by_orbit(t) else _label_bonds(lattice, t)
    if isinstance(t, Sequence):
        return _shell_bonds(lattice, t, name)
    with errors_about("the nearest-neighbor bonds of the Hamiltonian"):
        bonds = lattice.bonds(lattice.neighbor_distance)
    return _selected(bonds, np.full(len(bonds), t, dtype=np.float64), slice(None))


def shell_distances(lattice: Lattice, n: int) -> list[float]:
    """The n shortest distances between two sites of the crystal, of any sublattices.

    Args:
        lattice: The lattice.
        n: Number of distances.
    """
    distances: set[float] = set()
    for sublattice in range(lattice.n_sublattices):
        distances.update(distance for distance, _ in lattice.shells(n, sublattice))
    return sorted(distances)[:n]


def values_by_orbit(
    lattice: Lattice, values: Sequence | Mapping[str, float], name: str
) -> tuple[dict[int, float], float]:
    """The numbers of a list by shell or a mapping by orbit, for each directed orbit.

    Args:
        lattice: The lattice.
        values: One number per shell, or numbers by orbit, "orbit 3". The orbit of the reversed
            bonds has the same number.
        name: Name of the argument, for errors.

    Returns:
        The numbers that are not zero, by orbit; and the length of the longest bond that has one.

    Raises:
        InputError: If an orbit and its reverse have different numbers.
    """
    if isinstance(values, Mapping):
        numbers = {int(key.removeprefix("orbit ")): value for key, value in values.items()}
        orbits = first_orbits(lattice, max(numbers) + 1)
        _add_reverses(orbits, numbers, name)
    else:
        distances = shell_distances(lattice, len(values))
        orbits = orbits_within(lattice.cell, distances[-1])
        numbers = {}
        for orbit in orbits:
            # The same operation as in `Lattice.shells`, so that equal lengths have equal bits.
            shell = distances.index(float(orbit.squared_distance) ** 0.5)
            numbers[orbit.index] = values[shell]
    found = {index: float(value) for index, value in numbers.items() if value}
    longest = max((orbits[index].distance for index in found), default=0.0)
    return found, longest


def _by_orbit(t: Mapping) -> bool:
    """Whether all keys of a mapping name orbits."""
    return bool(t) and all(_ORBIT.fullmatch(str(key)) for key in t)


def _shell_bonds(lattice: Lattice, t: Sequence[float], name: str) -> HoppingBonds:
    with errors_about(f"{name}, a list of {len(t)} shells"):
        values, longest = values_by_orbit(lattice, t, name)
        return _bonds_of_orbits(lattice, values, longest, name)


def _orbit_bonds(lattice: Lattice, t: Mapping[str, float], name: str) -> HoppingBonds:
    with errors_about(f"{name} by orbit"):
        values, longest = values_by_orbit(lattice, t, name)
        return _bonds_of_orbits(lattice, values, longest, name)


def _bonds_of_orbits(
    lattice: Lattice, values: Mapping[int, float], longest: float, name: str
) -> HoppingBonds:
    """The bonds of some orbits."""
    if not values:
        # Without hopping there are no bonds, and any cutoff gives arrays of the right kind.
        bonds = lattice.bonds(lattice.neighbor_distance)
        return _selected(bonds, np.zeros(len(bonds)), np.zeros(len(bonds), dtype=bool))
    bonds = lattice.bonds(longest)
    missing = sorted(set(values) - set(bonds.orbit.tolist()))
    if missing:
        raise InputError(
            f"every bond of {name} must exist on the lattice, but with open boundaries the extent"
            f" {lattice.extent} has none of orbit {missing[0]}. Use a larger extent."
        )
    table = np.zeros(int(bonds.orbit.max()) + 1)
    table[list(values)] = list(values.values())
    hoppings = table[bonds.orbit]
    return _selected(bonds, hoppings, hoppings != 0)


def _label_bonds(lattice: Lattice, t: Mapping[str, float]) -> HoppingBonds:
    parts = []
    for label, hopping in t.items():
        with errors_about(f"the bonds {label!r} of the Hamiltonian"):
            bonds = lattice.bonds(label=label)
        parts.append(_selected(bonds, np.full(len(bonds), float(hopping)), slice(None)))
    pairs, values, displacements = zip(*parts, strict=True)
    return HoppingBonds(torch.cat(pairs, dim=1), torch.cat(values), np.concatenate(displacements))


def _selected(bonds: Bonds, values: np.ndarray, chosen: np.ndarray | slice) -> HoppingBonds:
    ends = np.stack([bonds.destination, bonds.source])[:, chosen]
    return HoppingBonds(
        torch.tensor(ends), torch.from_numpy(values[chosen]), bonds.displacement[chosen]
    )


def first_orbits(lattice: Lattice, n: int) -> tuple[Orbit, ...]:
    """At least the first n orbits of the crystal; a larger cutoff appends orbits.

    Args:
        lattice: The lattice.
        n: Number of orbits.
    """
    cutoff = lattice.neighbor_distance
    while True:
        orbits = orbits_within(lattice.cell, cutoff)
        if len(orbits) >= n:
            return orbits
        cutoff *= 1.5


def _add_reverses(orbits: Sequence[Orbit], values: dict[int, float], name: str) -> None:
    """Give the orbits of the reversed bonds the same numbers."""
    for index, value in list(values.items()):
        reverse = orbits[index].reverse
        if values.setdefault(reverse, value) != value:
            raise InputError(
                f"{name} must be the same in both directions of a bond, got {value!r} for orbit"
                f" {index} and {values[reverse]!r} for orbit {reverse}, its reverse. Give one."
            )
