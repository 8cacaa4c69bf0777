"""From lattice to network: the PyG graph that every network receives, and the group acting on fields.

Topology belongs to the lattice, never to a sample: one graph is built for a lattice and a cutoff, and every
batch of fields shares it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torch_geometric.data import Data

from lattgnn.errors import InputError
from lattgnn.lattice import Lattice, bond_orbits

P = ParamSpec("P")
T = TypeVar("T")


class Operators(dict[tuple, Any]):
    """What networks have computed from a graph, by name and arguments; see `graph_operator`.

    Copies of a graph share it. A pickled graph leaves it behind, and computes it again where it is needed.
    """

    def __copy__(self) -> Operators:
        return self

    def __deepcopy__(self, memo: dict) -> Operators:
        return self

    def __reduce__(self) -> tuple:
        return Operators, ()


class LatticeGraph(Data):
    """A finite lattice as a directed PyG graph, each bond up to a cutoff an edge typed by its orbit.

    PyG attributes, made when one of them is first used:

    - `edge_index`: int64 [2, n_edges], row 0 the source j and row 1 the destination i of each bond, sorted by
      destination, then orbit, then source;
    - `edge_type`: int64 [n_edges], the orbit of each bond;
    - `pos`: float64 [n_sites, dim], Cartesian;
    - `num_nodes` and `n_orbits`.

    All graphs of a lattice share these tensors and their operators: do not write into them.

    Args:
        lattice: The finite lattice. None makes an empty graph, which PyG fills when it takes batches apart.
        cutoff: Largest bond length, in the units of the lattice.
        dtype: Precision of the operators that networks derive from the graph.
        device: Where its tensors and operators live.

    Raises:
        InputError: If the extent is too small for the cutoff.
    """

    lattice: Lattice
    cutoff: float
    dtype: torch.dtype
    device: torch.device
    operators: Operators
    """Results of the functions marked `graph_operator`."""

    def __init__(
        self,
        lattice: Lattice | None = None,
        cutoff: float = 1.0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        # Plain attributes, not PyG ones: they are no data of nodes or edges and are never collated.
        attributes = {"lattice": lattice, "dtype": dtype, "device": torch.device(device)}
        self.__dict__.update(attributes, cutoff=cutoff, _is_filled=lattice is None)
        super().__init__()
        if lattice is not None:
            self._take_operators()

    @property
    def _store(self) -> Any:
        """PyG's storage behind all of its attributes and methods, filled when it is first used.

        Networks in production only need the check of the extent: for a million sites the edges would take
        most of the memory, so nothing may make them before somebody asks.
        """
        store = self.__dict__["_store"]
        if not self.__dict__["_is_filled"]:
            self.__dict__["_is_filled"] = True
            tensors = _graph_tensors(self.lattice, self.cutoff)
            for name, tensor in zip(("edge_index", "edge_type", "pos"), tensors, strict=True):
                store[name] = tensor.to(self.device)
            store["num_nodes"] = self.lattice.n_sites
            store["n_orbits"] = len(bond_orbits(self.lattice, self.cutoff))
        return store

    def apply(self, func: Callable, *args: str) -> LatticeGraph:
        """Apply a function to all tensors, or to those named, in place as PyG does; `to` and `cuda` use it."""
        super().apply(func, *args)
        if self.lattice is not None and self._store["pos"].device != self.device:
            self.__dict__["device"] = self._store["pos"].device
            self._take_operators()
        return self

    def _take_operators(self) -> None:
        key = (self.lattice, float(self.cutoff), self.dtype, self.device)
        self.__dict__["operators"] = _shared_operators(*key)


def lattice_graph(
    lattice: Lattice,
    cutoff: float,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> LatticeGraph:
    """The graph of a lattice: see `LatticeGraph`.

    Args:
        lattice: The finite lattice.
        cutoff: Largest bond length, in the units of the lattice.
        dtype: Precision of the operators that networks derive from the graph.
        device: Where its tensors and operators live.

    Raises:
        InputError: If the extent is too small for the cutoff.

    Example:
        >>> from lattgnn.lattice import square
        >>> lattice_graph(square(6), cutoff=1.5)
        LatticeGraph(edge_index=[2, 288], edge_type=[288], pos=[36, 2], num_nodes=36, n_orbits=2)
    """
    return LatticeGraph(lattice, cutoff, dtype, device)


def graph_operator(
    function: Callable[Concatenate[LatticeGraph, P], T],
) -> Callable[Concatenate[LatticeGraph, P], T]:
    """Mark a function of a graph and hashable arguments whose result every caller shares.

    The result is made at the first call and kept in `LatticeGraph.operators`. A matrix that is first used in
    inference mode may be used in training next, so it is made outside of inference mode.
    """

    @wraps(function)
    def shared(graph: LatticeGraph, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (function, *args, *sorted(kwargs.items()))
        if key not in graph.operators:
            with torch.inference_mode(False):
                graph.operators[key] = function(graph, *args, **kwargs)
        return graph.operators[key]

    return cast(Callable[Concatenate[LatticeGraph, P], T], shared)


@lru_cache(maxsize=16)
def _shared_operators(
    lattice: Lattice, cutoff: float, dtype: torch.dtype, device: torch.device
) -> Operators:
    # The check is not free; here it is made once per lattice and cutoff.
    bond_orbits(lattice, cutoff).check_extent()
    return Operators()


@lru_cache(maxsize=8)
def _graph_tensors(lattice: Lattice, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    bonds = bond_orbits(lattice, cutoff).edges()
    edge_index = torch.from_numpy(np.stack([bonds.source, bonds.destination]))
    return (
        edge_index,
        torch.from_numpy(bonds.orbit.copy()),
        torch.from_numpy(lattice.positions.copy()),
    )


def apply_operation(
    field: Shaped[Tensor, ...],
    permutation: Tensor | np.ndarray,
    site_matrices: np.ndarray | None = None,
) -> Shaped[Tensor, ...]:
    """The field after a symmetry operation has moved its sites: (g φ)[perm[i]] = ρ(g) φ[i].

    Args:
        field: [..., n_sites] for a scalar field, [..., n_sites, n_components] with `site_matrices`.
        permutation: [n_sites], a row of `site_permutations` or a `translation_permutation`.
        site_matrices: [n_sublattices, n_components, n_components], what the operation does to the components:
            `field_representation(lattice.cell, text).site_matrices(operation)`.
    """
    target = torch.as_tensor(permutation, device=field.device)
    if site_matrices is None:
        return torch.empty_like(field).index_copy(-1, target, field)
    matrices = torch.from_numpy(site_matrices).to(field)
    # Sites of a cell are next to each other, so each sublattice gets its own matrix.
    cells = field.unflatten(-2, (-1, len(matrices)))
    turned = torch.einsum("scd,...nsd->...nsc", matrices, cells).reshape(field.shape)
    return torch.empty_like(field).index_copy(-2, target, turned)


def to_pyg(sample: Mapping[str, Tensor], graph: Data) -> Data:
    """One sample as a PyG `Data` of its own, to batch graphs the PyG way.

    Args:
        sample: Tensors by name, such as field [n_sites], forces [n_sites] and energy []. As usual in PyG, the
            sites are the first axis.
        graph: The graph of the lattice, from `lattice_graph`. Its tensors are shared, not copied.

    Returns:
        A new `Data` with the attributes of `graph` and of the sample.

    Raises:
        InputError: If a name is one of the graph's own, or a tensor with axes does not have one row per site.
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
