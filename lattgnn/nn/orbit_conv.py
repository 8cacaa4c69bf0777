"""The orbit convolution: one weight matrix per orbit of bonds, one sparse product per orbit, one GEMM."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from lattgnn.graph import OrbitMatrices


class _SparseProduct(torch.autograd.Function):
    """A @ x for a CSR matrix whose transpose is known.

    PyTorch's own backward transposes A anew in every call, at five times the cost of the product. The
    transpose of an orbit's adjacency is the reverse orbit's adjacency, so it is handed over instead; the
    backward is this same function and can be differentiated again, which energy heads need.
    """

    @staticmethod
    def forward(x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        return (matrix @ x.reshape(x.shape[0], -1)).view(x.shape)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.matrix, ctx.transpose = inputs

    @staticmethod
    def backward(ctx, *grads: Tensor):
        return _SparseProduct.apply(grads[0], ctx.transpose, ctx.matrix), None, None


def orbit_sums(x: Float[Tensor, "n_sites batch channels"], graph: OrbitMatrices) -> list[Tensor]:
    """Sum of ``x`` over the neighbours in each orbit: y_o[i] = Σ_{j → i in orbit o} x[j]."""
    return [
        _SparseProduct.apply(x, matrix, graph.matrices[back])
        for matrix, back in zip(graph.matrices, graph.reverse, strict=True)
    ]


class OrbitConv(MessagePassing):
    r"""Equivariant linear map of scalar channels on the lattice graph.

    .. math:: y_i = W_0 x_i + b + \sum_o \frac{1}{\sqrt{z_o}} W_o \sum_{j \to i \in o} x_j

    Bonds that the space group maps onto each other share their weight, so the layer commutes with every
    operation of the group, on every extent. With an :class:`~lattgnn.graph.OrbitMatrices` the sums are one
    CSR product an orbit, then one GEMM (the fast path); with ``edge_index, edge_type`` they are PyG's gather
    and scatter (the reference path, which torch-scatter serves where it is installed).

    Args:
        in_channels: Channels of ``x``.
        out_channels: Channels of the result.
        multiplicities: Bonds of each orbit that arrive at one site, z_o; sets the scale of the sums.
        bias: Add b.
    """

    column_scale: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, multiplicities: tuple[int, ...], bias: bool = True
    ):
        super().__init__(aggr="add", node_dim=0)
        self.n_orbits = len(multiplicities)
        self.weight = nn.Parameter(torch.empty(out_channels, (1 + self.n_orbits) * in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        # 1/sqrt(z): independent neighbours then add a variance of order one whatever their number.
        scale = torch.tensor([z**-0.5 for z in multiplicities])
        self.register_buffer(
            "column_scale", torch.cat([torch.ones(1), scale]).repeat_interleave(in_channels), persistent=False
        )
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(
        self,
        x: Float[Tensor, "n_sites batch in_channels"],
        graph: OrbitMatrices | Int[Tensor, "2 n_edges"],
        edge_type: Int[Tensor, " n_edges"] | None = None,
    ) -> Float[Tensor, "n_sites batch out_channels"]:
        """Apply the layer; ``graph`` is an ``OrbitMatrices``, or ``edge_index`` with ``edge_type``."""
        if isinstance(graph, OrbitMatrices):
            sums = orbit_sums(x, graph)
        else:
            if edge_type is None:
                raise TypeError(
                    "edge_type must come with edge_index, got None. Pass data.edge_index, data.edge_type."
                )
            sums = [
                self.propagate(graph[:, edge_type == o], x=x, size=(len(x), len(x)))
                for o in range(self.n_orbits)
            ]
        stacked = torch.cat([x, *sums], dim=-1)
        return nn.functional.linear(stacked, self.weight * self.column_scale, self.bias)

    def message(self, x_j: Tensor) -> Tensor:
        """The message along a bond is the source's channels; weights act after the sum."""
        return x_j
