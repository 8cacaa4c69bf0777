"""The equivariant fully connected network of Fan and Chern, corrected: irreps of D4 and their products."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lattgnn.lattice import Lattice
from lattgnn.nn.baselines.d4 import D4Channels, D4Decomposition, square_patch
from lattgnn.nn.baselines.layers import checked_channels
from lattgnn.nn.baselines.neighbourhood import patch_table, patch_values
from lattgnn.nn.force_network import ForceNetwork


class IrrepsLayer(nn.Module):
    r"""Products of all pairs, one linear map for each irrep, then the gate v σ(s + b)/s with s = √(1 + v²).

    Args:
        copies: How often A1, A2, B1, B2 and E come in.
        channels: How often each of them goes out.
    """

    def __init__(self, copies: tuple[int, ...], channels: int):
        super().__init__()
        widths = _product_widths(copies)
        self.linear = nn.ModuleList(nn.Linear(width, channels, bias=False) for width in widths)
        self.bias = nn.ParameterList(nn.Parameter(torch.empty(channels)) for _ in widths)
        for linear, bias in zip(self.linear, self.bias, strict=True):
            nn.init.xavier_uniform_(linear.weight)  # type: ignore[arg-type]
            nn.init.uniform_(bias, -1 / math.sqrt(linear.in_features), 1 / math.sqrt(linear.in_features))

    def forward(self, f: D4Channels) -> D4Channels:
        """Apply the layer."""
        linears = [*self.linear, self.linear[-1]]  # x and y have their weights in common
        f = D4Channels(*(linear(v) for linear, v in zip(linears, products(f), strict=True)))
        singlets = [v * _gate(v * v, b) for v, b in zip(f[:4], self.bias, strict=False)]
        doublet = _gate(f.x * f.x + f.y * f.y, self.bias[-1])
        return D4Channels(*singlets, f.x * doublet, f.y * doublet)


class IrrepsFCNN(ForceNetwork):
    r"""Three layers of products of D4 irreps over the 45 sites of nine shells, 143 thousand parameters.

    The field around a site is decomposed into 9 A1, 3 A2, 6 B1, 5 B2 and 11 E. A layer takes the irreps and
    the products of all pairs of different ones, in their own irrep, through one linear map an irrep, then
    through a gate. The last A1 is the force. Sites do not exchange anything else: one patch, one force.

    Two faults are corrected. The published gate multiplies v by σ(|v| + b)/|v|: this is 0/0 for a doublet of
    length 0, as at every site of a uniform field or of a perfect charge-density wave, and it jumps where a
    singlet changes its sign. Ours has √(1 + v²) in place of |v|, smooth and finite. And both components of a
    doublet get one factor, of its length x² + y²; the unequal factors that the paper's formula allows break
    the fourfold rotation.

    The published network has no bound on the force; ``force_bound`` is ignored.

    Args:
        lattice: A square lattice, of any extent, periodic.
        force_bound: Not used.
        cutoff: Radius of the patch; √13 holds 45 sites.
        channels: Copies of each irrep after each layer.
        field_scale: Field that enters as 1. Published: the largest value in the training set.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2601.04104 (2026). There for the total force, fitted with Adam, lr 1e-3.
    """

    def __init__(
        self,
        lattice: Lattice,
        force_bound: float | None = None,
        cutoff: float = math.sqrt(13),
        channels: Sequence[int] = (32, 8, 4),
        field_scale: float = 5.0,
    ):
        super().__init__()
        channels = checked_channels(channels)
        if not field_scale > 0:
            raise ValueError(f"field_scale must be positive, got {field_scale!r}. Use 5.0.")
        self.hyperparameters = dict(
            force_bound=force_bound, cutoff=cutoff, channels=channels, field_scale=field_scale
        )
        self.cutoff, self.field_scale = cutoff, field_scale
        self.decomposition = D4Decomposition(square_patch(lattice, cutoff))
        sizes = [self.decomposition.copies, *((width,) * 5 for width in channels)]
        self.layers = nn.ModuleList(IrrepsLayer(a, b[0]) for a, b in pairwise(sizes))
        self.readout = nn.Linear(_product_widths(sizes[-1])[0], 1)

    def graph(self, lattice: Lattice) -> Int[Tensor, "n_sites n_patch"]:
        """The sites of the patch around each site of ``lattice``, on this network's device."""
        return patch_table(lattice, self.cutoff, next(self.parameters()).device)

    def forward(
        self, field: Float[Tensor, "batch n_sites"], graph: Int[Tensor, "n_sites n_patch"]
    ) -> tuple[None, Float[Tensor, "batch n_sites"]]:
        """No energy, and the electronic force."""
        f = self.decomposition(patch_values(field, graph) / self.field_scale)
        for layer in self.layers:
            f = layer(f)
        return None, self.readout(invariants(f)).squeeze(-1).T


def products(f: D4Channels) -> D4Channels:
    """The channels and the products of all pairs of different ones, sorted by their irreps."""
    a1, a2, b1, b2, x, y = f
    xy, yx = _distinct(x, y), _distinct(y, x)
    xx, yy = _distinct(x, x), _distinct(y, y)
    return D4Channels(
        invariants(f),
        torch.cat([a2, _all(a1, a2), _all(b1, b2), xy - yx], dim=-1),
        torch.cat([b1, _all(a1, b1), _all(a2, b2), xx - yy], dim=-1),
        torch.cat([b2, _all(a1, b2), _all(a2, b1), xy + yx], dim=-1),
        torch.cat([x, _all(a1, x), -_all(a2, y), _all(b1, x), _all(b2, y)], dim=-1),
        torch.cat([y, _all(a1, y), _all(a2, x), -_all(b1, y), _all(b2, x)], dim=-1),
    )


def invariants(f: D4Channels) -> Float[Tensor, "n_sites batch n_invariants"]:
    """The part of :func:`products` that is A1."""
    squares = [_distinct(v, v) for v in f[:4]]
    return torch.cat([f.a1, *squares, _distinct(f.x, f.x) + _distinct(f.y, f.y)], dim=-1)


def _product_widths(copies: tuple[int, ...]) -> tuple[int, ...]:
    """Channels of A1, A2, B1, B2 and E in :func:`products`."""
    a1, a2, b1, b2, e = copies
    pairs = [n * (n - 1) // 2 for n in copies]
    return (
        a1 + sum(pairs),
        a2 + a1 * a2 + b1 * b2 + pairs[-1],
        b1 + a1 * b1 + a2 * b2 + pairs[-1],
        b2 + a1 * b2 + a2 * b1 + pairs[-1],
        e + (a1 + a2 + b1 + b2) * e,
    )


def _all(u: Tensor, v: Tensor) -> Tensor:
    """u_p v_q for all p and q."""
    return (u.unsqueeze(-1) * v.unsqueeze(-2)).flatten(-2)


def _distinct(u: Tensor, v: Tensor) -> Tensor:
    """u_p v_q for p < q."""
    p, q = torch.triu_indices(u.shape[-1], u.shape[-1], 1, device=u.device)
    return u[..., p] * v[..., q]


def _gate(square: Tensor, bias: Tensor) -> Tensor:
    """σ(s + b)/s with s = √(1 + square)."""
    s = torch.sqrt(1 + square)
    return torch.sigmoid(s + bias) / s
