"""Picture of a lattice with its bonds coloured by orbit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from lattgnn.lattice import Lattice, Orbit, bond_orbits, space_group

GREY = "0.75"


def plot_lattice(lattice: Lattice, cutoff: float) -> Figure:
    """Draw the bonds that arrive at a site, each in the colour of its orbit.

    One panel for each class of equivalent sites, nearest neighbours joined in grey. A bond runs from its
    source, a dot in the colour of the orbit, to the black site; it is bent where a shorter one lies on the
    same line. Bonds of equal length in two colours are those that distance alone would confuse.

    Args:
        lattice: Its cell is drawn, whatever its extent and boundaries.
        cutoff: Largest length of a bond, in the units of the lattice.

    Returns:
        A figure that belongs to no window.

    Raises:
        ValueError: If the extent is too small for the cutoff.
    """
    found = bond_orbits(lattice, cutoff)
    found.check_extent()
    colours = _colours(len(found))
    operations = space_group(lattice.cell).operations
    classes = sorted(
        {min(g.sublattices[s] for g in operations) for s in range(lattice.n_sublattices)}
    )
    height = 2.4 if lattice.dim == 1 else 4.8
    figure = Figure(figsize=(4.6 * len(classes) + 1.2, height), layout="constrained")
    for number, site in enumerate(classes, start=1):
        projection = {"projection": "3d"} if lattice.dim == 3 else {}
        axes: Any = figure.add_subplot(1, len(classes), number, **projection)
        arriving = [o for o in found.orbits if any(bond[1] == site for bond in o.bonds)]
        _draw_background(axes, lattice, site, cutoff)
        _draw_bonds(axes, lattice, site, arriving, colours)
        _legend(axes, arriving, colours)
        names = [
            str(s)
            for s in range(lattice.n_sublattices)
            if site in {g.sublattices[s] for g in operations}
        ]
        axes.set_title(f"bonds to sublattice {', '.join(names)}", fontsize=10)
        axes.set_axis_off()
        if lattice.dim == 3:
            axes.set_box_aspect((1, 1, 1), zoom=1.4)
        else:
            axes.set_aspect("equal", adjustable="datalim")
    figure.suptitle(
        f"{lattice.name}: {len(found)} orbits of directed bonds up to {cutoff:g}", fontsize=11
    )
    return figure


def _colours(n: int) -> list[Any]:
    """Distinct colours for few orbits, neighbours on a wheel taken far apart for many."""
    if n <= 10:
        return [colormaps["tab10"](i) for i in range(n)]
    return [colormaps["gist_rainbow"]((i * 0.618034) % 1.0) for i in range(n)]


def _place(lattice: Lattice, sublattice: int, cells: np.ndarray) -> np.ndarray:
    """Positions [n, 2 or 3] of sites; a chain lies on the x axis."""
    basis = np.array(lattice.cell.basis, dtype=float)
    points = lattice.cell.cartesian(cells + basis[sublattice])
    return np.pad(points, ((0, 0), (0, 1))) if lattice.dim == 1 else points


def _draw_background(axes: Any, lattice: Lattice, site: int, cutoff: float) -> None:
    """All sites and nearest-neighbour bonds within reach, in grey."""
    reach = cutoff + 0.6 * lattice.neighbor_distance
    cell, nearest = lattice.cell, lattice.neighbor_distance
    for s in range(lattice.n_sublattices):
        cells = cell.offsets_within(site, s, reach)
        points = _place(lattice, s, cells)
        axes.scatter(*points.T, s=14, color=GREY, zorder=2)
        leaving = [
            bond for o in bond_orbits(lattice, nearest).orbits for bond in o.bonds if bond[0] == s
        ]
        for _, destination, offset in leaving:
            ends = _place(lattice, destination, cells + offset)
            # One line for all of them, interrupted by points that are not there.
            path = np.stack([points, ends, np.full_like(points, np.nan)], axis=1)
            axes.plot(*path.reshape(-1, path.shape[-1]).T, color=GREY, lw=0.7, alpha=0.6, zorder=1)


def _draw_bonds(
    axes: Any, lattice: Lattice, site: int, orbits: Sequence[Orbit], colours: Sequence[Any]
) -> None:
    """Bonds from their coloured sources to the site."""
    centre = _place(lattice, site, np.zeros((1, lattice.dim)))[0]
    taken: list[np.ndarray] = []  # directions in which a nearer source lies
    for orbit in orbits:
        colour = colours[orbit.index]
        for source, destination, offset in orbit.bonds:
            if destination != site:
                continue
            start = _place(lattice, source, -np.array([offset]))[0]
            direction = (start - centre) / orbit.distance
            bend = 0.25 if any(direction @ other > 1 - 1e-6 for other in taken) else 0.0
            taken.append(direction)
            axes.scatter(*start[:, None], s=42, color=[colour], zorder=4)
            if lattice.dim == 3:
                axes.plot(*np.stack([start, centre]).T, color=colour, lw=1.8, zorder=3)
            else:
                axes.add_patch(_arrow(start, centre, bend, colour))
    axes.scatter(*centre[:, None], s=70, color="black", zorder=5)


def _arrow(start: np.ndarray, end: np.ndarray, bend: float, colour: Any) -> FancyArrowPatch:
    return FancyArrowPatch(
        tuple(start),
        tuple(end),
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-|>",
        mutation_scale=9,
        color=colour,
        lw=1.6,
        shrinkA=0,
        shrinkB=5,
        zorder=3,
    )


def _legend(axes: Any, orbits: Sequence[Orbit], colours: Sequence[Any]) -> None:
    handles = []
    for orbit in orbits:
        label = f"{orbit.index}   {orbit.distance:.3f}   ×{orbit.multiplicity}"
        handles.append(Line2D([], [], color=colours[orbit.index], lw=2, marker="o", label=label))
    axes.legend(
        handles=handles,
        title="orbit  length  bonds",
        fontsize=7,
        title_fontsize=7,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        ncols=1 + len(handles) // 20,
    )
