"""Forces by the compiled kernel `native/stencil.cpp`: the tables that it reads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.inference.grid import TILE_BYTES, Grid
from lattgnn.inference.layers import Kernel, StencilLayer, StencilNetwork
from lattgnn.lattice import Lattice
from lattgnn.native import library

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
        + [("conservative", _int), ("classical_reach", _int), ("layers", _pointer), ("classical", _pointer)]
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
    """Energies and forces of a network of scalars on one lattice, float32, on the CPU.

    Args:
        network: What to compute.
        lattice: Where.
        classical: Kernels of a linear classical force for each destination sublattice, 1×1 matrices.
        tile_bytes: Memory for rows in flight; it cuts rows into tiles.

    Raises:
        RuntimeError: Nothing could be compiled here; see `lattgnn.native.library`.
    """

    def __init__(
        self,
        network: StencilNetwork,
        lattice: Lattice,
        classical: tuple[tuple[Kernel, ...], ...] = (),
        tile_bytes: int = TILE_BYTES,
    ) -> None:
        functions = library()
        if functions is None:
            raise RuntimeError("a C++ compiler must be there, got none. Install g++, or set CXX.")
        self.lattice, self.conservative = lattice, network.conservative
        self._kept: list[Any] = []
        grid = Grid(lattice, network, classical, tile_bytes)
        self.n_tiles, self._n_rows = len(grid.tiles), grid.extent[0]
        net, geometry = self._network(network, classical, grid), self._geometry(grid)
        self._forces, self._free = functions.lattgnn_forces, functions.lattgnn_free_plan
        self._forces.argtypes = [_pointer, _pointer, _pointer, _pointer, _long, _int]
        self._forces.restype = self._free.restype = None
        self._free.argtypes = [_pointer]
        functions.lattgnn_plan.restype = _pointer
        self._plan = functions.lattgnn_plan(ctypes.byref(net), ctypes.byref(geometry))

    def __del__(self) -> None:
        if getattr(self, "_plan", None):
            self._free(self._plan)

    def __call__(
        self, field: Float[Tensor, "batch n_sites"], out: Float[Tensor, "batch n_sites"] | None = None
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites"]]:
        """Energies (float64, None for a network without) and forces, the classical ones included.

        Args:
            field: float32, contiguous, on the CPU.
            out: Where the forces go, a tensor like `field`.
        """
        out = torch.empty_like(field) if out is None else out
        energies = torch.zeros(len(field), self.n_tiles, self._n_rows, dtype=torch.float64)
        self._forces(
            self._plan,
            field.data_ptr(),
            out.data_ptr(),
            energies.data_ptr() if self.conservative else None,
            len(field),
            torch.get_num_threads(),
        )
        return (energies.sum((1, 2)) if self.conservative else None), out

    def _array(self, values: Any, dtype: Any) -> int:
        """Address of an array that lives as long as this object."""
        array = np.ascontiguousarray(values, dtype=dtype)
        self._kept.append(array)
        return array.ctypes.data

    def _structures(self, kind: type[ctypes.Structure], values: Sequence[ctypes.Structure]) -> int:
        array = (kind * len(values))(*values)
        self._kept.append(array)
        return ctypes.addressof(array)

    def _sum(self, kernels: tuple[Kernel, ...], first: Sequence[int], grid: Grid) -> _Sum:
        """A sum over kernels; `first` is the first channel of each sublattice in the rows that it reads."""
        steps = [(first[s], grid.offset(step)) for k in kernels for s, _, step in k.bonds]
        bonds = [(channel, -step[0], -grid.shift(step)) for channel, step in steps]
        return _Sum(
            len(kernels),
            len(kernels[0].matrix),
            self._array([len(k.bonds) for k in kernels], np.int32),
            self._array([k.matrix.shape[1] for k in kernels], np.int32),
            self._array(bonds, np.int64),
            self._array(np.concatenate([k.matrix.T for k in kernels]), np.float32),
        )

    def _sums(self, kernels: Sequence[tuple[Kernel, ...]], first: Sequence[int], grid: Grid) -> int:
        return self._structures(_Sum, [self._sum(k, first, grid) for k in kernels])

    def _layer(self, layer: StencilLayer, first_in: Sequence[int], grid: Grid) -> tuple[_Layer, list[int]]:
        first_hidden, first_out = _firsts(layer.bias), _firsts(layer.out_bias)
        here = (0,) * self.lattice.dim
        mixing = [(Kernel(((d, d, here),), m),) for d, m in enumerate(layer.mixing)]
        back_mixing = [(Kernel(((d, d, here),), m.T),) for d, m in enumerate(layer.mixing)]
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
        layers, first = [], [0] * self.lattice.n_sublattices
        for layer in network.layers:
            entry, first = self._layer(layer, first, grid)
            layers.append(entry)
        return _Network(
            self.lattice.n_sublattices,
            len(layers),
            len(network.steps),
            len(network.bumps),
            self._array(1 / network.steps, np.float32),
            self._array(1 / network.bumps, np.float32),
            1 / network.linear,
            network.force_bound or 0.0,
            network.conservative,
            grid.classical_reach[0],
            self._structures(_Layer, layers),
            self._sums(classical, range(self.lattice.n_sublattices), grid) if classical else None,
        )

    def _geometry(self, grid: Grid) -> _Geometry:
        tiles = []
        for tile in grid.tiles:
            begin, *_, last = np.flatnonzero(tile.core >= 0)
            arrays = [self._array(a, np.int32) for a in (tile.cells, tile.copies, tile.core > 0)]
            tiles.append(_Tile(len(tile.cells), begin, last + 1, len(tile.copies), *arrays))
        row_cells, is_open = int(np.prod(grid.extent[1:])), not all(grid.periodic)
        pieces = self._structures(_Tile, tiles)
        return _Geometry(grid.extent[0], row_cells, len(tiles), grid.periodic[0], is_open, pieces)


def _firsts(parts: Sequence[np.ndarray]) -> list[int]:
    return [0, *np.cumsum([len(p) for p in parts]).tolist()]
