"""Forces of a scalar network by tensor operations on the grid of unit cells, on any device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.backends.stencil import Kernel, StencilLayer, StencilNetwork
from lattgnn.lattice.labels import Bond


class GridForces(nn.Module):
    """Energies and forces of a scalar network on a lattice of any extent.

    The module can be exported and compiled. The gradient of an energy is written by hand, so that
    no autograd graph is kept. Weights are buffers, in float64 unless the module is converted. Half
    precision is not worthwhile: it loses much accuracy and saves little time. A periodic axis may
    be shorter than a bond, which then wraps around more than once.

    Args:
        network: The network as matrices on bonds.
        periodic: Whether each axis is periodic; beyond an open end there are no sites.
        classical: 1×1 kernels of a linear classical force, for each destination sublattice.
    """

    steps: Tensor
    bumps: Tensor

    def __init__(
        self,
        network: StencilNetwork,
        periodic: Sequence[bool],
        classical: tuple[tuple[Kernel, ...], ...] = (),
    ) -> None:
        super().__init__()
        self.conservative, self.force_bound = network.conservative, network.force_bound
        self.linear = network.linear
        self.register_buffer("steps", torch.from_numpy(network.steps).double())
        self.register_buffer("bumps", torch.from_numpy(network.bumps).double())
        n_sublattices = len(network.layers[0].kernels)
        n_in = [len(network.steps) + 1 + len(network.bumps)] * n_sublattices
        layers = []
        for layer in network.layers:
            layers.append(_Layer(layer, n_in, periodic, network.conservative))
            n_in = [len(b) for b in layer.out_bias]
        self.layers = nn.ModuleList(layers)
        one = [1] * n_sublattices
        self.classical = BondSums(classical, one, one, periodic) if classical else None

    @property
    def reach(self) -> tuple[int, ...]:
        """The most cells that a bond spans along each axis."""
        sums = [module.reach for module in self.modules() if isinstance(module, BondSums)]
        return tuple(map(max, zip(*sums, strict=True)))

    def forward(
        self, field: Float[Tensor, "batch *extent n_sublattices"]
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch *extent n_sublattices"]]:
        """Total energies and forces −∂E/∂field.

        Args:
            field: Values on the sites, in the dtype of the buffers; [batch, *extent,
                n_sublattices].

        Returns:
            Energies [batch] in float64, or None without an energy head, and forces like the field.
        """
        # Channels come first, so that a layer is one matrix product over all cells.
        q = field.movedim(-1, 1)
        y, inner = self._outputs(q)
        if self.conservative:
            energies = y
            forces = -self._gradient(q, inner)
            if self.force_bound is not None:
                root = torch.sqrt(q.square() + 1)
                energies = energies - self.force_bound * root
                forces = forces + self.force_bound * q / root
        else:
            energies = None
            forces = y if self.force_bound is None else self.force_bound * torch.tanh(y)
        if self.classical is not None:
            elastic = self.classical(q)
            forces = forces + elastic
            energies = None if energies is None else energies - 0.5 * q * elastic
        energy = None if energies is None else energies.flatten(1).sum(1, dtype=torch.float64)
        return energy, forces.movedim(1, -1).contiguous()

    def on_sites(
        self, field: Float[Tensor, "batch n_sites"], extent: Sequence[int]
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites"]]:
        """The same for fields in site order: cells in row-major order, sublattices fastest.

        Args:
            field: Values on the sites; [batch, n_sites].
            extent: Number of cells along each axis.

        Returns:
            Energies [batch] or None, and forces [batch, n_sites].
        """
        energy, forces = self(field.reshape(len(field), *extent, -1))
        return energy, forces.flatten(1)

    def _outputs(self, q: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs of the last layer, and the inputs of all nonlinearities for the gradient."""
        x, inner = self._functions(q), []
        for layer in self.layers:
            x, hidden = layer(x)
            inner.append(hidden)
        return x, inner

    def _functions(
        self, q: Float[Tensor, "batch n_sublattices *extent"]
    ) -> Float[Tensor, "batch _ *extent"]:
        """Scalar functions of the field; all channels of a sublattice are adjacent."""
        steps, bumps = self._widths(q)
        value = q.unsqueeze(2)
        functions = [
            torch.tanh(value / steps),
            value / self.linear,
            torch.exp(-0.5 * (value / bumps).square()),
        ]
        return torch.cat(functions, 2).flatten(1, 2)

    def _gradient(self, q: Tensor, inner: list[Tensor]) -> Tensor:
        """The gradient ∂(Σ y)/∂field by backpropagation, with the derivatives of `_functions`."""
        gradient = torch.ones_like(q)
        for layer, hidden in zip(reversed(self.layers), reversed(inner), strict=True):
            assert isinstance(layer, _Layer)
            gradient = layer.backward(gradient, hidden)
        steps, bumps = self._widths(q)
        value = q.unsqueeze(2)
        slopes = [
            (1 - torch.tanh(value / steps).square()) / steps,
            torch.full_like(value, 1 / self.linear),
            -value / bumps.square() * torch.exp(-0.5 * (value / bumps).square()),
        ]
        return (gradient.unflatten(1, (q.shape[1], -1)) * torch.cat(slopes, 2)).sum(2)

    def _widths(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Widths of steps and bumps, shaped to broadcast along the channel axis of the field."""
        shape = (-1,) + (1,) * (q.ndim - 2)
        return self.steps.view(shape), self.bumps.view(shape)


class _Layer(nn.Module):
    """The tensor form of a `StencilLayer`, with its gradient if `back` is set."""

    def __init__(
        self, layer: StencilLayer, n_in: Sequence[int], periodic: Sequence[bool], back: bool
    ) -> None:
        super().__init__()
        self.residual, self.silu = layer.residual, layer.silu
        n_hidden, n_out = [len(b) for b in layer.bias], [len(b) for b in layer.out_bias]
        self.conv = BondSums(layer.kernels, n_in, n_hidden, periodic, layer.bias)
        self.mix = BondSums(
            _on_site(layer.mixing, periodic), n_hidden, n_out, periodic, layer.out_bias
        )
        if back:
            transposed = [m.T for m in layer.mixing]
            self.back_mix = BondSums(_on_site(transposed, periodic), n_out, n_hidden, periodic)
            self.back_conv = BondSums(layer.transposed(), n_hidden, n_in, periodic)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the input of the nonlinearity."""
        hidden = self.conv(x)
        y = self.mix(nn.functional.silu(hidden) if self.silu else hidden)
        return (x + y if self.residual else y), hidden

    def backward(self, gradient: Tensor, hidden: Tensor) -> Tensor:
        """The gradient with respect to the input from that with respect to the output."""
        back = self.back_mix(gradient)
        if self.silu:
            back = torch.ops.aten.silu_backward(back, hidden)
        back = self.back_conv(back)
        return gradient + back if self.residual else back


class BondSums(nn.Module):
    """bias + Σ kernels · x on each cell; neighbors that share a matrix are summed first.

    Matrix products are used rather than convolutions for two reasons. On a GPU, PyTorch rounds the
    inputs of a convolution to ten bits of mantissa (TF32) by default, and on a CPU matrix products
    are faster.

    Args:
        kernels: Kernels of each destination sublattice.
        n_in: Channels of each source sublattice.
        n_out: Channels of each destination sublattice.
        periodic: Whether each axis is periodic.
        bias: Bias of each destination sublattice, [n_out]; zero by default.
    """

    def __init__(
        self,
        kernels: Sequence[tuple[Kernel, ...]],
        n_in: Sequence[int],
        n_out: Sequence[int],
        periodic: Sequence[bool],
        bias: Sequence[np.ndarray] | None = None,
    ) -> None:
        super().__init__()
        self.periodic = tuple(periodic)
        self.bonds = [[kernel.bonds for kernel in into] for into in kernels]
        offsets = []
        for bonds in chain.from_iterable(self.bonds):
            offsets += [bond[2] for bond in bonds]
        self.reach = tuple(int(n) for n in np.abs(offsets).max(0))
        # First and last channel of each source sublattice.
        self.channels = list(pairwise(accumulate(n_in, initial=0)))
        for d, (into, n) in enumerate(zip(kernels, n_out, strict=True)):
            start = np.zeros(n) if bias is None else bias[d]
            self.register_buffer(f"bias_{d}", torch.tensor(start, dtype=torch.float64)[:, None])
            for k, kernel in enumerate(into):
                # An exported archive cannot hold transposed arrays.
                matrix = np.ascontiguousarray(kernel.matrix)
                self.register_buffer(f"matrix_{d}_{k}", torch.tensor(matrix, dtype=torch.float64))

    def forward(
        self, x: Float[Tensor, "batch n_in *extent"]
    ) -> Float[Tensor, "batch n_out *extent"]:
        """Sums for all cells.

        Args:
            x: Channels on the cells, grouped by sublattice; [batch, n_in, *extent].

        Returns:
            Output channels, grouped by sublattice; [batch, n_out, *extent].
        """
        (batch, _, *extent), padded = x.shape, x
        n_cells = math.prod(extent)
        axes = zip(self.reach, self.periodic, strict=True)
        for axis, (reach, periodic) in enumerate(axes, start=2):
            padded = _padded(padded, axis, reach, periodic)
        parts = []
        for d, kernels in enumerate(self.bonds):
            total = self.get_buffer(f"bias_{d}").expand(batch, -1, n_cells).clone()
            for k, bonds in enumerate(kernels):
                matrix = self.get_buffer(f"matrix_{d}_{k}").expand(batch, -1, -1)
                # In place, so that only one output is kept in memory.
                total.baddbmm_(matrix, self._sum(x, padded, bonds).flatten(2))
            parts.append(total)
        whole = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return whole.unflatten(2, extent)

    def _sum(self, x: Tensor, padded: Tensor, bonds: tuple[Bond, ...]) -> Tensor:
        """Sum of the sources of all bonds, for each cell."""
        first, *others = (self._shifted(x, padded, bond) for bond in bonds)
        if not others:
            return first
        # The first sum makes a new tensor, as views must not be overwritten; the others reuse it.
        total = first + others[0]
        for other in others[1:]:
            total += other
        return total

    def _shifted(self, x: Tensor, padded: Tensor, bond: Bond) -> Tensor:
        """The source of a bond for each cell, as a view of the padded tensor."""
        source, _, offset = bond
        start, stop = self.channels[source]
        if not any(offset):
            return x[:, start:stop]
        view = padded[:, start:stop]
        for axis, (n, reach) in enumerate(zip(offset, self.reach, strict=True), start=2):
            view = view.narrow(axis, reach - n, x.shape[axis])
        return view


def _padded(x: Tensor, axis: int, reach: int, periodic: bool) -> Tensor:
    """Extend an axis by `reach` cells at both ends, with periodic copies or zeros."""
    if reach == 0:
        return x
    extent = x.shape[axis]
    if periodic:
        # A short axis is repeated until it is as long as the bond (the quotient is rounded up).
        copies = x if extent >= reach else torch.cat([x] * -(-reach // extent), axis)
        before = copies.narrow(axis, copies.shape[axis] - reach, reach)
        after = copies.narrow(axis, 0, reach)
    else:
        shape = list(x.shape)
        shape[axis] = reach
        before = after = x.new_zeros(shape)
    return torch.cat([before, x, after], axis)


def _on_site(matrices: Sequence[np.ndarray], periodic: Sequence[bool]) -> list[tuple[Kernel, ...]]:
    """One matrix of each sublattice as kernels that act within a site."""
    here = (0,) * len(periodic)
    return [(Kernel(((d, d, here),), matrix),) for d, matrix in enumerate(matrices)]
