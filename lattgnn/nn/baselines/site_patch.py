"""The patch of all sites within a cutoff of a site, for networks that read a fixed neighborhood."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.graph import LatticeGraph, graph_operator
from lattgnn.lattice import Lattice, bond_orbits, space_group


@dataclass(frozen=True, eq=False)
class Patch:
    """The sites within a cutoff of a site, itself first, and how the point group permutes them.

    Attributes:
        offsets: Cell of each site of the patch, int64 [n_patch, dim].
        shells: Slices of the patch whose sites the point group maps onto each other.
        permutations: Position of the patch to which operation g (row) takes each position (column),
            int64 [n_operations, n_patch].
    """

    offsets: np.ndarray
    shells: tuple[slice, ...]
    permutations: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets)


def patch(lattice: Lattice, cutoff: float) -> Patch:
    """The patch around any site; all sites must be equivalent by translation.

    Args:
        lattice: A lattice with one site per cell; its extent does not matter.
        cutoff: Radius of the patch, in the units of the lattice.

    Raises:
        InputError: If the lattice has more sites per cell.
    """
    if lattice.n_sublattices > 1:
        raise InputError(
            "lattice must have one site per cell for one patch to fit all sites, got "
            f"{lattice.name} with {lattice.n_sublattices}. "
            "Use a network on bonds, such as GraphNetwork."
        )
    offsets, shells = [(0,) * lattice.dim], [slice(0, 1)]
    for orbit in bond_orbits(lattice, cutoff).orbits:
        shells.append(slice(len(offsets), len(offsets) + len(orbit.bonds)))
        offsets += [offset for _, _, offset in orbit.bonds]
    place = {offset: k for k, offset in enumerate(offsets)}
    table = np.array(offsets, dtype=np.int64)
    images = [table @ np.array(g.rotation).T for g in space_group(lattice.cell).site_group(0)]
    permutations = np.array([[place[tuple(cell)] for cell in image.tolist()] for image in images])
    return Patch(table, tuple(shells), permutations)


def check_periodic(lattice: Lattice) -> None:
    """Refuse a lattice with an open boundary, where patches would be incomplete.

    Raises:
        InputError: If a boundary is open.
    """
    if not all(lattice.periodic):
        raise InputError(
            f"lattice must be periodic along all axes for a whole patch around each site, got"
            f" periodic={lattice.periodic}. Use GraphNetwork or OrbitNetwork at open boundaries."
        )


@graph_operator
def patch_table(graph: LatticeGraph, cutoff: float) -> Int[Tensor, "n_sites n_patch"]:
    """The sites of the patch around each site of a periodic lattice.

    A patch wider than the lattice overlaps its own periodic images.
    """
    lattice = graph.lattice
    cells = (lattice.cells[:, None] + patch(lattice, cutoff).offsets) % np.array(lattice.extent)
    sites = lattice.ravel(cells, np.zeros(cells.shape[:-1], dtype=np.int64))
    return torch.from_numpy(sites).to(graph.device)


def patch_values(
    field: Float[Tensor, "batch n_sites"], table: Int[Tensor, "n_sites n_patch"]
) -> Float[Tensor, "n_sites batch n_patch"]:
    """The field on the patch around each site."""
    # The backward pass of index_select is a plain sum over rows, several times faster than that
    # of indexing.
    rows = field.T.index_select(0, table.reshape(-1))
    return rows.view(*table.shape, len(field)).transpose(1, 2)
