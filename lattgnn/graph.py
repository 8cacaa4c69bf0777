"""From lattice to network: the PyG graph, the sparse matrix of each orbit, and the group acting on fields.

Topology belongs to the lattice, never to a sample: one graph is built for a lattice and a cutoff, and every batch
of fields shares it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch_geometric.data import Data

from lattgnn.lattice import Bonds, Lattice, bond_orbits


@lru_cache(maxsize=16)
def _bonds(lattice: Lattice, cutoff: float) -> Bonds:
    return bond_orbits(lattice, cutoff).edges()


def lattice_graph(lattice: Lattice, cutoff: float) -> Data:
    """The lattice as a directed PyG graph, every bond up to `cutoff` an edge typed by its orbit.

    Args:
        lattice: The finite lattice.
        cutoff: Largest length of a bond, in the units of the lattice.

    Returns:
        Data with `edge_index` int64 [2, n_edges] (row 0 source j, row 1 destination i, sorted by destination, then
        orbit, then source), `edge_type` int64 [n_edges] (number of the orbit), `pos` float64 [n_sites, dim],
        `num_nodes` and `n_orbits`. A new Data object on shared tensors: do not write into them.

    Raises:
        ValueError: If the extent is too small for the cutoff.
    """
    edge_index, edge_type, pos = _graph_tensors(lattice, float(cutoff))
    n_orbits = len(bond_orbits(lattice, cutoff))
    return Data(edge_index=edge_index, edge_type=edge_type, pos=pos, num_nodes=lattice.n_sites, n_orbits=n_orbits)


@lru_cache(maxsize=16)
def _graph_tensors(lattice: Lattice, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    bonds = _bonds(lattice, cutoff)
    edge_index = torch.from_numpy(np.stack([bonds.source, bonds.destination]))
    return edge_index, torch.from_numpy(bonds.orbit.copy()), torch.from_numpy(lattice.positions.copy())


@dataclass(frozen=True, eq=False)
class OrbitMatrices:
    """One sparse matrix for each orbit of bonds: (A_o x)_i = Σ x_j over the bonds j → i of orbit o.

    Attributes:
        matrices: For each orbit, torch.sparse_csr [n_sites, n_sites] of ones: A_o[i, j] = 1 for a bond j → i.
        reverse: For each orbit the one of the reversed bonds: A_o^T = A_reverse[o].
    """

    matrices: tuple[Tensor, ...]
    reverse: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.matrices)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> OrbitMatrices:
        """The same matrices on another device or in another precision."""
        with _silent():
            moved = tuple(m.to(device=device, dtype=dtype) for m in self.matrices)
        return OrbitMatrices(moved, self.reverse)


def orbit_matrices(
    lattice: Lattice, cutoff: float, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> OrbitMatrices:
    """The CSR matrix of each orbit of bonds, cached.

    Args:
        lattice: The finite lattice.
        cutoff: Largest length of a bond, in the units of the lattice.
        dtype: Precision of the ones.
        device: Where the matrices live.

    Raises:
        ValueError: If the extent is too small for the cutoff.
    """
    return _orbit_matrices(lattice, float(cutoff), dtype, torch.device(device))


@lru_cache(maxsize=16)
def _orbit_matrices(lattice: Lattice, cutoff: float, dtype: torch.dtype, device: torch.device) -> OrbitMatrices:
    bonds, orbits = _bonds(lattice, cutoff), bond_orbits(lattice, cutoff).orbits
    matrices = []
    for orbit in orbits:
        mine = bonds.orbit == orbit.index
        # Bonds come sorted by (destination, orbit, source): within an orbit they are in CSR order already.
        ends = np.bincount(bonds.destination[mine] + 1, minlength=lattice.n_sites + 1).cumsum()
        columns = bonds.source[mine]
        matrices.append(_csr(ends, columns, lattice.n_sites, dtype, device))
    return OrbitMatrices(tuple(matrices), tuple(orbit.reverse for orbit in orbits))


def _csr(ends: np.ndarray, columns: np.ndarray, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with _silent():
        return torch.sparse_csr_tensor(
            torch.from_numpy(ends),
            torch.from_numpy(columns),
            torch.ones(len(columns), dtype=dtype),
            (n, n),
            device=device,
            check_invariants=False,  # correct by construction, and tested
        )


class _silent(warnings.catch_warnings):
    """Silence torch's notice that CSR support is in beta, and nothing else."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)


def apply_operation(
    field: Shaped[Tensor, "... n_sites"], permutation: Tensor | np.ndarray
) -> Shaped[Tensor, "... n_sites"]:
    """The field after a symmetry operation has moved its sites: (g φ)[perm[i]] = φ[i].

    Args:
        field: One scalar a site.
        permutation: [n_sites], a row of `site_permutations` or a `translation_permutation`.
    """
    target = torch.as_tensor(permutation, device=field.device)
    return torch.empty_like(field).index_copy(-1, target, field)


def to_pyg(sample: Mapping[str, Tensor], graph: Data) -> Data:
    """One sample as a PyG `Data` of its own, for whoever wants to batch graphs the PyG way.

    Args:
        sample: Tensors of one sample; those whose first axis is the sites become node features, all others stay.
        graph: The graph of the lattice, from `lattice_graph`; its tensors are shared, not copied.

    Returns:
        A copy of `graph` with one attribute a key.

    Raises:
        ValueError: If the field has another number of sites than the graph, or a key would overwrite the graph.
    """
    data = Data(**graph.to_dict())
    for key, value in sample.items():
        data[key] = value
    return data
