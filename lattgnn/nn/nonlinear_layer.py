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
    """OrbitConv(nonlinearity(OrbitConv(x))), each convolution over bonds or on each site alone.

    Args:
        lattice: Fixes the kernels; its extent does not matter.
        inputs: Blocks of channels that come in.
        hidden: Blocks on which the nonlinearity acts.
        outputs: Blocks of channels that go out.
        cutoff: Longest bond of the first convolution; None acts on each site alone.
        kind: The nonlinearity.
        last_cutoff: Longest bond of the second convolution; None acts on each site alone.
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
        """Whether it is SiLU of scalars on equivalent sites, which `scalar_layer` computes as one operation."""

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
            first_order: Whether no second derivative is needed: a faster form can then be used.
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
