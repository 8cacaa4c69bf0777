"""The symmetry of a lattice in print: operations, site groups, orbits of bonds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lattgnn.lattice.geometry import Lattice
from lattgnn.lattice.lattice_orbits import bond_orbits
from lattgnn.lattice.operations import SpaceGroup, space_group
from lattgnn.lattice.permutations import compatible_operations
from lattgnn.symmetry.point_group import PointGroup, site_point_group
from lattgnn.symmetry.representations import irreps


def symmetry_table(lattice: Lattice, cutoff: float) -> str:
    """Everything that symmetry says about a lattice and its bonds up to a cutoff, as text.

    Args:
        lattice: The finite lattice.
        cutoff: Largest length of a bond, in the units of the lattice.

    Returns:
        Several lines: the operations as x, y, z symbols, the group of each site with its irreps,
        and for each orbit of directed bonds its length, representative, number arriving at a site,
        stabilizer and reverse.

    Raises:
        InputError: If the extent is too small for the cutoff.

    Examples:
        >>> from lattgnn.lattice import square
        >>> print(symmetry_table(square(8), cutoff=1.5).split("\\n")[-4])
          orbit    length  from  to    cell  vector  arriving  stabilizer  reverse
    """
    found = bond_orbits(lattice, cutoff)
    found.check_extent()
    group = space_group(lattice.cell)
    parts = [_header(lattice, group), _operations(group), _sites(lattice, group)]
    lengths = len({o.squared_distance for o in found.orbits})
    title = f"Orbits of directed bonds up to {cutoff:g}: {len(found)} of {lengths} lengths"
    head = ("orbit", "length", "from", "to", "cell", "vector", "arriving", "stabilizer", "reverse")
    rows = [
        (
            str(o.index),
            f"{o.distance:.6f}",
            str(o.source_sublattice),
            str(o.destination_sublattice),
            _tuple(o.offset),
            _tuple(f"{x:.3g}" for x in np.array(o.displacement) + 0.0),
            str(o.multiplicity),
            str(o.stabilizer_order),
            "itself" if o.reverse == o.index else str(o.reverse),
        )
        for o in found.orbits
    ]
    return "\n\n".join([*parts, title + "\n" + _columns([head, *rows])]) + "\n"


def _header(lattice: Lattice, group: SpaceGroup) -> str:
    axes = " × ".join(
        f"{n} {'periodic' if p else 'open'}"
        for n, p in zip(lattice.extent, lattice.periodic, strict=True)
    )
    kept = len(compatible_operations(lattice))
    vectors = ", ".join(_tuple(f"{x:.6g}" for x in row) for row in lattice.primitive_vectors)
    return "\n".join(
        [
            f"{lattice.name}: {axes} cells of {lattice.n_sublattices}, {lattice.n_sites} sites",
            f"primitive vectors {vectors}",
            f"{kept} of {group.order} operations of the space group map this piece onto itself",
        ]
    )


def _operations(group: SpaceGroup) -> str:
    rows = [(str(i), g.symbol) for i, g in enumerate(group.operations)]
    name = PointGroup.from_rotations([g.cartesian for g in group.operations]).name
    return (
        f"Space group: {group.order} operations modulo translations, point group {name}\n"
        + _columns(rows)
    )


def _sites(lattice: Lattice, group: SpaceGroup) -> str:
    numbers = {g.rotation: i for i, g in reversed(list(enumerate(group.operations)))}
    rows = [("sublattice", "at", "order", "group", "rotations of operations", "equivalent to")]
    for s, place in enumerate(lattice.cell.basis):
        members = group.site_group(s)
        listed = sorted(numbers[g.rotation] for g in members)
        rows.append(
            (
                str(s),
                _tuple(place),
                str(len(members)),
                site_point_group(lattice.cell, s).name,
                "all" if len(listed) == group.order else " ".join(map(str, listed)),
                " ".join(str(n) for n in sorted({g.sublattices[s] for g in group.operations})),
            )
        )
    return "Site groups\n" + _columns(rows) + "\n" + _irreps(lattice)


def _irreps(lattice: Lattice) -> str:
    """One line for each different site group: its irreps with their dimensions."""
    groups = {
        (g := site_point_group(lattice.cell, s)).name: g for s in range(lattice.n_sublattices)
    }
    lines = (
        f"  irreps of {name}: "
        + ", ".join(f"{irrep.name} ({irrep.dim})" for irrep in irreps(group))
        for name, group in groups.items()
    )
    return "\n".join(lines)


def _tuple(entries: Iterable) -> str:
    return "(" + ", ".join(str(x) for x in entries) + ")"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ("  ".join(f"{text:>{w}}" for text, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join("  " + line.rstrip() for line in lines)
