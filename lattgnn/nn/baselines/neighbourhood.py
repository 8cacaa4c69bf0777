"""What a site sees: its nearest neighbours, or the patch of all sites within a cutoff."""

from dataclasses import dataclass, replace
from functools import lru_cache, reduce

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.graph import orbit_matrices
from lattgnn.lattice import Lattice, bond_orbits, space_group
from lattgnn.nn.kernel_matrices import SparseMap


@dataclass(frozen=True, eq=False)
class NearestNeighbours:
    """Sums over nearest neighbours, all of them alike.

    Attributes:
        orbits: Sums over their bonds; a lattice may have several orbits of the shortest length.
        degree: Neighbours of each site, at least 1.
    """

    orbits: tuple[SparseMap, ...]
    degree: Float[Tensor, "n_sites 1 1"]

    def sum(
        self, x: Float[Tensor, "n_sites batch channels"]
    ) -> Float[Tensor, "n_sites batch channels"]:
        """Sum of ``x`` over the neighbours of each site."""
        return reduce(torch.add, [orbit(x) for orbit in self.orbits])


def nearest_neighbours(lattice: Lattice, like: Tensor) -> NearestNeighbours:
    """The nearest neighbours of every site, in the dtype and on the device of a tensor; cached."""
    return _nearest_neighbours(lattice, like.dtype, like.device)


@lru_cache(maxsize=8)
def _nearest_neighbours(
    lattice: Lattice, dtype: torch.dtype, device: torch.device
) -> NearestNeighbours:
    matrices = orbit_matrices(lattice, lattice.neighbor_distance, dtype, device).matrices
    ones = torch.ones(lattice.n_sites, 1, 1, dtype=dtype, device=device)
    neighbours = NearestNeighbours(tuple(map(SparseMap, matrices)), ones)
    return replace(neighbours, degree=neighbours.sum(ones).clamp(min=1))


@dataclass(frozen=True, eq=False)
class Patch:
    """The sites within a cutoff of a site, the site itself first, as the point group sees them.

    Attributes:
        offsets: Cell of each site of the patch, int64 [n_patch, dim].
        shells: Sites that the point group maps onto each other, as slices of the patch.
        permutations: Row g says to which place of the patch operation g takes each place,
            int64 [n_operations, n_patch].
    """

    offsets: np.ndarray
    shells: tuple[slice, ...]
    permutations: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets)


def patch(lattice: Lattice, cutoff: float) -> Patch:
    """The patch around any site; every site must look alike.

    Args:
        lattice: A lattice with one site a cell; its extent plays no part.
        cutoff: Radius of the patch, in the units of the lattice.

    Raises:
        ValueError: If the lattice has more sites a cell.
    """
    if lattice.n_sublattices > 1:
        raise InputError(
            f"lattice must have one site a cell for one patch to fit all sites, got {lattice.name} with"
            f" {lattice.n_sublattices}. Use a network on bonds, such as PublishedGCN."
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


def patch_table(
    lattice: Lattice, cutoff: float, device: torch.device
) -> Int[Tensor, "n_sites n_patch"]:
    """Sites of the patch around each site of a periodic lattice; cached.

    Where the patch is wider than the lattice it meets its own images: the field goes on periodically.

    Raises:
        ValueError: If a boundary is open; a patch there lacks sites.
    """
    if not all(lattice.periodic):
        raise InputError(
            f"lattice must be periodic along all axes for a whole patch around each site, got"
            f" periodic={lattice.periodic}. Use PublishedGCN or OrbitNetwork at open boundaries."
        )
    return _patch_table(lattice, float(cutoff), device)


@lru_cache(maxsize=8)
def _patch_table(lattice: Lattice, cutoff: float, device: torch.device) -> Tensor:
    cells = (lattice.cells[:, None] + patch(lattice, cutoff).offsets) % np.array(lattice.extent)
    return torch.from_numpy(lattice.ravel(cells, np.zeros(cells.shape[:-1], dtype=np.int64))).to(
        device
    )


def patch_values(
    field: Float[Tensor, "batch n_sites"], table: Int[Tensor, "n_sites n_patch"]
) -> Float[Tensor, "n_sites batch n_patch"]:
    """The field on the patch around each site."""
    # index_select: its backward is a plain sum over rows, several times faster than that of indexing.
    rows = field.T.index_select(0, table.reshape(-1))
    return rows.view(*table.shape, len(field)).transpose(1, 2)
