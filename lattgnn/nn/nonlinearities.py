"""Equivariant nonlinearities that are smooth everywhere, so that forces have derivatives.

They are smooth at symmetric sites too, where components vanish. Each one is constructed from the
blocks that it returns; `inputs` lists the blocks that it needs.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lattgnn.device_copies import DeviceCopies
from lattgnn.nn.features import EVEN, ODD, Block, Features, Internal
from lattgnn.symmetry import SiteType, clebsch_gordan, irreps, trivial

Kind = Literal["gate", "norm", "product", "square"]


class Nonlinearity(nn.Module):
    """Maps the blocks `inputs` to the blocks `outputs`."""

    inputs: Features
    outputs: Features


class EntrywiseSiLU(nn.Module):
    """SiLU of each entry of the blocks for which this is equivariant.

    These are the blocks whose entries are only permuted by symmetries: invariants, and permutation
    representations such as the regular one. The caller handles the other blocks. Odd channels o are
    paired with even channels e of the same type. The Z2 symmetry swaps e + o and e − o, so SiLU may
    be applied to both; their half sum and half difference are even and odd again.

    Args:
        blocks: All blocks.
    """

    def __init__(self, blocks: Features):
        super().__init__()
        self.blocks = blocks
        even = {b.type: number for number, b in enumerate(blocks) if b.is_pointwise}
        self.partners = {
            even[b.type]: number
            for number, b in enumerate(blocks)
            if b.internal == ODD and b.type in even and b.channels <= blocks[even[b.type]].channels
        }
        """Maps the number of an even block to that of the odd block paired with it."""
        self.mapped = {*even.values(), *self.partners.values()}
        """Numbers of the blocks to which SiLU is applied."""

    def forward(self, x: Sequence[Tensor]) -> dict[int, Tensor]:
        """The blocks to which SiLU was applied, by number."""
        results = {}
        for number in self.mapped - set(self.partners.values()):
            if number in self.partners:
                odd = self.partners[number]
                results[number], results[odd] = self._pair(x[number], x[odd])
            else:
                results[number] = nn.functional.silu(x[number])
        return results

    @staticmethod
    def _pair(even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        # There may be more even channels than odd ones; the remaining ones have no partner.
        n = odd.shape[-1]
        plus, minus = (
            nn.functional.silu(even[..., :n] + odd),
            nn.functional.silu(even[..., :n] - odd),
        )
        paired, rest = 0.5 * (plus + minus), even[..., n:]
        return torch.cat([paired, nn.functional.silu(rest)], -1), 0.5 * (plus - minus)


class Gate(Nonlinearity):
    """SiLU of each entry where that is equivariant; other blocks are multiplied by gates.

    A gate is the sigmoid of an additional invariant channel of the input.

    Reference:
        M. Weiler et al., NeurIPS 2018, arXiv 1807.02547 (gates).
    """

    def __init__(self, outputs: Features):
        super().__init__()
        self.outputs = outputs
        self.silu = EntrywiseSiLU(outputs)
        self.gated = [number for number in range(len(outputs)) if number not in self.silu.mapped]
        gates = [_invariant(outputs[number], outputs[number].channels) for number in self.gated]
        self.inputs = (*outputs, *gates)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Apply to the blocks `outputs`, followed by the gates."""
        results = self.silu(x)
        for number, gate in zip(self.gated, x[len(self.outputs) :], strict=True):
            results[number] = _scaled(x[number], torch.sigmoid(gate), self.outputs[number])
        return [results[number] for number in range(len(self.outputs))]


class NormGate(Nonlinearity):
    r"""SiLU of each entry where that is equivariant; other channels are scaled by their length.

    .. math:: x \to x \, \sigma\!\left(a + b\, \frac{|x|^2}{1 + |x|^2}\right)

    Each channel has its own a and b. The factor depends on :math:`|x|^2` rather than on
    :math:`x/|x|`. It is therefore smooth at symmetric sites, where x vanishes, and nothing is
    divided by zero.
    """

    def __init__(self, outputs: Features):
        super().__init__()
        self.inputs = self.outputs = outputs
        self.silu = EntrywiseSiLU(outputs)
        self.coefficients = nn.ParameterDict(
            {
                str(number): nn.Parameter(torch.tensor([[0.0], [1.0]]).repeat(1, block.channels))
                for number, block in enumerate(outputs)
                if number not in self.silu.mapped
            }
        )

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Apply to the blocks."""
        results = self.silu(x)
        for number, block in enumerate(self.outputs):
            if number not in results:
                square = squared_length(x[number], block)
                a, b = self.coefficients[str(number)]
                results[number] = _scaled(
                    x[number], torch.sigmoid(a + b * square / (1 + square)), block
                )
        return [results[number] for number in range(len(self.outputs))]


class TensorProduct(Nonlinearity):
    """A gate, and the products of all pairs of blocks, decomposed with Clebsch–Gordan coefficients.

    Channel k of one block is multiplied by channel k of the other. Lengths are first limited to
    below one, x/√(1 + |x|²), so that layers can be stacked.

    Reference:
        N. Thomas et al., arXiv 1802.08219 (tensor-product layers).
    """

    def __init__(self, outputs: Features):
        super().__init__()
        self.gate = Gate(outputs)
        self.inputs = self.gate.inputs
        self.blocks = outputs
        # The coefficients stay in float64, so that they are exact in a network of any precision.
        self.paths: list[tuple[int, int, DeviceCopies]] = []
        products = []
        for a, b in combinations_with_replacement(range(len(outputs)), 2):
            for block, coefficients in _products(outputs[a], outputs[b]):
                # Channels multiply channels of the same number. If both blocks are the same, an
                # antisymmetric product is therefore one of a channel with itself: it is zero.
                antisymmetric = a == b and np.allclose(coefficients, -coefficients.swapaxes(1, 2))
                if not antisymmetric:
                    self.paths.append((a, b, DeviceCopies(torch.from_numpy(coefficients))))
                    products.append(block)
        self.outputs = (*outputs, *products)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """The gated blocks, followed by the products."""
        squeezed = [
            _scaled(value, torch.rsqrt(1 + squared_length(value, block)), block)
            for block, value in zip(self.blocks, x, strict=False)
        ]
        products = [
            _product(
                squeezed[a], squeezed[b], self.blocks[a], self.blocks[b], coefficients.like(x[0])
            )
            for a, b, coefficients in self.paths
        ]
        return self.gate(x) + products


class SquareGate(Nonlinearity):
    r"""SiLU of each entry where that is equivariant; other channels get gates with their length.

    .. math:: h = a + c |x|^2, \qquad x \to x \, \sigma(h), \qquad \text{and in addition SiLU}(h)

    Here a is an additional invariant input and c a weight for each channel. The invariants thus
    receive all products of channels, which are squares of linear maps, at the cost of a gate.
    """

    def __init__(self, outputs: Features):
        super().__init__()
        self.gate = Gate(outputs)
        self.inputs = self.gate.inputs
        self.outputs = (*outputs, *self.inputs[len(outputs) :])
        self.coefficients = nn.ParameterList(
            torch.full((outputs[number].channels,), 0.5) for number in self.gate.gated
        )

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Apply to the blocks; the additional invariants follow them."""
        gated, n = self.gate.gated, len(self.gate.outputs)
        gates = [
            gate + c * squared_length(x[number], self.outputs[number])
            for number, gate, c in zip(gated, x[n:], self.coefficients, strict=True)
        ]
        return self.gate([*x[:n], *gates]) + [nn.functional.silu(gate) for gate in gates]


def nonlinearity(kind: Kind, outputs: Features) -> Nonlinearity:
    """The nonlinearity of the given kind that returns these blocks."""
    return {"gate": Gate, "norm": NormGate, "product": TensorProduct, "square": SquareGate}[kind](
        outputs
    )


def squared_length(x: Tensor, block: Block) -> Tensor:
    """|x|² of each channel over all its components, [n_sites, batch, channels]."""
    return _unfolded(x, block).square().sum((1, 2))


def _product(x: Tensor, y: Tensor, first: Block, second: Block, coefficients: Tensor) -> Tensor:
    """Products of channels with the same number.

    Args:
        x: Channels of `first`.
        y: Channels of `second`.
        first: Block of x.
        second: Block of y.
        coefficients: Clebsch–Gordan maps, [dim_out, dim_first, dim_second].
    """
    n = min(first.channels, second.channels)
    x, y = _unfolded(x[..., :n], first), _unfolded(y[..., :n], second)
    # i: site; a, b, c: components of x, y and the product; m, n: internal components of x and y;
    # z: sample; k: channel. Equal internal spaces are contracted to their scalar product.
    if first.internal == second.internal:
        result = torch.einsum("cab,iamzk,ibmzk->iczk", coefficients, x, y)
        return result.reshape(-1, *result.shape[2:])
    # One of the two internal spaces is invariant and has dimension 1, so m × n is the other one.
    result = torch.einsum("cab,iamzk,ibnzk->icmnzk", coefficients, x, y)
    return result.reshape(result.shape[0] * result.shape[1], -1, n)


def _products(first: Block, second: Block) -> list[tuple[Block, np.ndarray]]:
    """The blocks in the product of two blocks, one for each Clebsch–Gordan map."""
    if first.type.site_class != second.type.site_class:
        return []
    if first.internal != second.internal and not (
        first.internal.invariant or second.internal.invariant
    ):
        return []
    internal = _product_internal(first.internal, second.internal)
    a, b = first.type.representation, second.type.representation
    channels = min(first.channels, second.channels)
    found = []
    for irrep in irreps(a.group):
        block = Block(SiteType(first.type.site_class, irrep), channels, internal)
        found += [(block, irrep.dim**0.5 * maps) for maps in clebsch_gordan(a, b, irrep)]
    return found


def _product_internal(first: Internal, second: Internal) -> Internal:
    if first == second:
        return EVEN
    return second if first.invariant else first


def _invariant(block: Block, channels: int) -> Block:
    """Invariant channels on the sites of a block."""
    group = block.type.representation.group
    return replace(
        block,
        type=SiteType(block.type.site_class, trivial(group)),
        channels=channels,
        internal=EVEN,
    )


def _unfolded(x: Tensor, block: Block) -> Tensor:
    """A view with axes [n_sites, components, internal components, batch, channels]."""
    return x.reshape(
        -1, block.type.dim, block.internal.dim, x.shape[1] // block.internal.dim, x.shape[2]
    )


def _scaled(x: Tensor, factor: Tensor, block: Block) -> Tensor:
    """Each channel multiplied by a factor [n_sites, batch, channels]."""
    return (_unfolded(x, block) * factor[:, None, None]).reshape(x.shape)
