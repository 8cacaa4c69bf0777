"""The PyG graph that every network receives, and the action of the group on fields.

Topology belongs to the lattice, never to a sample: one graph is built for a lattice and a cutoff,
and all batches of fields share it.
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
_MISSING: Any = object()  # None is a possible result of an operator


class Operators(dict[tuple, Any]):
    """Results computed from a graph, by function and arguments; see `graph_operator`.

    Copies of a graph share them. They are not pickled with a graph but computed again when needed.
    """

    def __copy__(self) -> Operators:
        return self

    def __deepcopy__(self, memo: dict) -> Operators:
        return self

    def __reduce__(self) -> tuple:
        return Operators, ()


class LatticeGraph(Data):
    """A finite lattice as a directed PyG graph with an edge for each bond, typed by its orbit.

    PyG attributes, computed when one of them is first used:

    - `edge_index`: int64 [2, n_edges], row 0 the source j and row 1 the destination i of each bond,
      sorted by destination, then orbit, then source;
    - `edge_type`: int64 [n_edges], the orbit of each bond;
    - `pos`: float64 [n_sites, dim], Cartesian;
    - `num_nodes` and `n_orbits`.

    All graphs of a lattice share these tensors and their operators: do not write to them.

    Args:
        lattice: The finite lattice. None creates an empty graph, which PyG fills when it takes
            batches apart.
        cutoff: Largest bond length, in the units of the lattice.
        dtype: Precision of the operators that networks derive from the graph.
        device: Device of its tensors and operators.

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
        # These are plain attributes, not PyG ones: they are not data of nodes or edges, and PyG
        # must not collate them.
        attributes = {"lattice": lattice, "dtype": dtype, "device": torch.device(device)}
        vars(self).update(attributes, cutoff=cutoff, _is_filled=lattice is None)
        super().__init__()
        if lattice is not None:
            self._take_operators()

    @property
    def _store(self) -> Any:
        """PyG's storage behind all of its attributes and methods, filled at first use.

        Networks in production only need the check of the extent. For a million sites the edges
        would take most of the memory, so they must not be computed before they are needed.
        """
        store = vars(self)["_store"]
        if not vars(self)["_is_filled"]:
            vars(self)["_is_filled"] = True
            tensors = _graph_tensors(self.lattice, self.cutoff)
            for name, tensor in zip(("edge_index", "edge_type", "pos"), tensors, strict=True):
                store[name] = tensor.to(self.device)
            store["num_nodes"] = self.lattice.n_sites
            store["n_orbits"] = len(bond_orbits(self.lattice, self.cutoff))
        return store

    def apply(self, func: Callable, *args: str) -> LatticeGraph:
        """Apply a function to all tensors, or to the named ones, in place.

        PyG's `to` and `cuda` call it.
        """
        super().apply(func, *args)
        if self.lattice is not None and self._store["pos"].device != self.device:
            vars(self)["device"] = self._store["pos"].device
            self._take_operators()
        return self

    def _take_operators(self) -> None:
        key = (self.lattice, float(self.cutoff), self.dtype, self.device)
        vars(self)["operators"] = _shared_operators(*key)


def lattice_graph(
    lattice: Lattice,
    cutoff: float,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> LatticeGraph:
    """The graph of a lattice; see `LatticeGraph`.

    Args:
        lattice: The finite lattice.
        cutoff: Largest bond length, in the units of the lattice.
        dtype: Precision of the operators that networks derive from the graph.
        device: Device of its tensors and operators.

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
    """Mark a function of a graph and hashable arguments whose result all callers share.

    The result is computed in the first call and kept in `LatticeGraph.operators`. It is computed
    outside of inference mode, because a matrix first used in inference mode may be used in training
    later.
    """

    @wraps(function)
    def shared(graph: LatticeGraph, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (function, *args, *sorted(kwargs.items()))
        found = graph.operators.get(key, _MISSING)
        if found is _MISSING:
            with torch.inference_mode(False):
                found = graph.operators[key] = function(graph, *args, **kwargs)
        return found

    return cast(Callable[Concatenate[LatticeGraph, P], T], shared)


@lru_cache(maxsize=16)
def _shared_operators(
    lattice: Lattice, cutoff: float, dtype: torch.dtype, device: torch.device
) -> Operators:
    # The check takes time; cached here, it runs only once per lattice and cutoff.
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
        site_matrices: [n_sublattices, n_components, n_components], the action of the operation on
            the components: `field_representation(lattice.cell, text).site_matrices(operation)`.
    """
    target = torch.as_tensor(permutation, device=field.device)
    if site_matrices is None:
        return torch.empty_like(field).index_copy(-1, target, field)
    matrices = torch.from_numpy(site_matrices).to(field)
    # Sites are numbered cell by cell with the sublattice fastest: unflatten to [cell, sublattice]
    # to apply the matrix of each sublattice.
    cells = field.unflatten(-2, (-1, len(matrices)))
    turned = torch.einsum("scd,...nsd->...nsc", matrices, cells).reshape(field.shape)
    return torch.empty_like(field).index_copy(-2, target, turned)


def to_pyg(sample: Mapping[str, Tensor], graph: Data) -> Data:
    """One sample as a separate PyG `Data`, to batch graphs with PyG.

    Args:
        sample: Tensors by name, such as field [n_sites], forces [n_sites] and energy []. As usual
            in PyG, sites are the first axis.
        graph: The graph of the lattice, from `lattice_graph`. Its tensors are shared, not copied.

    Returns:
        A new `Data` with the attributes of `graph` and of the sample.

    Raises:
        InputError: If a name is an attribute of the graph, or a tensor with axes does not have one
        row per site.
    """
    data = Data(**graph.to_dict())
    for key, value in sample.items():
        if key in data:
            raise InputError(
                f"a sample must not overwrite {sorted(graph.to_dict())} of the graph, got "
                f"{key!r}. Rename it."
            )
        if value.ndim and value.shape[0] != graph.num_nodes:
            raise InputError(
                f"{key} must be a number or have one row for each of the {graph.num_nodes} sites, "
                f"got shape {tuple(value.shape)}. Pass one sample, not a batch."
            )
        data[key] = value
    return data
