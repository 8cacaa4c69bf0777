"""The orbit convolution: a weight matrix for each equivariant kernel."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice, bond_orbits
from lattgnn.nn.bond_kernel_conv import apply_bond_kernels
from lattgnn.nn.features import Features
from lattgnn.nn.grid_conv import apply_on_grid, fits_grid
from lattgnn.nn.kernel_operators import block_rows, kernel_sums, on_site_kernels
from lattgnn.nn.kernel_weights import KernelWeights
from lattgnn.symmetry import SiteType


class OrbitConv(KernelWeights):
    r"""The most general linear map with a cutoff that commutes with the space group.

    .. math::
        y_i = b + \sum_{j \to i} K_{ij} x_j, \qquad
        K_{g(ij)} = \rho_{out}(g) K_{ij} \rho_{in}(g)^{-1}

    The kernel of an orbit of bonds is :math:`K = \sum_p W_p \otimes B_p`. The basis kernels
    :math:`B_p` are determined by the lattice (`lattgnn.symmetry.orbit_kernels`), and each has a
    learned weight matrix :math:`W_p` between channels. Scalars have one weight matrix per orbit.
    The regular representation gives the group convolution, and irreps give the steerable
    convolution. Only invariant channels have biases.

    There are three ways to compute it, and `forward` takes the cheapest:

    - :meth:`by_basis_kernels`: the sums :math:`\sum_j B_p x_j` are one sparse product per input
      block, followed by one GEMM per output block with the weights. It is best for scalars and
      small irreps (three times as fast as the next for A1 + E).
    - :meth:`by_bond_kernels`: the kernel :math:`K_{ij}` of each bond is computed first, followed by
      one gather of neighbors and one GEMM. It is best if there are more kernels than neighbors (ten
      times as fast for the regular representation).
    - :meth:`on_grid`: the same as a dense convolution on the grid of cells. It is best for frozen
      weights if neighbors fill a box (two to three times as fast as the gather for the Peierls
      network).

    Args:
        lattice: Determines the orbits and kernels; its extent does not matter.
        inputs: Blocks of channels that the layer reads.
        outputs: Blocks of channels that the layer returns.
        cutoff: Longest bond, in the units of the lattice; None makes the layer act on each site
            separately.
        bias: Whether invariant channels get a bias.
    """

    def __init__(
        self,
        lattice: Lattice,
        inputs: Features,
        outputs: Features,
        cutoff: float | None = None,
        bias: bool = True,
    ):
        super().__init__(lattice, inputs, outputs, cutoff, bias)
        self.targets = [self._targets(a) for a in range(len(inputs))]
        self.expands = self._basis_width() > self._bond_width(lattice)
        """Whether the kernels of all bonds take less memory than the sums of all basis kernels."""

    def forward(
        self, x: Sequence[Float[Tensor, "_rows _batch _channels"]], graph: LatticeGraph
    ) -> list[Float[Tensor, "_rows _batch _channels"]]:
        """Apply the layer to its input blocks on the finite lattice of `graph`."""
        if not self.expands:
            return self.by_basis_kernels(x, graph)
        return self.on_grid(x, graph) if fits_grid(self, graph) else self.by_bond_kernels(x, graph)

    def on_grid(self, x: Sequence[Tensor], graph: LatticeGraph) -> list[Tensor]:
        """Apply the kernels as a dense convolution on the grid of cells."""
        results = apply_on_grid(self, x, graph)
        # The dense convolution has added the biases already.
        return [
            self.with_bias(b, None, x, graph) if result is None else result
            for b, result in enumerate(results)
        ]

    def by_bond_kernels(self, x: Sequence[Tensor], graph: LatticeGraph) -> list[Tensor]:
        """Compute the kernel of each bond, then apply it to the gathered neighbors."""
        results = apply_bond_kernels(self, x, graph)
        return [self.with_bias(b, result, x, graph) for b, result in enumerate(results)]

    def by_basis_kernels(self, x: Sequence[Tensor], graph: LatticeGraph) -> list[Tensor]:
        """Apply every basis kernel, then the weights."""
        columns: list[list[Tensor]] = [[] for _ in self.outputs]
        for a, (block, value) in enumerate(zip(self.inputs, x, strict=True)):
            bonds = self._bond_sums(a, value, graph)
            for b, out in enumerate(self.outputs):
                on_site, _ = self.n_kernels.get((a, b), (0, 0))
                if on_site == 1 and block.type == out.type:
                    # The only equivariant on-site kernel is then the identity.
                    columns[b].append(value)
                elif on_site:
                    own = on_site_kernels(graph, block.type, out.type)(value)
                    columns[b] += own.chunk(on_site)
                if (a, b) in self.n_kernels:
                    columns[b] += bonds.get(out.type, [])
        # A gate reads the same columns as the channels it scales. Lists of identical tensors are
        # recognized by their ids and concatenated only once.
        joined: dict[tuple[int, ...], Tensor] = {}
        results = []
        for b, parts in enumerate(columns):
            mixed = None
            if parts:
                key = tuple(map(id, parts))
                if key not in joined:
                    joined[key] = torch.cat(parts, dim=-1)
                mixed = nn.functional.linear(joined[key], self.weights[str(b)])
            results.append(self.with_bias(b, mixed, x, graph))
        return results

    def _bond_sums(
        self, a: int, value: Tensor, graph: LatticeGraph
    ) -> dict[SiteType, list[Tensor]]:
        """Sums over the neighbors of an input block: one tensor per output type and kernel."""
        targets = self.targets[a]
        if not targets or self.cutoff is None:
            return {}
        sums = kernel_sums(graph, self.inputs[a].type, tuple(targets), self.cutoff)(value)
        # The rows of the product are ordered by output type, then kernel: split them accordingly.
        sizes = []
        for target, n_kernels in targets.items():
            sizes += n_kernels * [block_rows(graph, target)]
        pieces = iter(sums.split(sizes))
        return {target: [next(pieces) for _ in range(n)] for target, n in targets.items()}

    def _basis_width(self) -> int:
        """Numbers per site and sample between the sparse products and the weights."""
        return sum(
            sum(self.widths(b).values()) * block.type.dim for b, block in enumerate(self.outputs)
        )

    def _bond_width(self, lattice: Lattice) -> int:
        """Numbers per site and sample that the gather of neighbors produces."""
        orbits = () if self.cutoff is None else bond_orbits(lattice, self.cutoff).orbits
        neighbors = 1 + sum(orbit.multiplicity for orbit in orbits)
        return neighbors * sum(block.type.dim * block.channels for block in self.inputs)

    def _targets(self, a: int) -> dict[SiteType, int]:
        """The output types connected to an input block by bonds, with their number of kernels."""
        return {
            self.outputs[b].type: n
            for (source, b), (_, n) in self.n_kernels.items()
            if source == a and n
        }
