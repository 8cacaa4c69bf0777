"""Labels of sites and bonds, checked and brought to a normal form.

Labels are texts. A site has the label of its sublattice. A labeled bond is undirected, and its
normal form is the first of its two directions in the order of `bond_key`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

import numpy as np

from lattgnn.errors import InputError

Bond = tuple[int, int, tuple[int, ...]]
"""A directed bond: source sublattice, destination sublattice, offset between their cells."""


def bond_key(bond: Bond) -> tuple:
    """Sort key: lowest sublattices first, then the offset that points most along the first axis.

    Args:
        bond: The bond.

    Examples:
        >>> sorted([(0, 0, (0, 1)), (0, 0, (1, 0))], key=bond_key)
        [(0, 0, (1, 0)), (0, 0, (0, 1))]
    """
    return bond[0], bond[1], tuple(-n for n in bond[2])


def reversed_bond(bond: Bond) -> Bond:
    """The same bond in the opposite direction.

    Args:
        bond: The bond.

    Examples:
        >>> reversed_bond((0, 1, (1, 0)))
        (1, 0, (-1, 0))
    """
    return bond[1], bond[0], tuple(-n for n in bond[2])


def normal_site_labels(labels: Any, n_sublattices: int) -> tuple[str, ...]:
    """Site labels as texts, one per sublattice; empty if there are none.

    Args:
        labels: A sequence of texts or integers, one per sublattice, or None.
        n_sublattices: Number of sites in a cell.

    Raises:
        InputError: If there is not exactly one label per sublattice, or a label is neither a text
            nor an integer.

    Examples:
        >>> normal_site_labels(["A", 2], 2)
        ('A', '2')
    """
    if labels is None or (isinstance(labels, Sequence) and len(labels) == 0):
        return ()
    found = () if isinstance(labels, str) or not np.iterable(labels) else tuple(labels)
    if len(found) != n_sublattices:
        raise InputError(
            f"site_labels must hold one label for each of the {n_sublattices} sites of the basis,"
            f" got {labels!r}. Use {list('ABCDEFGH'[:n_sublattices])!r}, for example."
        )
    return tuple(_text(label, "site_labels") for label in found)


def normal_bond_labels(
    labels: Any, n_sublattices: int, dim: int
) -> tuple[tuple[str, tuple[Bond, ...]], ...]:
    """Labels with their bonds in normal form, both sorted.

    Args:
        labels: A mapping from each label to its bonds [source, destination, offset], of which one
            direction is enough; or None.
        n_sublattices: Number of sites in a cell.
        dim: Dimension of space.

    Raises:
        InputError: If this is not such a mapping, a bond does not exist, or a bond has two labels.

    Examples:
        >>> normal_bond_labels({"strong": [[1, 0, [0]]]}, n_sublattices=2, dim=1)
        (('strong', ((0, 1, (0,)),)),)
    """
    if labels is None:
        return ()
    if not isinstance(labels, Mapping):
        raise InputError(
            f"bond_labels must be a mapping from labels to lists of bonds, got {labels!r}."
            f" Use {_bond_example(dim)}."
        )
    owner: dict[Bond, str] = {}
    for key, bonds in labels.items():
        label = _text(key, "bond_labels")
        for given in bonds if np.iterable(bonds) and not isinstance(bonds, str) else [bonds]:
            bond = _normal_bond(given, n_sublattices, dim)
            if owner.setdefault(bond, label) != label:
                raise InputError(
                    f"a bond must have one label, got {owner[bond]!r} and {label!r} for {given!r}."
                    " Both directions of a bond are the same bond."
                )
    found = []
    for label in sorted(set(owner.values())):
        members = sorted((bond for bond in owner if owner[bond] == label), key=bond_key)
        found.append((label, tuple(members)))
    return tuple(found)


def values_by_label(
    argument: str, values: Mapping[Any, float], labels: Sequence[str]
) -> dict[str, float]:
    """Values for the labels of a lattice, with the labels as texts.

    Args:
        argument: Name of the argument that holds the values.
        values: A value for each label.
        labels: The labels of the sites or the bonds of the lattice.

    Raises:
        InputError: If a label has no value, or a value has no label.

    Examples:
        >>> values_by_label("on_site_energy", {1: 0.5, "B": -0.5}, ["1", "B", "1"])
        {'1': 0.5, 'B': -0.5}
    """
    found = {str(label): value for label, value in values.items()}
    if not found or set(found) != set(labels):
        wanted = f"one value for each label of the lattice, {sorted(set(labels))}"
        raise InputError(
            f"{argument} must hold {wanted}, got {dict(values)!r}."
            " Name the labels in site_labels or bond_labels of the lattice."
        )
    return found


def _text(label: Any, argument: str) -> str:
    """A label as text; integers are welcome."""
    is_number = isinstance(label, int | np.integer) and not isinstance(label, bool)
    if is_number or (isinstance(label, str) and label):
        return str(label)
    raise InputError(
        f"the labels in {argument} must be texts or integers, got {label!r}. Use 'A', for example."
    )


def _normal_bond(given: Any, n_sublattices: int, dim: int) -> Bond:
    """The normal form of a bond that a user wrote as [source, destination, offset]."""
    try:
        source, destination, offset = given
        cell = tuple(index(n) for n in (offset if np.iterable(offset) else [offset]))
        bond = (index(source), index(destination), cell)
    except (TypeError, ValueError):
        bond = (-1, -1, ())
    exists = all(0 <= s < n_sublattices for s in bond[:2]) and len(bond[2]) == dim
    if not exists or (bond[0] == bond[1] and not any(bond[2])):
        raise InputError(
            f"a bond in bond_labels must be [source, destination, offset], with two different sites"
            f" of sublattices 0..{n_sublattices - 1} and the {dim} integers of the cell of the"
            f" destination, got {given!r}. Use {_bond_example(dim)}."
        )
    return min(bond, reversed_bond(bond), key=bond_key)


def _bond_example(dim: int) -> str:
    return f"{{'strong': [[0, 0, {[1] + [0] * (dim - 1)}]]}}"
