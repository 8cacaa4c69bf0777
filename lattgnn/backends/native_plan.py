"""The tables that the compiled code of `csrc/stencil.cpp` reads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lattgnn.backends.stencil import Kernel, SpinStencil, StencilLayer, StencilNetwork
from lattgnn.backends.sweep_grid import Grid
from lattgnn.native import library
from lattgnn.nn.spin_basis import N_FUNCTIONS

SPIN_CHANNELS = 5
"""Channels of the field of spins on each site, as in `csrc/spins.h`."""

# The structures below mirror those of `csrc/network.h` field by field; the comments are there.
_int, _long, _float, _pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p


class _Sum(ctypes.Structure):
    _fields_ = [("n_terms", _int), ("n_out", _int)] + [
        (name, _pointer) for name in ("n_bonds", "n_channels", "bonds", "weights")
    ]


class _Gate(ctypes.Structure):
    _fields_ = [
        ("channel", _int),
        ("n_members", _int),
        ("members", _pointer),
        ("square", _float),
    ]


class _Layer(ctypes.Structure):
    _fields_ = [(name, _int) for name in ("n_hidden", "n_out", "residual", "reach")] + [
        (name, _pointer)
        for name in ("first_hidden", "first_out", "bias", "out_bias")
        + ("convolution", "mixing", "back_convolution", "back_mixing")
        + ("kinds", "first_gate", "gates")
    ]


class _Network(ctypes.Structure):
    _fields_ = (
        [(name, _int) for name in ("n_sublattices", "n_parts", "n_layers", "n_steps", "n_bumps")]
        + [("steps", _pointer), ("bumps", _pointer), ("slope", _float), ("bound", _float)]
        + [(name, _int) for name in ("conservative", "tangent", "classical_reach", "field_reach")]
        + [(name, _pointer) for name in ("first_function", "layers", "classical", "spins")]
    )


class _SpinBonds(ctypes.Structure):
    _fields_ = [(name, _int) for name in ("n_orbits", "n_arriving", "n_leaving")] + [
        (name, _pointer) for name in ("n_bonds", "arriving", "leaving")
    ]


class _Tile(ctypes.Structure):
    _fields_ = [(name, _long) for name in ("length", "begin", "end", "n_copies")] + [
        (name, _pointer) for name in ("cells", "copies", "core")
    ]


class _Geometry(ctypes.Structure):
    _fields_ = [(name, _long) for name in ("n_rows", "row_cells", "n_tiles")] + [
        ("periodic_rows", _int),
        ("open", _int),
        ("tiles", _pointer),
    ]


class SweepPlan:
    """A network on a grid as tables, and the plan that the compiled code builds from them."""

    def __init__(
        self, network: StencilNetwork, classical: tuple[tuple[Kernel, ...], ...], grid: Grid
    ) -> None:
        functions = library()
        if functions is None:
            raise RuntimeError("there is no compiled code: install g++, or set CXX.")
        # The plan holds pointers into these arrays, so they must live as long as it does.
        self._kept: list[Any] = []
        self._energies = (len(grid.tiles), grid.extent[0])
        net, geometry = self._network(network, classical, grid), self._geometry(grid)
        self._forces, self._free = functions.lattgnn_forces, functions.lattgnn_free_plan
        self._forces.argtypes = [_pointer, _pointer, _pointer, _pointer, _long, _int]
        self._forces.restype, self._free.restype = _int, None
        self._free.argtypes = [_pointer]
        functions.lattgnn_plan.restype = _pointer
        self._plan = functions.lattgnn_plan(ctypes.byref(net), ctypes.byref(geometry))

    def __del__(self) -> None:
        if getattr(self, "_plan", None):  # missing if the constructor has failed
            self._free(self._plan)

    def __call__(self, field: Tensor, out: Tensor, n_threads: int) -> tuple[bool, Tensor]:
        """Write the forces to `out`; return whether all fields are finite, and parts of energies.

        There is one part for each tile and row, so that their sum does not depend on the number of
        threads; [batch, n_tiles, n_rows].
        """
        batch = field.shape[0]
        parts = torch.zeros(batch, *self._energies, dtype=torch.float64)
        pointers = (field.data_ptr(), out.data_ptr(), parts.data_ptr())
        return bool(self._forces(self._plan, *pointers, batch, n_threads)), parts

    def _array(self, values: Any, dtype: Any) -> int:
        """Address of a contiguous copy of the values that lives as long as this object."""
        array = np.ascontiguousarray(values, dtype=dtype)
        self._kept.append(array)
        return array.ctypes.data

    def _structures(self, kind: type[ctypes.Structure], values: Sequence[ctypes.Structure]) -> int:
        """Address of an array of structures that lives as long as this object."""
        array = (kind * len(values))(*values)
        self._kept.append(array)
        return ctypes.addressof(array)

    def _sum(self, kernels: tuple[Kernel, ...], first: Sequence[int], grid: Grid) -> _Sum:
        """A sum over kernels, whose inputs start at channel `first` of each source sublattice."""
        bonds = []
        for kernel in kernels:
            for source, _, step in kernel.bonds:
                offset = grid.offset(step)
                # The source lies at minus the offset of the bond: first channel, rows, slots.
                bonds.append((first[source], -offset[0], -grid.shift(offset)))
        # Matrices are stored one after another with the input channel as the slow index.
        return _Sum(
            len(kernels),
            len(kernels[0].matrix),
            self._array([len(k.bonds) for k in kernels], np.int32),
            self._array([k.matrix.shape[1] for k in kernels], np.int32),
            self._array(bonds, np.int64),
            self._array(np.concatenate([k.matrix.T for k in kernels]), np.float32),
        )

    def _sums(self, kernels: Sequence[tuple[Kernel, ...]], first: Sequence[int], grid: Grid) -> int:
        """Address of the sums of all destination sublattices."""
        return self._structures(_Sum, [self._sum(k, first, grid) for k in kernels])

    def _layer(
        self, layer: StencilLayer, first_in: Sequence[int], grid: Grid
    ) -> tuple[_Layer, list[int]]:
        """The table of a layer, and the first output channel of each sublattice."""
        first_hidden, first_out = _firsts(layer.bias), _firsts(layer.out_bias)
        here = (0,) * grid.dim
        mixing = [(Kernel(((d, d, here),), m),) for d, m in enumerate(layer.mixing)]
        back_mixing = [(Kernel(((d, d, here),), m.T),) for d, m in enumerate(layer.mixing)]
        # Mixing reads the channels of one sublattice from a buffer of its own, not from rows.
        zeros = [0] * len(mixing)
        kinds, first_gate, gates = self._nonlinearity(layer, first_hidden)
        entry = _Layer(
            first_hidden[-1],
            first_out[-1],
            layer.residual,
            grid.offset(layer.reach)[0],
            self._array(first_hidden, np.int32),
            self._array(first_out, np.int32),
            self._array(np.concatenate(layer.bias), np.float32),
            self._array(np.concatenate(layer.out_bias), np.float32),
            self._sums(layer.kernels, first_in, grid),
            self._sums(mixing, zeros, grid),
            self._sums(layer.transposed(), first_hidden, grid),
            self._sums(back_mixing, zeros, grid),
            self._array(kinds, np.int32),
            self._array(first_gate, np.int32),
            self._structures(_Gate, gates),
        )
        return entry, first_out

    def _nonlinearity(
        self, layer: StencilLayer, first_hidden: Sequence[int]
    ) -> tuple[np.ndarray, list[int], list[_Gate]]:
        """The kind of each hidden channel, the first gate of each sublattice, and all gates."""
        identity, silu, gated = range(3)
        kinds = np.full(first_hidden[-1], silu if layer.silu else identity)
        n_parts = len(layer.bias) // max(1, len(layer.gates))
        gates = []
        for sublattice, own in enumerate(layer.gates):
            first = first_hidden[n_parts * sublattice]
            for gate in own:
                kinds[[first + channel for channel in (gate.channel, *gate.members)]] = gated
                members = self._array(gate.members, np.int32)
                gates.append(_Gate(gate.channel, len(gate.members), members, gate.square))
        counts = [len(own) for own in layer.gates] or [0] * len(layer.bias)
        return kinds, [0, *np.cumsum(counts).tolist()], gates

    def _network(self, network: StencilNetwork, classical: Sequence, grid: Grid) -> _Network:
        """The table of the whole network."""
        n_sublattices = len(network.layers[0].bias) // network.n_parts
        layers, first = [], [0] * len(network.layers[0].bias)
        sizes = [kernels[0].matrix.shape[1] for kernels in network.layers[0].kernels]
        first_function = [0, *np.cumsum(sizes).tolist()]
        for layer in network.layers:
            entry, first = self._layer(layer, first, grid)
            layers.append(entry)
        return _Network(
            n_sublattices,
            network.n_parts,
            len(layers),
            len(network.steps),
            len(network.bumps),
            # Inverse widths: the inner loops multiply rather than divide.
            self._array(1 / network.steps, np.float32),
            self._array(1 / network.bumps, np.float32),
            1 / network.linear,
            network.force_bound or 0.0,
            network.conservative,
            network.spins is not None and network.spins.tangent,
            grid.classical_reach[0],
            grid.field_reach,
            self._array(first_function, np.int32),
            self._structures(_Layer, layers),
            self._sums(classical, range(n_sublattices), grid) if classical else None,
            None if network.spins is None else self._spins(network.spins, first_function, grid),
        )

    def _spins(self, spins: SpinStencil, first_function: Sequence[int], grid: Grid) -> int:
        """Address of the tables of the bonds on which each sublattice reads spins."""
        leaving: list[list[tuple[int, ...]]] = [[] for _ in spins.orbits]
        arriving: list[list[tuple[int, ...]]] = [[] for _ in spins.orbits]
        for destination, orbits in enumerate(spins.orbits):
            parts = first_function[4 * destination : 4 * destination + 3]
            n_vectors = parts[2] - parts[1]
            for number, orbit in enumerate(orbits):
                done = number * N_FUNCTIONS
                # The first vector is the spin itself.
                functions = (parts[0] + done, parts[1] + done + 1, n_vectors)
                for source, _, step in orbit:
                    offset = grid.offset(step)
                    rows, slots = offset[0], grid.shift(offset)
                    arriving[destination].append((SPIN_CHANNELS * source, -rows, -slots))
                    end = (SPIN_CHANNELS * destination, rows, slots)
                    leaving[source].append((*end, *functions))
        tables = []
        for orbits, into, out in zip(spins.orbits, arriving, leaving, strict=True):
            arrays = [self._array(a, np.int64) for a in ([len(o) for o in orbits], into, out)]
            tables.append(_SpinBonds(len(orbits), len(into), len(out), *arrays))
        return self._structures(_SpinBonds, tables)

    def _geometry(self, grid: Grid) -> _Geometry:
        """The table of rows and tiles."""
        tiles = []
        for tile in grid.tiles:
            # Slots that the tile computes, its halo included, lie between the first and the last.
            begin, last = np.flatnonzero(tile.core >= 0)[[0, -1]]
            arrays = [self._array(a, np.int32) for a in (tile.cells, tile.copies, tile.core > 0)]
            tiles.append(_Tile(len(tile.cells), begin, last + 1, len(tile.copies), *arrays))
        row_cells, is_open = int(np.prod(grid.extent[1:])), not all(grid.periodic)
        pieces = self._structures(_Tile, tiles)
        return _Geometry(grid.extent[0], row_cells, len(tiles), grid.periodic[0], is_open, pieces)


def _firsts(parts: Sequence[np.ndarray]) -> list[int]:
    """Start of each part in their concatenation, and the total length."""
    return [0, *np.cumsum([len(p) for p in parts]).tolist()]
