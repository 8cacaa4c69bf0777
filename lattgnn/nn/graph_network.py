"""A force network of any PyG convolution, such as GATv2Conv, RGCNConv or GraphConv."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from lattgnn.errors import InputError
from lattgnn.graph import LatticeGraph, graph_operator
from lattgnn.lattice import Lattice, bond_orbits
from lattgnn.nn.energy_head import energy_and_forces
from lattgnn.nn.force_network import ForceNetwork, bond_length, cells_spanned
from lattgnn.symmetry import FieldType
from lattgnn.trust import import_object

EdgeFeatures = Literal["none", "orbit", "distance", "vector"]


@dataclass(frozen=True)
class ConvLayers:
    """The convolutions of a `GraphNetwork`.

    Args:
        conv: Import path of the PyG class, such as "torch_geometric.nn.GATv2Conv". Its ``forward``
            takes (x, edge_index, ...).
        channels: Widths of the layers between the field and the result.
        arguments: Further arguments of the class, such as {"heads": 1, "concat": False}.
        edge_features: Features of a bond, for classes that take ``edge_attr``: "orbit" (one-hot),
            "distance", "vector" (Cartesian components, source to destination) or "none".
        normalize: Whether to pass the weights 1/√(d_i d_j), where d is the number of neighbors, to
            a class that takes ``edge_weight``.
        activation: Name of the function between the layers, from `torch.nn.functional`.
    """

    conv: str = "torch_geometric.nn.GATv2Conv"
    channels: tuple[int, ...] = (32, 32, 32)
    arguments: dict[str, Any] = field(default_factory=dict)
    edge_features: EdgeFeatures = "orbit"
    normalize: bool = False
    activation: str = "silu"

    def conv_class(self) -> type[nn.Module]:
        """The PyG class.

        Raises:
            InputError: If the path does not name a PyG convolution, or a file names a module that
                is not trusted.
        """
        try:
            found = import_object(self.conv)
        except InputError:
            raise
        except (ImportError, AttributeError, ValueError):
            found = None
        if not (isinstance(found, type) and issubclass(found, MessagePassing)):
            raise InputError(
                f"conv must name a convolution of PyG, got {self.conv!r}. "
                "Use torch_geometric.nn.GATv2Conv."
            )
        return found

    def activate(self) -> Callable[[Tensor], Tensor]:
        """The function between the layers."""
        found = getattr(nn.functional, self.activation, None)
        if found is None:
            raise InputError(
                f"activation must be a function of torch.nn.functional, got {self.activation!r}. "
                "Use 'silu'."
            )
        return found


class GraphNetwork(ForceNetwork):
    r"""Convolutions of PyG on the bonds up to a cutoff, followed by a direct or an energy head.

    The layers receive what their signatures ask for: ``edge_type``, the orbit of each bond (with
    ``num_relations``), ``edge_attr`` (with ``edge_dim``) and ``edge_weight``. The samples of a
    batch are a disjoint union of copies of the graph, so every layer of PyG works.

    The direct head gives F = b tanh(y) for a scalar field and F = y / √(1 + |y|²/b²) for a vector,
    where b is the bound on the electronic force. The energy head gives :math:`E = \sum_i y_i` and
    F = −∂E/∂field.

    **Symmetry.** Layers that only depend on the orbits or lengths of bonds preserve the whole space
    group for a scalar field. Layers that depend on bond vectors preserve translations only, and so
    does every network of a field with components, because the layers mix the components freely; see
    :attr:`symmetry`.

    Args:
        lattice: Determines the orbits of bonds. The parameters fit every extent of the same
            lattice.
        field_type: Kind of the field, from the Hamiltonian; its ``force_bound`` is b.
        layers: The convolutions.
        cutoff: Longest bond, in units of the nearest-neighbor distance.
        conservative: Whether to use the energy head instead of the direct head. It needs layers
            that can be differentiated twice.
        bounded: Whether the direct head has the bound b.
        field_scale: Value of the field that enters as 1.

    Raises:
        InputError: If an argument does not fit the lattice or the field.
    """

    def __init__(
        self,
        lattice: Lattice,
        field_type: FieldType,
        layers: ConvLayers = ConvLayers(),
        cutoff: float = 1.5,
        conservative: bool = False,
        bounded: bool = True,
        field_scale: float = 1.0,
    ):
        super().__init__()
        if not layers.channels or min(layers.channels) < 1:
            raise InputError(
                f"channels must be one or more widths of at least 1, got {layers.channels!r}. "
                "Use [32, 32]."
            )
        if not field_scale > 0:
            raise InputError(f"field_scale must be positive, got {field_scale!r}. Use 1.0.")
        self.field_type, self.layers = field_type, layers
        self.cutoff = bond_length(lattice, cutoff)
        self.conservative, self.bounded, self.field_scale = conservative, bounded, field_scale
        self.hyperparameters = dict(
            field_type=field_type,
            layers=layers,
            cutoff=cutoff,
            conservative=conservative,
            bounded=bounded,
            field_scale=field_scale,
        )
        n_components = max(1, field_type.n_components)
        widths = (n_components, *layers.channels, 1 if conservative else n_components)
        self.widths = widths[1:]
        made, arguments = layers.conv_class(), self._conv_arguments(lattice)
        self.activation = layers.activate()
        try:
            self.convs = nn.ModuleList(made(a, b, **arguments) for a, b in pairwise(widths))
        except TypeError as error:
            raise InputError(
                f"arguments must be those of {layers.conv}, got {sorted(layers.arguments)}: "
                f"{error}. See its documentation."
            ) from None
        self.receptive_field = cells_spanned(lattice, self.cutoff, len(self.convs))

    @property
    def symmetry(self) -> str:
        """The symmetry that the network preserves: "space group" or "translations"."""
        has_components = self.field_type.n_components > 0
        knows_directions = "edge_attr" in self._inputs and self.layers.edge_features == "vector"
        if has_components or knows_directions or self.field_type.representation != "trivial":
            return "translations"
        return "space group"

    def forward(
        self, field: Float[Tensor, "batch n_sites *components"], graph: LatticeGraph
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites *components"]]:
        """Electronic energy (None for a direct head) and electronic force."""
        if self.conservative:
            return energy_and_forces(lambda q: self.site_energies(q, graph).sum(1), field)
        forces = self._outputs(field, graph).view(field.shape)
        bound = self.field_type.force_bound if self.bounded else None
        if bound is None:
            return None, forces
        if self.field_type.n_components == 0:
            return None, bound * torch.tanh(forces)
        # The bound of a vector is that of its length, as in `OrbitNetwork`.
        square = forces.square().sum(-1, keepdim=True)
        return None, forces * torch.rsqrt(1 + square / bound**2)

    def site_energies(
        self, field: Float[Tensor, "batch n_sites *components"], graph: LatticeGraph
    ) -> Float[Tensor, "batch n_sites"]:
        """The energy of each site; the electronic energy is their sum."""
        if not self.conservative:
            return super().site_energies(field, graph)
        return self._outputs(field, graph).view(field.shape[:2])

    def energy_constants(self) -> list[Tensor]:
        """The bias of the last layer, if it has one."""
        bias = getattr(self.convs[-1], "bias", None)
        return [bias] if self.conservative and isinstance(bias, nn.Parameter) else []

    def _outputs(self, field: Tensor, graph: LatticeGraph) -> Float[Tensor, "batch_sites outputs"]:
        x = field.reshape(field.shape[0] * field.shape[1], -1) / self.field_scale
        edges, inputs = self._edges(graph, len(field))
        for number, (conv, width) in enumerate(zip(self.convs, self.widths, strict=True)):
            x = conv(self.activation(x) if number else x, edges, **inputs)
            if x.shape[-1] != width:
                raise InputError(
                    f"layers must give {width} channels here, got {x.shape[-1]} from "
                    f"{self.layers.conv}. With several heads use arguments: {{concat: false}}."
                )
        return x

    @property
    def _inputs(self) -> set[str]:
        return set(inspect.signature(self.layers.conv_class().forward).parameters)

    def _edges(self, graph: LatticeGraph, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The edges of `batch` copies of the graph, and the further inputs of the layers."""
        known, inputs = self._inputs, {}
        if "edge_type" in known:
            inputs["edge_type"] = edge_types(graph).repeat(batch)
        if "edge_attr" in known and self.layers.edge_features != "none":
            inputs["edge_attr"] = edge_features(graph, self.layers.edge_features).repeat(batch, 1)
        if "edge_weight" in known and self.layers.normalize:
            inputs["edge_weight"] = normalized_weights(graph).repeat(batch)
        return batched_edges(graph, batch), inputs

    def _conv_arguments(self, lattice: Lattice) -> dict[str, Any]:
        known = inspect.signature(self.layers.conv_class().__init__).parameters
        arguments: dict[str, Any] = {}
        n_orbits = len(bond_orbits(lattice, self.cutoff))
        if "num_relations" in known:
            arguments["num_relations"] = n_orbits
        if "edge_dim" in known and self.layers.edge_features != "none":
            widths = {"orbit": n_orbits, "distance": 1, "vector": lattice.dim}
            arguments["edge_dim"] = widths[self.layers.edge_features]
        arguments |= self.layers.arguments
        return arguments


@graph_operator
def batched_edges(graph: LatticeGraph, batch: int) -> Tensor:
    """The edge_index of a disjoint union of `batch` copies of the graph."""
    edges = graph.edge_index
    assert edges is not None
    first = graph.lattice.n_sites * torch.arange(batch, device=edges.device)
    # Copy k is the same edges with k·n_sites added to both ends.
    return (edges[:, None] + first[:, None]).flatten(1)


def edge_types(graph: LatticeGraph) -> Tensor:
    """The orbit of each bond."""
    return graph["edge_type"]


@graph_operator
def edge_features(
    graph: LatticeGraph, kind: Literal["orbit", "distance", "vector"]
) -> Float[Tensor, "n_edges features"]:
    """Features of each bond: its orbit (one-hot), its length, or its vector.

    Lengths and vectors are in units of the nearest-neighbor distance.
    """
    if kind == "orbit":
        return nn.functional.one_hot(edge_types(graph), graph["n_orbits"]).to(graph.dtype)
    lattice = graph.lattice
    displacement = lattice.bonds(graph.cutoff).displacement / lattice.neighbor_distance
    vectors = torch.from_numpy(displacement)
    if kind == "distance":
        vectors = vectors.norm(dim=1, keepdim=True)
    return vectors.to(graph.device, graph.dtype)


@graph_operator
def normalized_weights(graph: LatticeGraph) -> Float[Tensor, " n_edges"]:
    """1/√(d_i d_j) for each bond, where d is the number of bonds that end on a site."""
    edges = graph.edge_index
    assert edges is not None
    degree = torch.bincount(edges[1], minlength=graph.lattice.n_sites).clamp(min=1)
    scale = degree.to(graph.dtype).rsqrt()
    return scale[edges[0]] * scale[edges[1]]
