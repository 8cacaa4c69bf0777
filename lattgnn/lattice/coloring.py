"""Two colors of sites: signs that alternate along the nearest-neighbor bonds of a finite lattice.

The functions take the unit cell, the extent and the boundary separately, because `Lattice` calls
them and is therefore defined in a later module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lattgnn.errors import InputError
from lattgnn.lattice.finite_bonds import shifted_cells
from lattgnn.lattice.orbits import orbits_within
from lattgnn.lattice.unit_cell import IntVector, UnitCell


def alternating_signs(
    cell: UnitCell, extent: IntVector, periodic: tuple[bool, ...], neighbor_distance: float
) -> np.ndarray | None:
    """Signs ±1 that alternate along nearest-neighbor bonds, +1 on site 0; int64 [n_sites].

    Nearest-neighbor bonds may leave separate parts, such as the chains of a rectangular lattice.
    Then the signs also alternate along the shortest bonds that join the parts, so that they are
    unique. Where that is impossible, the first site of each remaining part has sign +1.

    Args:
        cell: The unit cell.
        extent: Number of cells along each axis.
        periodic: Whether each axis is periodic.
        neighbor_distance: Length of the nearest-neighbor bonds.

    Returns:
        The signs, or None if a loop of nearest-neighbor bonds has odd length.
    """
    n_sites = math.prod(extent) * cell.n_sublattices
    bonds = np.zeros((2, 0), dtype=np.int64)
    colors = np.stack([np.arange(n_sites), n_sites + np.arange(n_sites)])
    for shell in _shells(cell, extent, periodic, neighbor_distance):
        part = colors.min(0)
        joining = shell[:, part[shell[0]] != part[shell[1]]] if bonds.size else shell
        candidate = np.concatenate([bonds, joining], axis=1)
        found = _double_cover(candidate, n_sites)
        if (found[0] == found[1]).any():
            if not bonds.size:
                return None
            break
        bonds, colors = candidate, found
        if colors.max() < 2:
            break
    return np.where(colors[0] < colors[1], 1, -1)


def _double_cover(bonds: np.ndarray, n_sites: int) -> np.ndarray:
    """Connected components [2, n_sites] of the double cover of a graph with bonds [2, n_bonds].

    Each site has two copies, and each bond joins copies of opposite sign. Both copies of a site are
    connected exactly when the site is on a loop of odd length, which forbids alternating signs.
    """
    ones = np.ones(bonds.shape[1], dtype=np.int8)
    cover = coo_array((ones, (bonds[0], bonds[1] + n_sites)), (2 * n_sites, 2 * n_sites))
    return connected_components(cover, directed=False)[1].reshape(2, n_sites)


def _shells(
    cell: UnitCell, extent: IntVector, periodic: tuple[bool, ...], shortest: float
) -> Iterator[np.ndarray]:
    """The bonds [2, n_bonds] of the finite lattice, shell by shell, up to very long ones."""
    cells = np.arange(math.prod(extent)) * cell.n_sublattices
    n_orbits, cutoff = 0, shortest
    while True:
        try:
            orbits = orbits_within(cell, cutoff)
        except InputError:  # the parts are so far apart that they have no relation
            return
        for _, shell in groupby(orbits[n_orbits:], key=lambda orbit: orbit.squared_distance):
            bonds = [np.zeros((2, 0), dtype=np.int64)]
            for source, destination, offset in (b for orbit in shell for b in orbit.bonds):
                start, present = shifted_cells(extent, periodic, offset)
                ends = start * cell.n_sublattices + source, cells + destination
                bonds.append(np.stack(ends)[:, present])
            yield np.concatenate(bonds, axis=1)
        n_orbits, cutoff = len(orbits), 1.5 * cutoff
