"""The form of a trained network as matrices on bonds (`StencilNetwork`), where it has one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from lattgnn.backends.stencil import (
    Kernel,
    SpinStencil,
    StencilLayer,
    StencilNetwork,
    kernels_from_bonds,
)
from lattgnn.backends.stencil_parts import (
    SCALAR_PARTS,
    SPIN_PARTS,
    Parts,
    blocks_of_parts,
    channel_changes,
    n_channels,
    stencil_gates,
)
from lattgnn.errors import InputError
from lattgnn.graph import LatticeGraph
from lattgnn.lattice import Lattice, bond_orbits
from lattgnn.lattice.labels import Bond
from lattgnn.nn import FieldBasis, ForceNetwork, OrbitNetwork
from lattgnn.nn.features import Internal
from lattgnn.nn.kernel_weights import bond_kernels, select_blocks
from lattgnn.nn.nonlinear_layer import NonlinearLayer
from lattgnn.nn.nonlinearities import Gate, NormGate, SquareGate
from lattgnn.nn.orbit_conv import OrbitConv
from lattgnn.nn.spin_basis import N_FUNCTIONS, SpinBasis
from lattgnn.symmetry import site_class_index, site_classes


def stencil_network(net: ForceNetwork, lattice: Lattice) -> StencilNetwork | None:
    """The same network as matrices on bonds.

    Args:
        net: Trained network.
        lattice: The lattice it was made for, with any extent.

    Returns:
        The network in float64, or None if it has no such form: if the field is neither a scalar nor
        a spin, if the field is read along bonds in another way than by `SpinBasis`, or if a layer
        is more than SiLU and gates between two linear maps.
    """
    if not isinstance(net, OrbitNetwork):
        return None
    exact = copy.deepcopy(net).double().cpu()
    blocks, basis = [exact.embed, *exact.blocks, exact.readout], exact.basis
    if isinstance(basis, FieldBasis):
        is_known = net.is_scalar and basis.components.to_local is None
    else:
        is_known = type(basis) is SpinBasis
    if not is_known or not all(map(_has_form, blocks)) or exact.embed.conv.cutoff is not None:
        return None
    graph = exact.graph(minimal_supercell(lattice, exact))
    parts = SPIN_PARTS if net.field_type.is_spin else SCALAR_PARTS
    with torch.no_grad():
        layers: list[StencilLayer] = []
        for n, block in enumerate(blocks):
            # All but the first and the last layer add their input to their output.
            layers += _layers(block, graph, parts, residual=0 < n < len(blocks) - 1)
    bound = net.field_type.force_bound
    if isinstance(basis, FieldBasis):
        steps, bumps = basis.steps.numpy(), basis.bumps.numpy()
        linear = float(steps.max())
        return StencilNetwork(steps, linear, bumps, tuple(layers), net.conservative, bound)
    orbits, scales = _spin_orbits(graph.lattice, basis.cutoff)
    layers[0] = _with_scales(layers[0], scales)
    none, spins = np.zeros(0), SpinStencil(orbits, net.tangent)
    return StencilNetwork(none, 1.0, none, tuple(layers), net.conservative, bound, spins)


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


def _has_form(layer: torch.nn.Module) -> bool:
    """Whether a layer is SiLU and gates between two linear maps."""
    assert isinstance(layer, NonlinearLayer)
    nonlinearity = layer.nonlinearity
    if isinstance(nonlinearity, NormGate):
        return len(nonlinearity.silu.mapped) == len(nonlinearity.outputs)
    return isinstance(nonlinearity, Gate | SquareGate)


def _layers(
    layer: torch.nn.Module, graph: LatticeGraph, parts: Parts, residual: bool
) -> list[StencilLayer]:
    """The stencil form of a layer: two layers if its second linear map also acts along bonds."""
    assert isinstance(layer, NonlinearLayer)
    first, second = _kernels(layer.conv, graph, parts), _kernels(layer.mix, graph, parts)
    biases, out_bias = (_biases(conv, graph, parts) for conv in (layer.conv, layer.mix))
    # The change of channels before SiLU is absorbed into the first linear map, and its inverse into
    # the second one.
    changes = channel_changes(layer.nonlinearity, graph, parts, biases)
    kernels, bias, inverses = [], [], []
    for found, own, (forth, back) in zip(first, biases, changes, strict=True):
        kernels.append(tuple(Kernel(kernel.bonds, forth @ kernel.matrix) for kernel in found))
        bias.append(forth @ own)
        inverses.append(back)
    gates = stencil_gates(layer.nonlinearity, graph, parts)
    if layer.mix.cutoff is None:
        mixing = tuple(own.matrix @ back for (own,), back in zip(second, inverses, strict=True))
        return [StencilLayer(tuple(kernels), tuple(bias), mixing, out_bias, residual, gates=gates)]
    assert not residual
    identities = tuple(np.eye(len(b)) for b in out_bias)
    nothing = tuple(np.zeros(len(b)) for b in out_bias)
    between = tuple(np.zeros(len(back)) for back in inverses)
    return [
        StencilLayer(tuple(kernels), tuple(bias), tuple(inverses), between, False, gates=gates),
        StencilLayer(second, out_bias, identities, nothing, residual=False, silu=False),
    ]


def _kernels(conv: OrbitConv, graph: LatticeGraph, parts: Parts) -> tuple[tuple[Kernel, ...], ...]:
    """The kernels of each part as destination."""
    kernels: list[tuple[Kernel, ...]] = []
    for sublattice in range(graph.lattice.n_sublattices):
        # The components of vectors have the same matrices.
        found = {space: _part_kernels(conv, graph, sublattice, space) for space in set(parts)}
        for part, space in enumerate(parts):
            kernels.append(tuple(_numbered(k, part, len(parts)) for k in found[space]))
    return tuple(kernels)


def _numbered(kernel: Kernel, part: int, n_parts: int) -> Kernel:
    """A kernel between sublattices as one between parts."""
    bonds = [(n_parts * a + part, n_parts * b + part, step) for a, b, step in kernel.bonds]
    return Kernel(tuple(bonds), kernel.matrix)


def _part_kernels(
    conv: OrbitConv, graph: LatticeGraph, sublattice: int, space: Internal | None
) -> tuple[Kernel, ...]:
    """The kernels with a destination on a sublattice; bonds with equal matrices share one."""
    lattice = graph.lattice
    own_class = site_class_index(lattice.cell, sublattice)
    outs = select_blocks(conv.outputs, own_class, space)
    here: Bond = (sublattice, sublattice, (0,) * lattice.dim)
    bonds: dict[tuple[int, bytes], list[Bond]] = {}
    matrices: dict[tuple[int, bytes], np.ndarray] = {}
    for number, sites in enumerate(site_classes(lattice.cell)):
        ins = select_blocks(conv.inputs, number, space)
        # The order is that of `bond_kernels`: the site itself, then all bonds.
        kinds = [here] if sublattice in sites.sublattices else []
        if conv.cutoff is not None:
            for kind in lattice.bonds(conv.cutoff).cell_bonds:
                if kind[1] == sublattice and kind[0] in sites.sublattices:
                    kinds.append(kind)
        if not kinds or not outs or not ins:
            continue
        array = bond_kernels(conv, graph, sublattice, outs, ins).numpy()
        for k, kind in enumerate(kinds):
            matrix = np.ascontiguousarray(array[:, k])
            # Zero matrices are dropped, except on the site, where the mixing needs a matrix.
            if matrix.any() or kind == here:
                key = (number, matrix.tobytes())
                matrices[key] = matrix
                bonds.setdefault(key, []).append(kind)
    if not bonds:  # a part without channels
        shape = n_channels(outs), n_channels(select_blocks(conv.inputs, own_class, space))
        return (Kernel((here,), np.zeros(shape)),)
    return kernels_from_bonds(bonds, matrices)


def _biases(conv: OrbitConv, graph: LatticeGraph, parts: Parts) -> tuple[np.ndarray, ...]:
    """The biases of each part; blocks without a bias have zeros."""
    biases = []
    for blocks in blocks_of_parts(conv.outputs, graph.lattice, parts):
        values = [np.zeros(0)]
        for b, block in blocks:
            learned = str(b) in conv.biases
            zeros = np.zeros(block.type.dim * block.channels)
            values.append(conv.biases[str(b)].numpy() if learned else zeros)
        biases.append(np.concatenate(values))
    return tuple(biases)


def _spin_orbits(
    lattice: Lattice, cutoff: float
) -> tuple[tuple[tuple[tuple[Bond, ...], ...], ...], list[np.ndarray]]:
    """The orbits of bonds that end on each sublattice, and the scale of each one's sums."""
    orbits, scales = [], []
    for sublattice in range(lattice.n_sublattices):
        own, found = site_class_index(lattice.cell, sublattice), []
        for orbit in bond_orbits(lattice, cutoff).orbits:
            if site_class_index(lattice.cell, orbit.destination_sublattice) == own:
                found.append(orbit)
        orbits.append(tuple(tuple(b for b in o.bonds if b[1] == sublattice) for o in found))
        # See `lattgnn.nn.bond_operators.bond_sums`.
        scales.append(np.repeat([orbit.multiplicity**-0.5 for orbit in found], N_FUNCTIONS))
    return tuple(orbits), scales


def _with_scales(layer: StencilLayer, scales: Sequence[np.ndarray]) -> StencilLayer:
    """The first layer of a network of spins, which reads plain sums over orbits."""
    kernels = []
    for part, (own,) in enumerate(layer.kernels):
        sublattice, component = divmod(part, len(SPIN_PARTS))
        # Vectors begin with the spin itself.
        scale = scales[sublattice] if component == 0 else np.append(1.0, scales[sublattice])
        kernels.append((Kernel(own.bonds, own.matrix * scale),))
    return replace(layer, kernels=tuple(kernels))
