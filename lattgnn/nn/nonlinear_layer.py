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
        self.is_scalar = (
            last_cutoff is None
            and isinstance(self.nonlinearity, Gate)
            and all(
                len(blocks) == 1 and blocks[0].is_invariant
                for blocks in (inputs, self.conv.outputs, outputs)
            )
        )
        """Whether the layer is SiLU of scalars on equivalent sites.

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
            conv, mix = self.conv, self.mix
            sums = None
            if conv.cutoff is not None:
                site_type = conv.inputs[0].type
                sums = kernel_sums(graph, site_type, (site_type,), conv.cutoff)
            weights = (conv.weights["0"], conv.biases["0"], mix.weights["0"], mix.biases["0"])
            return [scalar_layer_output(x[0], sums, weights, residual)]
        y = self.mix(self.nonlinearity(self.conv(x, graph)), graph)
        return [own + new for own, new in zip(x, y, strict=True)] if residual else y
