"""The symmetry of a lattice in print: operations, site groups, orbits of bonds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lattgnn.lattice.geometry import Lattice
from lattgnn.lattice.lattice_orbits import bond_orbits
from lattgnn.lattice.operations import SpaceGroup, space_group
from lattgnn.lattice.orbits import Orbit
from lattgnn.lattice.permutations import compatible_operations
from lattgnn.symmetry.point_group import PointGroup, site_point_group
from lattgnn.symmetry.representations import irreps

_OPERATIONS_PER_LINE = 4


def symmetry_table(lattice: Lattice, cutoff: float) -> str:
    """Everything that symmetry says about a lattice and its bonds up to a cutoff, as text.

    Args:
        lattice: The finite lattice.
        cutoff: Largest length of a bond, in the units of the primitive vectors.

    Returns:
        Several lines: the operations of the space group as x, y, z symbols; the group of each site
        with its irreps; and for each orbit of directed bonds a representative bond, the number of
        bonds per site, the number of operations that leave the bond in place, and the orbit of the
        reversed bonds.

    Raises:
        InputError: If the extent is too small for the cutoff.

    Examples:
        >>> from lattgnn.lattice import square
        >>> print(symmetry_table(square(8), cutoff=1.0).partition("Site groups")[0])
        square: 8 × 8 unit cells of 1 site, 64 sites, periodic boundaries
        primitive vectors (1, 0), (0, 1)
        8 of the 8 operations of the space group map this finite lattice onto itself
        <BLANKLINE>
        Space group: 8 operations up to lattice translations, point group D4
        Image of the point (x, y) in units of the primitive vectors:
          0  x, y    1  y, -x   2  -y, x   3  -x, -y
          4  x, -y   5  y, x    6  -y, -x  7  -x, y
        <BLANKLINE>
        <BLANKLINE>
    """
    found = bond_orbits(lattice, cutoff)
    found.check_extent()
    group = space_group(lattice.cell)
    parts = [
        _header(lattice, group),
        _operations(group, lattice.dim),
        _sites(lattice, group),
        _bonds(found.orbits, cutoff),
    ]
    return "\n\n".join(parts) + "\n"


def _header(lattice: Lattice, group: SpaceGroup) -> str:
    extent = " × ".join(map(str, lattice.extent))
    cells = f"{extent} unit cells of {_count(lattice.n_sublattices, 'site')}"
    vectors = ", ".join(_tuple(f"{x:.6g}" for x in row) for row in lattice.primitive_vectors)
    kept = len(compatible_operations(lattice))
    return "\n".join(
        [
            f"{lattice.name}: {cells}, {lattice.n_sites} sites, {_boundaries(lattice.periodic)}",
            f"primitive vectors {vectors}",
            f"{kept} of the {_count(group.order, 'operation')} of the space group map this finite"
            " lattice onto itself",
        ]
    )


def _boundaries(periodic: Sequence[bool]) -> str:
    if all(periodic):
        return "periodic boundaries"
    if not any(periodic):
        return "open boundaries"
    names = [f"{'periodic' if p else 'open'} along axis {axis}" for axis, p in enumerate(periodic)]
    return ", ".join(names)


def _operations(group: SpaceGroup, dim: int) -> str:
    name = PointGroup.from_rotations([g.cartesian for g in group.operations]).name
    coordinates = ", ".join("xyz"[:dim])
    width, number_width = max(len(g.symbol) for g in group.operations), len(str(group.order - 1))
    lines = [
        f"Space group: {_count(group.order, 'operation')} up to lattice translations,"
        f" point group {name}",
        f"Image of the point ({coordinates}) in units of the primitive vectors:",
    ]
    for start in range(0, group.order, _OPERATIONS_PER_LINE):
        line = ""
        for i, g in enumerate(group.operations[start : start + _OPERATIONS_PER_LINE], start):
            line += f"  {i:>{number_width}}  {g.symbol:<{width}}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _sites(lattice: Lattice, group: SpaceGroup) -> str:
    labels = ("label",) if lattice.site_labels else ()
    head = ("position", "group", "order", "operations", "equivalent to")
    rows: list[tuple[str, ...]] = [("sublattice", *labels, *head)]
    for s, place in enumerate(lattice.cell.basis):
        members = [str(i) for i, g in enumerate(group.operations) if g.sublattices[s] == s]
        images = sorted({g.sublattices[s] for g in group.operations})
        rows.append(
            (
                str(s),
                *lattice.site_labels[s : s + 1],
                _tuple(place),
                site_point_group(lattice.cell, s).name,
                str(len(members)),
                "all" if len(members) == group.order else " ".join(members),
                " ".join(map(str, images)),
            )
        )
    title = "Site groups: the operations, up to lattice translations, that leave a site in place"
    return "\n".join([title, _columns(rows), *_irreps(lattice)])


def _irreps(lattice: Lattice) -> list[str]:
    """One line for each different site group: its irreps with their dimensions."""
    groups = {}
    for s in range(lattice.n_sublattices):
        group = site_point_group(lattice.cell, s)
        groups[group.name] = group
    lines = []
    for name, group in groups.items():
        listed = ", ".join(f"{irrep.name} ({irrep.dim})" for irrep in irreps(group))
        lines.append(f"  irreps of {name} (dimension): {listed}")
    return lines


def _bonds(orbits: Sequence[Orbit], cutoff: float) -> str:
    lengths = len({orbit.squared_distance for orbit in orbits})
    title = (
        f"Orbits of directed bonds up to length {cutoff:g}:"
        f" {_count(len(orbits), 'orbit')}, {_count(lengths, 'distinct length')}"
    )
    is_labeled = any(orbit.label for orbit in orbits)
    head = ("length", "from", "to", "offset", "vector", "per site", "stabilizer", "reverse")
    rows: list[tuple[str, ...]] = [("orbit", *head, *["label"] * is_labeled)]
    for orbit in orbits:
        # Rounding removes errors such as 1e-17; + 0.0 turns -0.0 into 0.0.
        vector = np.array(orbit.displacement).round(9) + 0.0
        rows.append(
            (
                str(orbit.index),
                f"{orbit.distance:.6f}",
                str(orbit.source_sublattice),
                str(orbit.destination_sublattice),
                _tuple(orbit.offset),
                _tuple(f"{x:.3g}" for x in vector),
                str(orbit.multiplicity),
                str(orbit.stabilizer_order),
                "itself" if orbit.reverse == orbit.index else str(orbit.reverse),
                *[orbit.label or "-"] * is_labeled,
            )
        )
    legend = [
        "  from, to    sublattices of one bond of the orbit; offset is between their unit cells",
        "  per site    number of bonds of the orbit that end at one site",
        "  stabilizer  number of operations that leave the bond in place",
        "  reverse     orbit of the bonds in the opposite direction",
    ]
    if is_labeled:
        legend.append("  label       bond label of the lattice; - for bonds without one")
    return "\n".join([title, _columns(rows), *legend])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _tuple(entries: Iterable) -> str:
    return "(" + ", ".join(str(x) for x in entries) + ")"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as right-aligned columns, indented by two spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{text:>{width}}" for text, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells))
    return "\n".join(lines)
