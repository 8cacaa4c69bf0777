"""The orbit convolution: one weight for each equivariant kernel, one sparse product an input, one GEMM an output."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from lattgnn.lattice import Lattice, SiteType, orbit_kernels
from lattgnn.nn.features import Features
from lattgnn.nn.kernel_graph import KernelGraph, SparseMap


class OrbitConv(MessagePassing):
    r"""The most general linear map between channels that commutes with the space group, up to a cutoff.

    .. math:: y_i = b + \sum_{j \to i} K_{ij} x_j, \qquad K_{g(ij)} = \rho_{out}(g) K_{ij} \rho_{in}(g)^{-1}

    The kernel of an orbit of bonds is :math:`K = \sum_p W_p \otimes B_p`, with the lattice's fixed basis
    :math:`B_p` (`lattice.orbit_kernels`) and one weight matrix :math:`W_p` between channels for each of its
    elements. Scalars give one weight matrix an orbit, the regular representation the group convolution,
    irreps the steerable one. Biases belong to invariant channels alone.

    The sums :math:`\sum_j B_p x_j` are one CSR product for each input block; the weights follow in one GEMM
    for each output block. :meth:`reference` does the sums by PyG's gather and scatter instead.

    Args:
        lattice: Fixes orbits and kernels; its extent plays no part.
        inputs: Blocks of channels that come in.
        outputs: Blocks that go out.
        cutoff: Longest bond; None acts on each site alone.
        bias: Add b to invariant channels.
    """

    def __init__(
        self,
        lattice: Lattice,
        inputs: Features,
        outputs: Features,
        cutoff: float | None = None,
        bias: bool = True,
    ):
        super().__init__(aggr="add", node_dim=0)
        self.inputs, self.outputs, self.cutoff = inputs, outputs, cutoff
        kernels = {
            (a, b): _count(lattice, inputs[a].type, outputs[b].type, cutoff)
            for a in range(len(inputs))
            for b in range(len(outputs))
            if inputs[a].internal == outputs[b].internal
        }
        self.n_kernels = {pair: counts for pair, counts in kernels.items() if sum(counts)}
        """Kernels of a site with itself and of bonds, for (number of the input, number of the output)."""
        self.targets = [self._targets(a) for a in range(len(inputs))]
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for b, block in enumerate(outputs):
            fan_in = sum(
                inputs[a].channels * sum(counts) for (a, to), counts in self.n_kernels.items() if to == b
            )
            if fan_in:
                self.weights[str(b)] = nn.Parameter(torch.empty(block.channels, fan_in))
                nn.init.kaiming_uniform_(self.weights[str(b)], a=math.sqrt(5))
            if bias and block.is_invariant:
                self.biases[str(b)] = nn.Parameter(torch.zeros(block.channels))

    def forward(
        self, x: Sequence[Float[Tensor, "rows batch channels"]], graph: KernelGraph
    ) -> list[Float[Tensor, "rows batch channels"]]:
        """Apply the layer to its input blocks; `graph` is that of the finite lattice."""
        return self._apply_kernels(x, graph, SparseMap.__call__)

    def reference(
        self, x: Sequence[Float[Tensor, "rows batch channels"]], graph: KernelGraph
    ) -> list[Float[Tensor, "rows batch channels"]]:
        """The same through PyG's gather and scatter, which torch-scatter serves where it is installed."""
        return self._apply_kernels(x, graph, self._scatter)

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        """The message along an entry of a kernel: the source's component times the entry."""
        return weight[:, None, None] * x_j

    def reaches_all(self) -> bool:
        """Whether every input block has a way to an output, and every output block one from an input."""
        ends = [{pair[k] for pair in self.n_kernels} for k in (0, 1)]
        return len(ends[0]) == len(self.inputs) and len(ends[1]) == len(self.outputs)

    def _apply_kernels(
        self, x: Sequence[Tensor], graph: KernelGraph, product: Callable[[SparseMap, Tensor], Tensor]
    ) -> list[Tensor]:
        columns: list[list[Tensor]] = [[] for _ in self.outputs]
        for a, (block, value) in enumerate(zip(self.inputs, x, strict=True)):
            targets = self.targets[a]
            bonds: dict[SiteType, list[Tensor]] = {}
            if targets and self.cutoff is not None:
                stacked = product(graph.sums(block.type, tuple(targets), self.cutoff), value)
                bonds = _split(stacked, [(t, n, graph.n_rows(t)) for t, n in targets.items()])
            for b, out in enumerate(self.outputs):
                on_site, _ = self.n_kernels.get((a, b), (0, 0))
                if on_site == 1 and block.type == out.type:
                    columns[b].append(value)  # the kernel is the identity
                elif on_site:
                    own = product(graph.on_site(block.type, out.type), value)
                    columns[b] += own.chunk(on_site)
                if (a, b) in self.n_kernels:
                    columns[b] += bonds.get(out.type, [])
        return [self._mix(b, columns[b], x, graph) for b in range(len(self.outputs))]

    def _mix(self, b: int, columns: list[Tensor], x: Sequence[Tensor], graph: KernelGraph) -> Tensor:
        block = self.outputs[b]
        bias = self.biases[str(b)] if str(b) in self.biases else None
        if columns:
            stacked = columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1)
            return nn.functional.linear(stacked, self.weights[str(b)], bias)
        batch = x[0].shape[1] // self.inputs[0].internal.dim
        shape = (graph.n_rows(block.type), batch * block.internal.dim, block.channels)
        return x[0].new_zeros(shape) if bias is None else bias.expand(shape)

    def _scatter(self, sparse: SparseMap, x: Tensor) -> Tensor:
        edge_index, weight = sparse.edges
        return self.propagate(edge_index, x=(x, None), weight=weight, size=sparse.matrix.shape[::-1])

    def _targets(self, a: int) -> dict[SiteType, int]:
        """The types of outputs that bonds reach from an input block, with the number of kernels."""
        return {self.outputs[b].type: n for (source, b), (_, n) in self.n_kernels.items() if source == a and n}


def _count(lattice: Lattice, source: SiteType, destination: SiteType, cutoff: float | None) -> tuple[int, int]:
    """Kernels of a site with itself, and of bonds."""
    found = orbit_kernels(lattice.cell, source, destination, cutoff)
    on_site = sum(len(kernels) for kernels in found if kernels.orbit < 0)
    return on_site, sum(map(len, found)) - on_site


def _split(stacked: Tensor, shapes: list[tuple[SiteType, int, int]]) -> dict[SiteType, list[Tensor]]:
    """The rows of each destination and kernel."""
    sizes = [rows for _, n, rows in shapes for _ in range(n)]
    pieces = iter(stacked.split(sizes))
    return {site_type: [next(pieces) for _ in range(n)] for site_type, n, _ in shapes}

