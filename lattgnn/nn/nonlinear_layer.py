"""One layer of the orbit network: a nonlinearity between two orbit convolutions."""

from collections.abc import Sequence

from torch import Tensor, nn

from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.nn.features import Features
from lattgnn.nn.kernel_operators import kernel_sums
from lattgnn.nn.nonlinearities import Gate, Kind, nonlinearity
from lattgnn.nn.orbit_conv import OrbitConv
from lattgnn.nn.scalar_layer import scalar_layer_output
from lattgnn.nn.sparse_map import SparseMap
from lattgnn.symmetry import site_classes


class NonlinearLayer(nn.Module):
    """OrbitConv(nonlinearity(OrbitConv(x))), each convolution over bonds or on each site.

    Args:
        lattice: Determines the kernels; its extent does not matter.
        inputs: Blocks of channels that the layer reads.
        hidden: Blocks that the nonlinearity returns.
        outputs: Blocks of channels that the layer returns.
        cutoff: Longest bond of the first convolution, in the units of the lattice; None makes it
            act on each site separately.
        kind: The nonlinearity.
        last_cutoff: Longest bond of the second convolution; None makes it act on each site
            separately.
    """

    def __init__(
        self,
        lattice: Lattice,
        inputs: Features,
        hidden: Features,
        outputs: Features,
        cutoff: float | None,
        kind: Kind,
        last_cutoff: float | None = None,
    ):
        super().__init__()
        self.nonlinearity = nonlinearity(kind, hidden)
        self.conv = OrbitConv(lattice, inputs, self.nonlinearity.inputs, cutoff)
        self.mix = OrbitConv(lattice, self.nonlinearity.outputs, outputs, last_cutoff)
        blocks, n_classes = (inputs, self.conv.outputs, outputs), len(site_classes(lattice.cell))
        self.is_scalar = (
            last_cutoff is None
            and isinstance(self.nonlinearity, Gate)
            and all(_is_one_scalar_per_class(part, n_classes) for part in blocks)
        )
        """Whether the layer is SiLU of scalars, with one block on each class of sites.

        `scalar_layer` then computes it as one operation.
        """

    def forward(
        self,
        x: Sequence[Tensor],
        graph: LatticeGraph,
        residual: bool = False,
        first_order: bool = False,
    ) -> list[Tensor]:
        """Apply the layer.

        Args:
            x: The blocks ``inputs``.
            graph: The finite lattice.
            residual: Whether to add x to the result.
            first_order: Whether second derivatives are not needed, which allows a faster form.
        """
        if self.is_scalar and first_order:
            return scalar_layer_output(x, self._sums(graph), self._scalar_weights(), residual)
        y = self.mix(self.nonlinearity(self.conv(x, graph)), graph)
        return [own + new for own, new in zip(x, y, strict=True)] if residual else y

    def _sums(self, graph: LatticeGraph) -> list[list[SparseMap | None]]:
        """The sums of a scalar layer over bonds, as `sums[destination class][source class]`."""
        conv, n = self.conv, len(self.conv.inputs)
        sums: list[list[SparseMap | None]] = [[None] * n for _ in range(n)]
        for (source, to), (_, n_orbits) in conv.n_kernels.items():
            if n_orbits and conv.cutoff is not None:
                ends = (conv.inputs[source].type, conv.outputs[to].type)
                sums[to][source] = kernel_sums(graph, ends[0], ends[1:], conv.cutoff)
        return sums

    def _scalar_weights(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Weights and biases of a scalar layer, for each class of sites."""
        conv, mix = self.conv, self.mix
        return [
            (conv.weights[c], conv.biases[c], mix.weights[c], mix.biases[c])
            for c in map(str, range(len(conv.inputs)))
        ]


def _is_one_scalar_per_class(blocks: Features, n_classes: int) -> bool:
    """Whether there is one block of invariants on each class of sites, in the order of classes."""
    classes = [block.type.site_class for block in blocks]
    return classes == list(range(n_classes)) and all(block.is_invariant for block in blocks)
