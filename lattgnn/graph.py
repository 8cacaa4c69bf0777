"""From lattice to network: the PyG graph, the sparse matrix of each orbit, and the group acting on fields.

Topology belongs to the lattice, never to a sample: one graph is built for a lattice and a cutoff, and every
batch of fields shares it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch_geometric.data import Data

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, bond_orbits


def lattice_graph(lattice: Lattice, cutoff: float) -> Data:
    """The lattice as a directed PyG graph, every bond up to `cutoff` an edge typed by its orbit.

    Args:
        lattice: The finite lattice.
        cutoff: Largest length of a bond, in the units of the lattice.

    Returns:
        Data with `edge_index` int64 [2, n_edges] (row 0 source j, row 1 destination i, sorted by destination,
        then orbit, then source), `edge_type` int64 [n_edges] (number of the orbit), `pos` float64
        [n_sites, dim], `num_nodes` and `n_orbits`. All calls share the tensors: do not write into them.

    Raises:
        ValueError: If the extent is too small for the cutoff.
    """
    edge_index, edge_type, pos = _graph_tensors(lattice, float(cutoff))
    return Data(
        edge_index=edge_index,
        edge_type=edge_type,
        pos=pos,
        num_nodes=lattice.n_sites,
        n_orbits=len(bond_orbits(lattice, cutoff)),
    )


@lru_cache(maxsize=8)
def _graph_tensors(lattice: Lattice, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    bonds = bond_orbits(lattice, cutoff).edges()
    edge_index = torch.from_numpy(np.stack([bonds.source, bonds.destination]))
    return (
        edge_index,
        torch.from_numpy(bonds.orbit.copy()),
        torch.from_numpy(lattice.positions.copy()),
    )


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

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> OrbitMatrices:
        """The same matrices on another device or in another precision."""
        with _silent():
            moved = tuple(m.to(device=device, dtype=dtype) for m in self.matrices)
        return OrbitMatrices(moved, self.reverse)


def orbit_matrices(
    lattice: Lattice,
    cutoff: float,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
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


@lru_cache(maxsize=8)
def _orbit_matrices(
    lattice: Lattice, cutoff: float, dtype: torch.dtype, device: torch.device
) -> OrbitMatrices:
    edge_index, edge_type, _ = _graph_tensors(lattice, cutoff)
    orbits = bond_orbits(lattice, cutoff).orbits
    matrices = []
    for orbit in orbits:
        # Edges come sorted by (destination, orbit, source): within an orbit they are in CSR order already.
        source, destination = edge_index[:, edge_type == orbit.index]
        ends = torch.bincount(destination + 1, minlength=lattice.n_sites + 1).cumsum(0)
        ones = torch.ones(len(source), dtype=dtype)
        matrices.append(csr_tensor(ends, source, ones, (lattice.n_sites, lattice.n_sites), device))
    return OrbitMatrices(tuple(matrices), tuple(orbit.reverse for orbit in orbits))


def csr_tensor(
    row_ends: Tensor,
    columns: Tensor,
    values: Tensor,
    shape: tuple[int, int],
    device: torch.device | str = "cpu",
) -> Tensor:
    """A torch.sparse_csr matrix from its arrays, right by construction: nothing is checked."""
    with _silent():
        return torch.sparse_csr_tensor(
            row_ends, columns, values, shape, device=device, check_invariants=False
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Silence torch's notice that CSR support is in beta, and nothing else."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)
        yield


def apply_operation(
    field: Shaped[Tensor, ...],
    permutation: Tensor | np.ndarray,
    site_matrices: np.ndarray | None = None,
) -> Shaped[Tensor, ...]:
    """The field after a symmetry operation has moved its sites: (g φ)[perm[i]] = ρ(g) φ[i].

    Args:
        field: [..., n_sites], one scalar a site; with `site_matrices` [..., n_sites, n_components].
        permutation: [n_sites], a row of `site_permutations` or a `translation_permutation`.
        site_matrices: [n_sublattices, n_components, n_components], what the operation does to the components:
            `field_representation(lattice.cell, text).site_matrices(operation)`.
    """
    target = torch.as_tensor(permutation, device=field.device)
    if site_matrices is None:
        return torch.empty_like(field).index_copy(-1, target, field)
    matrices = torch.from_numpy(site_matrices).to(field)
    cells = field.unflatten(-2, (-1, len(matrices)))
    turned = torch.einsum("scd,...nsd->...nsc", matrices, cells).reshape(field.shape)
    return torch.empty_like(field).index_copy(-2, target, turned)


def to_pyg(sample: Mapping[str, Tensor], graph: Data) -> Data:
    """One sample as a PyG `Data` of its own, for whoever wants to batch graphs the PyG way.

    Args:
        sample: Tensors by name, such as field [n_sites], forces [n_sites] and energy []. Sites come first,
            components after, as PyG has it.
        graph: The graph of the lattice, from `lattice_graph`; its tensors are shared, not copied.

    Returns:
        A new `Data` with the attributes of `graph` and of the sample.

    Raises:
        ValueError: If a key is one of the graph's own, or a tensor has axes but not one row a site.
    """
    data = Data(**graph.to_dict())
    for key, value in sample.items():
        if key in data:
            raise InputError(
                f"a sample must not overwrite {sorted(graph.to_dict())} of the graph, got {key!r}. Rename it."
            )
        if value.ndim and value.shape[0] != graph.num_nodes:
            raise InputError(
                f"{key} must be a number or have one row for each of the {graph.num_nodes} sites, got shape"
                f" {tuple(value.shape)}. Pass one sample, not a batch."
            )
        data[key] = value
    return data
