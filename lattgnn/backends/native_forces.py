"""Forces of a scalar network by the compiled code of `csrc/stencil.cpp`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.backends.stencil import Kernel, StencilLayer, StencilNetwork
from lattgnn.backends.sweep_grid import TILE_BYTES, Grid, bytes_per_cell
from lattgnn.errors import InputError
from lattgnn.lattice import Lattice
from lattgnn.native import library

FLAT_BYTES = 2 * 2**20
"""A lattice whose channels take at most this much memory stays in the cache and is one row."""

# The structures below mirror those of `csrc/stencil.cpp` field by field; the comments are there.
_int, _long, _float, _pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p


class _Sum(ctypes.Structure):
    _fields_ = [("n_terms", _int), ("n_out", _int)] + [
        (name, _pointer) for name in ("n_bonds", "n_channels", "bonds", "weights")
    ]


class _Layer(ctypes.Structure):
    _fields_ = [(name, _int) for name in ("n_hidden", "n_out", "residual", "silu", "reach")] + [
        (name, _pointer)
        for name in ("first_hidden", "first_out", "bias", "out_bias")
        + ("convolution", "mixing", "back_convolution", "back_mixing")
    ]


class _Network(ctypes.Structure):
    _fields_ = (
        [(name, _int) for name in ("n_sublattices", "n_layers", "n_steps", "n_bumps")]
        + [("steps", _pointer), ("bumps", _pointer), ("slope", _float), ("bound", _float)]
        + [
            ("conservative", _int),
            ("classical_reach", _int),
            ("layers", _pointer),
            ("classical", _pointer),
        ]
    )


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


class NativeForces:
    """Energies and forces of a scalar network on one lattice, in float32 on the CPU.

    Args:
        network: The network as matrices on bonds.
        lattice: The lattice of the fields.
        classical: 1×1 kernels of a linear classical force, for each destination sublattice.
        tile_bytes: Memory for the rows that a sweep keeps; longer rows are cut into tiles. A
            lattice that takes at most `FLAT_BYTES` is a single row if the number of samples is a
            multiple of the number of threads.
        core: Cells along each axis whose energies count. Forces are then written there only.

    Raises:
        RuntimeError: There is no compiled code on this machine; see `lattgnn.native.library`.
    """

    def __init__(
        self,
        network: StencilNetwork,
        lattice: Lattice,
        classical: tuple[tuple[Kernel, ...], ...] = (),
        tile_bytes: int = TILE_BYTES,
        core: Sequence[slice] | None = None,
    ) -> None:
        self.network, self.conservative = network, network.conservative
        grid = Grid(lattice, network, classical, tile_bytes, core=core)
        self.n_tiles = len(grid.tiles)
        self._rows, self._flat = _Plan(network, classical, grid), None
        self._counted = grid.counted_rows
        if core is not None:
            return
        if lattice.n_cells * bytes_per_cell(network, [0] * len(network.layers)) <= FLAT_BYTES:
            self._flat = _Plan(network, classical, Grid(lattice, network, classical, flat=True))

    def __call__(
        self,
        field: Float[Tensor, "batch n_sites"],
        out: Float[Tensor, "batch n_sites"] | None = None,
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites"]]:
        """Total energies and forces.

        Args:
            field: Contiguous float32 tensor on the CPU; [batch, n_sites].
            out: Tensor like `field` that receives the forces.

        Returns:
            Energies [batch] in float64, or None without an energy head, and forces like the field.

        Raises:
            InputError: A field is not finite.
        """
        # A single row cannot be divided: with one, each thread must get the same number of samples.
        out, n_threads = torch.empty_like(field) if out is None else out, torch.get_num_threads()
        whole = self._flat if field.shape[0] % n_threads == 0 else None
        finite, parts = (whole or self._rows)(field, out, n_threads)
        if not finite:
            bad = (~field.isfinite()).nonzero()[0].tolist()
            raise InputError(
                f"field must be finite, got {field[tuple(bad)].item()!r} at index {bad}. "
                "Use a finite field; in a run, a smaller time step."
            )
        energy = parts[:, :, self._counted].sum((1, 2))
        return (energy if self.conservative else None), out


class _Plan:
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
        entry = _Layer(
            first_hidden[-1],
            first_out[-1],
            layer.residual,
            layer.silu,
            grid.offset(layer.reach)[0],
            self._array(first_hidden, np.int32),
            self._array(first_out, np.int32),
            self._array(np.concatenate(layer.bias), np.float32),
            self._array(np.concatenate(layer.out_bias), np.float32),
            self._sums(layer.kernels, first_in, grid),
            self._sums(mixing, zeros, grid),
            self._sums(layer.transposed(), first_hidden, grid),
            self._sums(back_mixing, zeros, grid),
        )
        return entry, first_out

    def _network(self, network: StencilNetwork, classical: Sequence, grid: Grid) -> _Network:
        """The table of the whole network."""
        n_sublattices = len(network.layers[0].bias)
        layers, first = [], [0] * n_sublattices
        for layer in network.layers:
            entry, first = self._layer(layer, first, grid)
            layers.append(entry)
        return _Network(
            n_sublattices,
            len(layers),
            len(network.steps),
            len(network.bumps),
            # Inverse widths: the inner loops multiply rather than divide.
            self._array(1 / network.steps, np.float32),
            self._array(1 / network.bumps, np.float32),
            1 / network.linear,
            network.force_bound or 0.0,
            network.conservative,
            grid.classical_reach[0],
            self._structures(_Layer, layers),
            self._sums(classical, range(n_sublattices), grid) if classical else None,
        )

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
