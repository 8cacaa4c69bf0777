"""Picture of a lattice with its labels, and with its bonds colored by orbit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from lattgnn.lattice import Lattice, Orbit, bond_orbits, space_group
from lattgnn.lattice.labels import Bond

GRAY = "0.75"
MARKERS = "osD^vPX*"  # one per site label


def plot_lattice(lattice: Lattice, cutoff: float) -> Figure:
    """Draw the directed bonds that end at a site, each in the color of its orbit.

    There is one panel for each class of equivalent sites. Gray lines join nearest neighbors. A bond
    runs from its source, a dot in the color of the orbit, to the black site; it is curved where a
    shorter bond lies on the same line. Bonds of equal length in two colors are those that a
    distance alone cannot tell apart.

    The marker of a site shows its label, and a wide band along a bond the label of the bond.

    Args:
        lattice: The lattice; its infinite crystal is drawn, independent of extent and boundaries.
        cutoff: Largest length of a bond, in the units of the lattice.

    Returns:
        The figure.

    Raises:
        InputError: If the extent is too small for the cutoff.
    """
    found = bond_orbits(lattice, cutoff)
    found.check_extent()
    colors = _colors(len(found))
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
        _draw_bonds(axes, lattice, site, arriving, colors)
        _legend(axes, arriving, colors)
        names = []
        for sublattice in range(lattice.n_sublattices):
            images = {operation.sublattices[sublattice] for operation in operations}
            if site in images:
                names.append(str(sublattice))
        axes.set_title(f"bonds to sublattice {', '.join(names)}", fontsize=10)
        axes.set_axis_off()
        if lattice.dim == 3:
            axes.set_box_aspect((1, 1, 1), zoom=1.4)
        else:
            axes.set_aspect("equal", adjustable="datalim")
    handles = _label_handles(lattice)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    figure.suptitle(
        f"{lattice.name}: {len(found)} orbits of directed bonds up to {cutoff:g}", fontsize=11
    )
    return figure


def _colors(n: int) -> list[Any]:
    """Distinct colors. Many are taken in steps of the golden ratio around a color wheel."""
    if n <= 10:
        return [colormaps["tab10"](i) for i in range(n)]
    return [colormaps["gist_rainbow"]((i * 0.618034) % 1.0) for i in range(n)]


def _marker(lattice: Lattice, sublattice: int) -> str:
    """The marker of a site, which shows its label."""
    labels = lattice.site_labels
    if not labels:
        return MARKERS[0]
    return MARKERS[sorted(set(labels)).index(labels[sublattice]) % len(MARKERS)]


def _band_color(lattice: Lattice, label: str) -> Any:
    """The color of the band along bonds with a label."""
    return colormaps["Set2"](sorted(lattice.bond_labels).index(label) % 8)


def _label_handles(lattice: Lattice) -> list[Line2D]:
    """Entries of the legend of labels: a marker for each kind of site, a band for each of bond."""
    handles = []
    for label in sorted(set(lattice.site_labels)):
        marker = _marker(lattice, lattice.site_labels.index(label))
        text = f"site {label}"
        handles.append(Line2D([], [], color="0.4", lw=0, marker=marker, label=text))
    for label in lattice.bond_labels:
        color = _band_color(lattice, label)
        handles.append(Line2D([], [], color=color, lw=7, alpha=0.6, label=f"bond {label}"))
    return handles


def _place(lattice: Lattice, sublattice: int, cells: np.ndarray) -> np.ndarray:
    """Positions [n, 2 or 3] of the sites of a sublattice; a chain lies on the x axis."""
    basis = np.array(lattice.cell.basis, dtype=float)
    points = lattice.cell.cartesian(cells + basis[sublattice])
    return np.pad(points, ((0, 0), (0, 1))) if lattice.dim == 1 else points


def _draw_background(axes: Any, lattice: Lattice, site: int, cutoff: float) -> None:
    """Draw all sites, nearest-neighbor bonds and labeled bonds around a site."""
    radius = cutoff + 0.6 * lattice.neighbor_distance
    nearest = bond_orbits(lattice, lattice.neighbor_distance).orbits
    thin: dict[str, Any] = {"color": GRAY, "lw": 0.7, "alpha": 0.6, "zorder": 1}
    for s in range(lattice.n_sublattices):
        cells = lattice.cell.offsets_within(site, s, radius)
        points = _place(lattice, s, cells)
        axes.scatter(*points.T, s=14, color=GRAY, marker=_marker(lattice, s), zorder=2)
        for orbit in nearest:
            _draw_lines(axes, lattice, cells, [b for b in orbit.bonds if b[0] == s], thin)
        for label, bonds in lattice.bond_labels.items():
            wide = {"color": _band_color(lattice, label), "lw": 7, "alpha": 0.6, "zorder": 0}
            _draw_lines(axes, lattice, cells, [b for b in bonds if b[0] == s], wide)


def _draw_lines(
    axes: Any, lattice: Lattice, cells: np.ndarray, bonds: Sequence[Bond], style: dict[str, Any]
) -> None:
    """Draw bonds that start in each of the cells."""
    for source, destination, offset in bonds:
        points = _place(lattice, source, cells)
        ends = _place(lattice, destination, cells + offset)
        # One line object for all bonds, interrupted by NaN points.
        path = np.stack([points, ends, np.full_like(points, np.nan)], axis=1)
        axes.plot(*path.reshape(-1, path.shape[-1]).T, solid_capstyle="round", **style)


def _draw_bonds(
    axes: Any, lattice: Lattice, site: int, orbits: Sequence[Orbit], colors: Sequence[Any]
) -> None:
    """Draw the bonds from their colored sources to the site."""
    center = _place(lattice, site, np.zeros((1, lattice.dim)))[0]
    taken: list[np.ndarray] = []  # directions of the bonds drawn so far, which are shorter
    for orbit in orbits:
        color = colors[orbit.index]
        for source, destination, offset in orbit.bonds:
            if destination != site:
                continue
            start = _place(lattice, source, -np.array([offset]))[0]
            direction = (start - center) / orbit.distance
            bend = 0.25 if any(direction @ other > 1 - 1e-6 for other in taken) else 0.0
            taken.append(direction)
            marker = _marker(lattice, source)
            axes.scatter(*start[:, None], s=42, color=[color], marker=marker, zorder=4)
            if lattice.dim == 3:
                axes.plot(*np.stack([start, center]).T, color=color, lw=1.8, zorder=3)
            else:
                axes.add_patch(_arrow(start, center, bend, color))
    marker = _marker(lattice, site)
    axes.scatter(*center[:, None], s=70, color="black", marker=marker, zorder=5)


def _arrow(start: np.ndarray, end: np.ndarray, bend: float, color: Any) -> FancyArrowPatch:
    return FancyArrowPatch(
        tuple(start),
        tuple(end),
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-|>",
        mutation_scale=9,
        color=color,
        lw=1.6,
        shrinkA=0,
        shrinkB=5,
        zorder=3,
    )


def _legend(axes: Any, orbits: Sequence[Orbit], colors: Sequence[Any]) -> None:
    handles = []
    for orbit in orbits:
        label = f"{orbit.index}   {orbit.distance:.3f}   ×{orbit.multiplicity}   {orbit.label}"
        label = label.rstrip()
        handles.append(Line2D([], [], color=colors[orbit.index], lw=2, marker="o", label=label))
    axes.legend(
        handles=handles,
        title="orbit  length  bonds" + ("  label" if any(o.label for o in orbits) else ""),
        fontsize=7,
        title_fontsize=7,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        ncols=1 + len(handles) // 20,
    )
