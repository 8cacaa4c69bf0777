"""A trained network of scalars as plain matrices on the bonds of one unit cell.

This is the form that the compiled code and the torch form compute with. A layer applies the same
matrices in every cell, so it needs neither the symmetry of the lattice nor its extent any more.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lattgnn.errors import InputError
from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice
from lattgnn.nn import FieldBasis, ForceNetwork, OrbitNetwork
from lattgnn.nn.features import Block, Features
from lattgnn.nn.kernel_weights import bond_kernels
from lattgnn.nn.nonlinear_layer import NonlinearLayer
from lattgnn.nn.nonlinearities import EntrywiseSiLU, Gate, NormGate
from lattgnn.nn.orbit_conv import OrbitConv
from lattgnn.symmetry import site_class_index, site_classes

Bond = tuple[int, int, tuple[int, ...]]
"""(source sublattice, destination sublattice, cell of the destination minus cell of the source)."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """An equivariant kernel: one matrix on several bonds, whose sources are summed first.

    Attributes:
        bonds: All with the same destination sublattice.
        matrix: [n_out, n_in], between the channels of a destination and a source.
    """

    bonds: tuple[Bond, ...]
    matrix: np.ndarray


@dataclass(frozen=True, eq=False)
class StencilLayer:
    """x → (x +) mixing · f(bias + Σ kernels · x) + out_bias on each cell, float64.

    Attributes:
        kernels: Of each destination sublattice.
        bias: [n_hidden] of each sublattice.
        mixing: [n_out, n_hidden] of each sublattice.
        out_bias: [n_out] of each sublattice.
        residual: Whether the input is added to the output.
        silu: Whether f is SiLU, or nothing.
    """

    kernels: tuple[tuple[Kernel, ...], ...]
    bias: tuple[np.ndarray, ...]
    mixing: tuple[np.ndarray, ...]
    out_bias: tuple[np.ndarray, ...]
    residual: bool
    silu: bool = True

    def transposed(self) -> tuple[tuple[Kernel, ...], ...]:
        """The transposed kernels of each source sublattice, for the gradient."""
        found: list[dict[tuple, list[Bond]]] = [{} for _ in self.kernels]
        matrices: dict[tuple, np.ndarray] = {}
        for kernels in self.kernels:
            for kernel in kernels:
                key = (kernel.matrix.shape, kernel.matrix.tobytes())
                matrices[key] = kernel.matrix.T
                for source, destination, offset in kernel.bonds:
                    back = (destination, source, tuple(-n for n in offset))
                    found[source].setdefault(key, []).append(back)
        return tuple(
            tuple(Kernel(tuple(b), matrices[k]) for k, b in bonds.items()) for bonds in found
        )

    @property
    def reach(self) -> tuple[int, ...]:
        """The most cells that a bond spans along each axis."""
        offsets = [
            bond[2] for kernels in self.kernels for kernel in kernels for bond in kernel.bonds
        ]
        return tuple(int(n) for n in np.abs(offsets).max(0))


@dataclass(frozen=True, eq=False)
class StencilNetwork:
    """A network of scalars: functions of the field, layers, then a force or an energy per site.

    Attributes:
        steps: Widths s of tanh(Q/s).
        linear: Width s of Q/s.
        bumps: Widths s of exp(−Q²/2s²). The input of the first layer is all three, in this order.
        layers: The last one gives one number per site, y.
        conservative: Whether y is an energy, E = Σ y − b √(Q² + 1), or a force, b tanh y.
        force_bound: b, or None for E = Σ y, or the force y.
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
    assert isinstance(basis, FieldBasis)  # the one of fields without an internal space
    if basis.components.to_local is not None or not all(map(_is_plain, blocks)):
        return None
    with torch.no_grad():
        inner = range(1, len(blocks) - 1)
        layers = [
            part for n, block in enumerate(blocks) for part in _layers(block, graph, n in inner)
        ]
    steps, bumps = basis.steps.numpy(), basis.bumps.numpy()
    linear = float(steps.max())
    bound = net.field_type.force_bound
    return StencilNetwork(steps, linear, bumps, tuple(layers), net.conservative, bound)


def minimal_supercell(lattice: Lattice, net: ForceNetwork) -> Lattice:
    """The smallest periodic supercell that a network accepts; it has the same bonds."""
    for extent in range(2, 100):
        axes = (extent,) * lattice.dim
        piece = Lattice(lattice.primitive_vectors, lattice.basis, axes, True, lattice.name)
        try:
            net.graph(piece)
        except ValueError:  # too small for the cutoff
            continue
        return piece
    raise InputError("the network must fit an extent below 100, got none. Use a shorter cutoff.")


def _is_plain(layer: torch.nn.Module) -> bool:
    """Whether a layer is SiLU of every entry between two linear maps."""
    assert isinstance(layer, NonlinearLayer)
    nonlinearity = layer.nonlinearity
    if not isinstance(nonlinearity, Gate | NormGate):
        return False
    return len(nonlinearity.silu.mapped) == len(nonlinearity.outputs)


def _layers(layer: torch.nn.Module, graph: LatticeGraph, residual: bool) -> list[StencilLayer]:
    """One layer, or two where the second linear map is over bonds as well."""
    assert isinstance(layer, NonlinearLayer) and isinstance(layer.nonlinearity, Gate | NormGate)
    sublattices = range(graph.lattice.n_sublattices)
    classes = [site_class_index(graph.lattice.cell, s) for s in sublattices]
    pairs = [_pairs(layer.nonlinearity.silu, c) for c in classes]
    found = [_kernels(layer.conv, graph, s) for s in sublattices]
    kernels = tuple(
        tuple(Kernel(k.bonds, forth @ k.matrix) for k in into)
        for into, (forth, _) in zip(found, pairs, strict=True)
    )
    bias = tuple(forth @ _bias(layer.conv, c) for c, (forth, _) in zip(classes, pairs, strict=True))
    second = [_kernels(layer.mix, graph, s) for s in sublattices]
    out_bias = tuple(_bias(layer.mix, c) for c in classes)
    if layer.mix.cutoff is None:
        mixing = tuple(own.matrix @ back for (own,), (_, back) in zip(second, pairs, strict=True))
        return [StencilLayer(kernels, bias, mixing, out_bias, residual)]
    assert not residual
    hidden = StencilLayer(kernels, bias, tuple(back for _, back in pairs), _zeros(bias), False)
    nothing = tuple(np.eye(len(b)) for b in out_bias)
    return [
        hidden,
        StencilLayer(
            tuple(map(tuple, second)), out_bias, nothing, _zeros(out_bias), False, silu=False
        ),
    ]


def _kernels(conv: OrbitConv, graph: LatticeGraph, sublattice: int) -> list[Kernel]:
    """The kernels with a destination on a sublattice; bonds with equal matrices share one."""
    lattice = graph.lattice
    outs = _of_class(conv.outputs, site_class_index(lattice.cell, sublattice))
    bonds: dict[tuple[int, bytes], list[Bond]] = {}
    matrices: dict[tuple[int, bytes], np.ndarray] = {}
    for number, sites in enumerate(site_classes(lattice.cell)):
        ins = _of_class(conv.inputs, number)
        kinds: list[Bond] = (
            [(sublattice, sublattice, (0,) * lattice.dim)]
            if sublattice in sites.sublattices
            else []
        )
        if conv.cutoff is not None:
            everything = lattice.bonds(conv.cutoff).cell_bonds
            kinds += [k for k in everything if k[1] == sublattice and k[0] in sites.sublattices]
        if not kinds:
            continue
        array = bond_kernels(conv, graph, sublattice, outs, ins).numpy()
        for k, kind in enumerate(kinds):
            matrix = np.ascontiguousarray(array[:, k])
            if matrix.any() or kind[0] == kind[1] and not any(kind[2]):
                key = (number, matrix.tobytes())
                matrices[key] = matrix
                bonds.setdefault(key, []).append(kind)
    return [Kernel(tuple(b), matrices[key]) for key, b in bonds.items()]


def _of_class(blocks: Features, number: int) -> list[tuple[int, Block]]:
    return [(b, block) for b, block in enumerate(blocks) if block.type.site_class == number]


def _bias(conv: OrbitConv, number: int) -> np.ndarray:
    parts = [
        conv.biases[str(b)].numpy()
        if str(b) in conv.biases
        else np.zeros(block.type.dim * block.channels)
        for b, block in _of_class(conv.outputs, number)
    ]
    return np.concatenate(parts)


def _pairs(silu: EntrywiseSiLU, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The map from even and odd channels to their sums and differences, and its inverse.

    SiLU acts on the entries e + o and e - o rather than on even and odd channels themselves.
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
            e = first[even] + c * block.channels + np.arange(partner.channels)
            o = first[odd] + c * partner.channels + np.arange(partner.channels)
            forth[e, o], forth[o, e], forth[o, o] = 1, 1, -1
    return forth, np.linalg.inv(forth)


def _zeros(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros_like(part) for part in parts)


def _starts(sizes: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(sizes)[:-1].tolist()]
