"""Equivariant nonlinearities: smooth everywhere, so that forces can be differentiated, symmetric sites included.

Each is made for the blocks that it shall give, and says in `inputs` what it needs for that.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lattgnn.lattice import SiteType, clebsch_gordan, irreps, trivial
from lattgnn.nn.features import EVEN, Block, Features, Internal

Kind = Literal["gate", "norm", "product"]


class Nonlinearity(nn.Module):
    """From blocks `inputs` to blocks `outputs`."""

    inputs: Features
    outputs: Features


class Gate(Nonlinearity):
    """SiLU of each entry where that is equivariant; other blocks are multiplied by sigmoids of invariants.

    Entries of invariant channels, and of permutation representations such as the regular one, may be mapped
    one by one. The gates of all others come as additional invariant channels of the input.

    Reference:
        M. Weiler et al., NeurIPS 2018, arXiv 1807.02547 (gates).
    """

    def __init__(self, outputs: Features):
        super().__init__()
        self.outputs = outputs
        self.gated = [number for number, block in enumerate(outputs) if not block.is_pointwise]
        gates = [_invariant(outputs[number], outputs[number].channels) for number in self.gated]
        self.inputs = (*outputs, *gates)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Apply to the blocks; gates come after them."""
        gates = dict(zip(self.gated, x[len(self.outputs) :], strict=True))
        return [
            _scaled(value, torch.sigmoid(gates[number]), block)
            if number in gates
            else nn.functional.silu(value)
            for number, (block, value) in enumerate(zip(self.outputs, x, strict=False))
        ]


class NormGate(Nonlinearity):
    r"""SiLU of each entry where that is equivariant; other channels are scaled by a function of their length.

    .. math:: x \to x \, \sigma\!\left(a + b\, \frac{|x|^2}{1 + |x|^2}\right)

    with a and b of each channel. A function of :math:`|x|^2` and not of :math:`x/|x|`: nothing is divided by
    zero where a site is symmetric and its x vanishes, and the function is smooth there.
    """

    def __init__(self, outputs: Features):
        super().__init__()
        self.inputs = self.outputs = outputs
        self.coefficients = nn.ParameterDict(
            {
                str(number): nn.Parameter(torch.tensor([[0.0], [1.0]]).repeat(1, block.channels))
                for number, block in enumerate(outputs)
                if not block.is_pointwise
            }
        )

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Apply to the blocks."""
        return [
            self._scale(number, block, value)
            if str(number) in self.coefficients
            else nn.functional.silu(value)
            for number, (block, value) in enumerate(zip(self.outputs, x, strict=True))
        ]

    def _scale(self, number: int, block: Block, value: Tensor) -> Tensor:
        square = squared_length(value, block)
        a, b = self.coefficients[str(number)]
        return _scaled(value, torch.sigmoid(a + b * square / (1 + square)), block)


class TensorProduct(Nonlinearity):
    """A gate, and beside it the products of all pairs of blocks, decomposed by Clebsch–Gordan coefficients.

    Channel k of one block is multiplied by channel k of the other. Lengths are first squeezed below one,
    x/√(1 + |x|²), so that layers can be stacked.

    Reference:
        N. Thomas et al., arXiv 1802.08219 (tensor-product layers).
    """

    def __init__(self, outputs: Features):
        super().__init__()
        self.gate = Gate(outputs)
        self.inputs = self.gate.inputs
        self.blocks = outputs
        self.paths: list[tuple[int, int, Tensor]] = []  # coefficients in float64, whatever the network is in
        products = []
        for a, b in combinations_with_replacement(range(len(outputs)), 2):
            for block, coefficients in _products(outputs[a], outputs[b]):
                antisymmetric = a == b and np.allclose(coefficients, -coefficients.swapaxes(1, 2))
                if not antisymmetric:  # else the product of a channel with itself vanishes
                    self.paths.append((a, b, torch.from_numpy(coefficients)))
                    products.append(block)
        self.outputs = (*outputs, *products)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Gated blocks, then the products."""
        squeezed = [
            _scaled(value, torch.rsqrt(1 + squared_length(value, block)), block)
            for block, value in zip(self.blocks, x, strict=False)
        ]
        products = [
            _product(squeezed[a], squeezed[b], self.blocks[a], self.blocks[b], coefficients.to(x[0]))
            for a, b, coefficients in self.paths
        ]
        return self.gate(x) + products


def nonlinearity(kind: Kind, outputs: Features) -> Nonlinearity:
    """A gate, a norm gate or a tensor product for these blocks."""
    return {"gate": Gate, "norm": NormGate, "product": TensorProduct}[kind](outputs)


def squared_length(x: Tensor, block: Block) -> Tensor:
    """|x|² of each channel over all its components, [n_sites, batch, channels]."""
    return _unfolded(x, block).square().sum((1, 3))


def _product(x: Tensor, y: Tensor, first: Block, second: Block, coefficients: Tensor) -> Tensor:
    """Products of equal channels by [dim_out, dim_first, dim_second] coefficients."""
    n = min(first.channels, second.channels)
    x, y = _unfolded(x[..., :n], first), _unfolded(y[..., :n], second)
    if first.internal == second.internal:  # the scalar product of the internal space
        result = torch.einsum("cab,iazmk,ibzmk->iczk", coefficients, x, y)
        return result.reshape(-1, *result.shape[2:])
    result = torch.einsum("cab,iazmk,ibznk->iczmnk", coefficients, x, y)  # m or n is 1
    return result.reshape(result.shape[0] * result.shape[1], -1, n)


def _products(first: Block, second: Block) -> list[tuple[Block, np.ndarray]]:
    """What the product of two blocks contains: a block for each Clebsch–Gordan map."""
    if first.type.site_class != second.type.site_class:
        return []
    if first.internal != second.internal and not (first.internal.invariant or second.internal.invariant):
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
        block, type=SiteType(block.type.site_class, trivial(group)), channels=channels, internal=EVEN
    )


def _unfolded(x: Tensor, block: Block) -> Tensor:
    """[n_sites, components, batch, internal components, channels]."""
    return x.reshape(-1, block.type.dim, x.shape[1] // block.internal.dim, block.internal.dim, x.shape[2])


def _scaled(x: Tensor, factor: Tensor, block: Block) -> Tensor:
    """Every channel times a factor [n_sites, batch, channels]."""
    return (_unfolded(x, block) * factor[:, None, :, None]).reshape(x.shape)
