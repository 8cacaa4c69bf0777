"""The orbit convolution: a weight for each equivariant kernel, sparse products, then one GEMM."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from lattgnn.lattice import Lattice, bond_orbits
from lattgnn.nn.expanded_conv import expanded_conv
from lattgnn.nn.features import Features
from lattgnn.nn.grid_conv import grid_conv, is_grid
from lattgnn.nn.kernel_matrices import KernelGraph, SparseMap
from lattgnn.symmetry import SiteType, orbit_kernels


class OrbitConv(MessagePassing):
    r"""The most general linear map between channels that commutes with the space group, up to a cutoff.

    .. math:: y_i = b + \sum_{j \to i} K_{ij} x_j, \qquad K_{g(ij)} = \rho_{out}(g) K_{ij} \rho_{in}(g)^{-1}

    The kernel of an orbit of bonds is :math:`K = \sum_p W_p \otimes B_p`, with the lattice's fixed basis
    :math:`B_p` (`lattice.orbit_kernels`) and one weight matrix :math:`W_p` between channels for each of its
    elements. Scalars give one weight matrix an orbit, the regular representation the group convolution,
    irreps the steerable one. Biases belong to invariant channels alone.

    The sums :math:`\sum_j B_p x_j` are one CSR product for each input block; the weights follow in one GEMM
    for each output block. Where that is more work than to write out :math:`K_{ij}` for each bond, this is
    done instead. :meth:`reference` does the sums by PyG's gather and scatter.

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
        self.expands = self._reduced_width() > self._expanded_width(lattice)
        """Whether kernels are written out: where that takes less memory than applying each of the basis."""
        self.written_out: dict = {}
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for b, block in enumerate(outputs):
            fan_in = sum(self._widths(b).values())
            if fan_in:
                self.weights[str(b)] = nn.Parameter(torch.empty(block.channels, fan_in))
                nn.init.kaiming_uniform_(self.weights[str(b)], a=math.sqrt(5))
            if bias and block.is_invariant:
                self.biases[str(b)] = nn.Parameter(torch.zeros(block.channels))

    def forward(
        self, x: Sequence[Float[Tensor, "_rows _batch _channels"]], graph: KernelGraph
    ) -> list[Float[Tensor, "_rows _batch _channels"]]:
        """Apply the layer to its input blocks; `graph` is that of the finite lattice."""
        if is_grid(self, x, graph):
            found = grid_conv(self, x, graph)
            return [
                self._finished(b, None, x, graph) if y is None else y for b, y in enumerate(found)
            ]
        return self.expanded(x, graph) if self.expands else self.reduced(x, graph)

    def reduced(self, x: Sequence[Tensor], graph: KernelGraph) -> list[Tensor]:
        """Apply every basis kernel, then the weights: best for scalars and small irreps."""
        return self._apply_kernels(x, graph, SparseMap.__call__)

    def expanded(self, x: Sequence[Tensor], graph: KernelGraph) -> list[Tensor]:
        """Write the kernel of each bond out, then apply it: best for the regular representation."""
        results = expanded_conv(self, x, graph)
        return [self._finished(b, result, x, graph) for b, result in enumerate(results)]

    def reference(self, x: Sequence[Tensor], graph: KernelGraph) -> list[Tensor]:
        """The same through PyG's gather and scatter, which torch-scatter serves where it is installed."""
        return self._apply_kernels(x, graph, self._scatter)

    def weight_of(self, a: int, b: int) -> Float[Tensor, "channels_out kernels channels_in"] | None:
        """The weights of each basis kernel between an input and an output block; None if there is none."""
        if (a, b) not in self.n_kernels:
            return None
        widths = self._widths(b)
        sources = list(widths)
        columns = self.weights[str(b)].split(list(widths.values()), dim=1)[sources.index(a)]
        return columns.unflatten(1, (-1, self.inputs[a].channels))

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        """The message along an entry of a kernel: the source's component times the entry."""
        return weight[:, None, None] * x_j

    def uses_all(self) -> bool:
        """Whether a kernel leads from every input block."""
        return len({a for a, _ in self.n_kernels}) == len(self.inputs)

    def reaches_all(self) -> bool:
        """Whether a kernel leads to every output block."""
        return len({b for _, b in self.n_kernels}) == len(self.outputs)

    def _apply_kernels(
        self,
        x: Sequence[Tensor],
        graph: KernelGraph,
        product: Callable[[SparseMap, Tensor], Tensor],
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
        joined: dict[tuple[int, ...], Tensor] = {}  # gates read what their channels read
        for parts in columns:
            joined.setdefault(tuple(map(id, parts)), torch.cat(parts, dim=-1) if parts else x[0])
        mixed = [
            nn.functional.linear(joined[tuple(map(id, parts))], self.weights[str(b)])
            if parts
            else None
            for b, parts in enumerate(columns)
        ]
        return [self._finished(b, result, x, graph) for b, result in enumerate(mixed)]

    def _finished(
        self, b: int, result: Tensor | None, x: Sequence[Tensor], graph: KernelGraph
    ) -> Tensor:
        """Bias added; zeros where no kernel leads to a block."""
        block = self.outputs[b]
        if result is None:
            batch = x[0].shape[1] // self.inputs[0].internal.dim
            result = x[0].new_zeros(
                graph.n_rows(block.type), batch * block.internal.dim, block.channels
            )
        return result + self.biases[str(b)] if str(b) in self.biases else result

    def _scatter(self, sparse: SparseMap, x: Tensor) -> Tensor:
        edge_index, weight = sparse.edges
        n_rows, n_columns = sparse.matrix.shape
        return self.propagate(edge_index, x=(x, None), weight=weight, size=(n_columns, n_rows))

    def _widths(self, b: int) -> dict[int, int]:
        """Columns of an output's weights that belong to each input."""
        return {
            a: sum(counts) * self.inputs[a].channels
            for (a, to), counts in self.n_kernels.items()
            if to == b
        }

    def _reduced_width(self) -> int:
        """Numbers a site and sample between the sparse products and the weights."""
        return sum(
            sum(self._widths(b).values()) * block.type.dim for b, block in enumerate(self.outputs)
        )

    def _expanded_width(self, lattice: Lattice) -> int:
        """Numbers a site and sample that the gather of neighbours makes."""
        orbits = () if self.cutoff is None else bond_orbits(lattice, self.cutoff).orbits
        neighbours = 1 + sum(orbit.multiplicity for orbit in orbits)
        return neighbours * sum(block.type.dim * block.channels for block in self.inputs)

    def _targets(self, a: int) -> dict[SiteType, int]:
        """The types of outputs that bonds reach from an input block, with the number of kernels."""
        return {
            self.outputs[b].type: n
            for (source, b), (_, n) in self.n_kernels.items()
            if source == a and n
        }


def _count(
    lattice: Lattice, source: SiteType, destination: SiteType, cutoff: float | None
) -> tuple[int, int]:
    """Kernels of a site with itself, and of bonds."""
    found = orbit_kernels(lattice.cell, source, destination, cutoff)
    on_site = sum(len(kernels) for kernels in found if kernels.orbit < 0)
    return on_site, sum(map(len, found)) - on_site


def _split(
    stacked: Tensor, shapes: list[tuple[SiteType, int, int]]
) -> dict[SiteType, list[Tensor]]:
    """The rows of each destination and kernel."""
    sizes = [rows for _, n, rows in shapes for _ in range(n)]
    pieces = iter(stacked.split(sizes))
    return {site_type: [next(pieces) for _ in range(n)] for site_type, n, _ in shapes}
