"""A trained scalar network as plain matrices on the bonds of one unit cell.

The compiled code and the torch form are built from this. A layer applies the same matrices in every
unit cell, so neither the symmetry nor the extent of the lattice is needed any more.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from lattgnn.errors import InputError
from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.lattice.labels import Bond
from lattgnn.nn import FieldBasis, ForceNetwork, OrbitNetwork
from lattgnn.nn.features import Block, Features
from lattgnn.nn.kernel_weights import bond_kernels
from lattgnn.nn.nonlinear_layer import NonlinearLayer
from lattgnn.nn.nonlinearities import EntrywiseSiLU, Gate, NormGate
from lattgnn.nn.orbit_conv import OrbitConv
from lattgnn.symmetry import site_class_index, site_classes


@dataclass(frozen=True, eq=False)
class Kernel:
    """One matrix of an equivariant kernel and all bonds that share it.

    The sources of the bonds are summed before the matrix is applied, which saves products.

    Attributes:
        bonds: Bonds with the same destination sublattice.
        matrix: Map from the channels of a source to those of a destination; [n_out, n_in].
    """

    bonds: tuple[Bond, ...]
    matrix: np.ndarray


@dataclass(frozen=True, eq=False)
class StencilLayer:
    """A layer x → (x +) mixing · f(bias + Σ kernels · x) + out_bias on each cell, in float64.

    Attributes:
        kernels: Kernels of each destination sublattice.
        bias: Bias of each sublattice; [n_hidden].
        mixing: Matrix of each sublattice; [n_out, n_hidden].
        out_bias: Second bias of each sublattice; [n_out].
        residual: Whether the input is added to the output.
        silu: Whether f is SiLU; otherwise it is the identity.
    """

    kernels: tuple[tuple[Kernel, ...], ...]
    bias: tuple[np.ndarray, ...]
    mixing: tuple[np.ndarray, ...]
    out_bias: tuple[np.ndarray, ...]
    residual: bool
    silu: bool = True

    def transposed(self) -> tuple[tuple[Kernel, ...], ...]:
        """The transposed kernels for each source sublattice, which propagate the gradient."""
        # Equal matrices share one kernel again. Their bytes, with the shape, are the key.
        found: list[dict[tuple, list[Bond]]] = [{} for _ in self.kernels]
        matrices: dict[tuple, np.ndarray] = {}
        for kernels in self.kernels:
            for kernel in kernels:
                key = (kernel.matrix.shape, kernel.matrix.tobytes())
                matrices[key] = kernel.matrix.T
                for source, destination, offset in kernel.bonds:
                    back = (destination, source, tuple(-n for n in offset))
                    found[source].setdefault(key, []).append(back)
        return tuple(_from_bonds(bonds, matrices) for bonds in found)

    @property
    def reach(self) -> tuple[int, ...]:
        """The largest number of cells that a bond spans along each axis."""
        offsets: list[tuple[int, ...]] = []
        for kernel in chain.from_iterable(self.kernels):
            offsets += [bond[2] for bond in kernel.bonds]
        return tuple(int(n) for n in np.abs(offsets).max(0))


@dataclass(frozen=True, eq=False)
class StencilNetwork:
    """A scalar network: functions of the field Q, layers, and one output y per site.

    The input of the first layer consists of tanh(Q/s) for all `steps`, Q/s for `linear`, and
    exp(−Q²/2s²) for all `bumps`, in this order.

    Attributes:
        steps: Widths s of the steps.
        linear: Width s of the linear function.
        bumps: Widths s of the bumps.
        layers: All layers; the last one gives y.
        conservative: Whether y is an energy, E = Σ (y − b √(Q² + 1)), or a force, F = b tanh y.
        force_bound: The bound b; None for E = Σ y or F = y.
    """

    steps: np.ndarray
    linear: float
    bumps: np.ndarray
    layers: tuple[StencilLayer, ...]
    conservative: bool
    force_bound: float | None


def stencil_network(net: ForceNetwork, lattice: Lattice) -> StencilNetwork | None:
    """The same network as matrices on bonds.

    Args:
        net: Trained network.
        lattice: The lattice it was made for, with any extent.

    Returns:
        The network in float64, or None if it has no such form: if the field is not a scalar, or a
        layer is more than SiLU between two linear maps.
    """
    if not (isinstance(net, OrbitNetwork) and net.is_scalar and not net.field_type.is_spin):
        return None
    exact = copy.deepcopy(net).double().cpu()
    graph = exact.graph(minimal_supercell(lattice, exact))
    blocks, basis = [exact.embed, *exact.blocks, exact.readout], exact.basis
    assert isinstance(basis, FieldBasis)  # for fields that are not spins
    if basis.components.to_local is not None or not all(map(_is_plain, blocks)):
        return None
    with torch.no_grad():
        layers: list[StencilLayer] = []
        for n, block in enumerate(blocks):
            # All but the first and the last layer add their input to their output.
            layers += _layers(block, graph, residual=0 < n < len(blocks) - 1)
    steps, bumps = basis.steps.numpy(), basis.bumps.numpy()
    linear = float(steps.max())
    bound = net.field_type.force_bound
    return StencilNetwork(steps, linear, bumps, tuple(layers), net.conservative, bound)


def minimal_supercell(lattice: Lattice, net: ForceNetwork) -> Lattice:
    """The smallest periodic supercell that a network accepts; its bonds are the same.

    Args:
        lattice: The lattice of the network.
        net: The network.

    Raises:
        InputError: There is none below an extent of 100.
    """
    for extent in range(2, 100):
        axes = (extent,) * lattice.dim
        piece = replace(lattice, extent=axes, periodic=True)
        try:
            net.graph(piece)
        except InputError:  # too small for the cutoff
            continue
        return piece
    raise InputError("the cutoff is too long for any extent below 100. Use a shorter cutoff.")


def _is_plain(layer: torch.nn.Module) -> bool:
    """Whether a layer is SiLU of each entry between two linear maps."""
    assert isinstance(layer, NonlinearLayer)
    nonlinearity = layer.nonlinearity
    if not isinstance(nonlinearity, Gate | NormGate):
        return False
    return len(nonlinearity.silu.mapped) == len(nonlinearity.outputs)


def _layers(layer: torch.nn.Module, graph: LatticeGraph, residual: bool) -> list[StencilLayer]:
    """The stencil form of a layer: two layers if its second linear map also acts along bonds."""
    assert isinstance(layer, NonlinearLayer) and isinstance(layer.nonlinearity, Gate | NormGate)
    sublattices = range(graph.lattice.n_sublattices)
    classes = [site_class_index(graph.lattice.cell, s) for s in sublattices]
    pairs = [_pairs(layer.nonlinearity.silu, c) for c in classes]
    # The change of channels before SiLU is absorbed into the first linear map, and its inverse into
    # the second one.
    first: list[tuple[Kernel, ...]] = []
    biases = []
    for s, c, (forth, _) in zip(sublattices, classes, pairs, strict=True):
        found = _kernels(layer.conv, graph, s)
        first.append(tuple(Kernel(kernel.bonds, forth @ kernel.matrix) for kernel in found))
        biases.append(forth @ _bias(layer.conv, c))
    kernels, bias = tuple(first), tuple(biases)
    second = tuple(_kernels(layer.mix, graph, s) for s in sublattices)
    out_bias = tuple(_bias(layer.mix, c) for c in classes)
    inverses = tuple(back for _, back in pairs)
    if layer.mix.cutoff is None:
        mixing = tuple(own.matrix @ back for (own,), back in zip(second, inverses, strict=True))
        return [StencilLayer(kernels, bias, mixing, out_bias, residual)]
    assert not residual
    identities = tuple(np.eye(len(b)) for b in out_bias)
    return [
        StencilLayer(kernels, bias, inverses, _zeros(bias), residual=False),
        StencilLayer(second, out_bias, identities, _zeros(out_bias), residual=False, silu=False),
    ]


def _kernels(conv: OrbitConv, graph: LatticeGraph, sublattice: int) -> tuple[Kernel, ...]:
    """The kernels with a destination on a sublattice; bonds with equal matrices share one."""
    lattice = graph.lattice
    outs = _of_class(conv.outputs, site_class_index(lattice.cell, sublattice))
    bonds: dict[tuple[int, bytes], list[Bond]] = {}
    matrices: dict[tuple[int, bytes], np.ndarray] = {}
    for number, sites in enumerate(site_classes(lattice.cell)):
        ins = _of_class(conv.inputs, number)
        # The order is that of `bond_kernels`: the site itself, then all bonds.
        kinds: list[Bond] = []
        if sublattice in sites.sublattices:
            kinds.append((sublattice, sublattice, (0,) * lattice.dim))
        if conv.cutoff is not None:
            for kind in lattice.bonds(conv.cutoff).cell_bonds:
                if kind[1] == sublattice and kind[0] in sites.sublattices:
                    kinds.append(kind)
        if not kinds:
            continue
        array = bond_kernels(conv, graph, sublattice, outs, ins).numpy()
        for k, kind in enumerate(kinds):
            matrix = np.ascontiguousarray(array[:, k])
            is_on_site = kind[0] == kind[1] and not any(kind[2])
            # Zero matrices are dropped, except on the site, where the mixing needs a matrix.
            if matrix.any() or is_on_site:
                key = (number, matrix.tobytes())
                matrices[key] = matrix
                bonds.setdefault(key, []).append(kind)
    return _from_bonds(bonds, matrices)


def _from_bonds(
    bonds: Mapping[Any, list[Bond]], matrices: Mapping[Any, np.ndarray]
) -> tuple[Kernel, ...]:
    """One kernel for each key."""
    return tuple(Kernel(tuple(shared), matrices[key]) for key, shared in bonds.items())


def _of_class(blocks: Features, number: int) -> list[tuple[int, Block]]:
    """The blocks of channels on one class of equivalent sites, with their indices."""
    return [(b, block) for b, block in enumerate(blocks) if block.type.site_class == number]


def _bias(conv: OrbitConv, number: int) -> np.ndarray:
    """The bias of all channels on one class of sites; blocks without a bias have zeros."""
    parts = []
    for b, block in _of_class(conv.outputs, number):
        if str(b) in conv.biases:
            parts.append(conv.biases[str(b)].numpy())
        else:
            parts.append(np.zeros(block.type.dim * block.channels))
    return np.concatenate(parts)


def _pairs(silu: EntrywiseSiLU, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The map from even and odd channels to their sums and differences, and its inverse.

    SiLU acts on the sums e + o and differences e − o, rather than on the even channels e and the
    odd channels o themselves.
    """
    blocks = _of_class(silu.blocks, number)
    sizes = [block.type.dim * block.channels for _, block in blocks]
    first = {b: start for (b, _), start in zip(blocks, _starts(sizes), strict=True)}
    forth = np.eye(sum(sizes))
    for even, odd in silu.partners.items():
        if even not in first:
            continue
        block, partner = silu.blocks[even], silu.blocks[odd]
        for c in range(block.type.dim):
            # Components are the slow index within a block. An even block can have more channels
            # than its odd partner; the rest stays as it is.
            e = first[even] + c * block.channels + np.arange(partner.channels)
            o = first[odd] + c * partner.channels + np.arange(partner.channels)
            forth[e, o], forth[o, e], forth[o, o] = 1, 1, -1
    return forth, np.linalg.inv(forth)


def _zeros(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Arrays of zeros with the same shapes."""
    return tuple(np.zeros_like(part) for part in parts)


def _starts(sizes: Sequence[int]) -> list[int]:
    """Start of each part in their concatenation."""
    return [0, *np.cumsum(sizes)[:-1].tolist()]
