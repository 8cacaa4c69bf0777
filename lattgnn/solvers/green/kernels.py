"""Sums over poles by generated C++, which is compiled at first use."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import math
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from lattgnn.native import generated_library
from lattgnn.solvers.green.codegen import library_source
from lattgnn.solvers.green.pipelines import Input, Pipelines

_log = logging.getLogger(__name__)
# A compiler takes about 1.5 s, and 0.9 ms for each operation.
MOST_OPERATIONS = 20_000

_SYMBOLS = ("green_memory", "green_free", "green_run")
_int64, _double, _pointer = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


# The structures of csrc/green.h, field by field; the comments are there.
class _Plane(ctypes.Structure):
    _fields_ = (
        ("index", _pointer),
        ("first", _int64),
        ("step", _int64),
        ("scale", _double),
        ("shift", _double),
    )


class _Pole(ctypes.Structure):
    _fields_ = (("pipeline", _int64), ("parameters", _pointer))


class _Request(ctypes.Structure):
    _fields_ = (
        ("extent", _int64 * 3),
        *((name, _int64) for name in ("n_batch", "source_size", "n_input", "n_out", "n_poles")),
        ("n_threads", _int64),
        ("planes", _pointer),
        ("poles", _pointer),
        *((name, _int64) for name in ("plane_step", "cell_step", "out_size")),
    )


class CompiledSums:
    """Sums over poles by compiled programs, on the CPU.

    Args:
        pipelines: The programs.
        dtype: float32 or float64.

    Raises:
        RuntimeError: If there is no compiled code on this machine, or the programs are too long.
            A line in the log says why.
    """

    def __init__(self, pipelines: Pipelines, dtype: torch.dtype) -> None:
        self._n_parameters, double = pipelines.n_parameters, dtype == torch.float64
        functions = generated_library(
            f"{_checksum_of_generator()} {double} {pipelines.key}",
            partial(_source, pipelines, double),
            _SYMBOLS,
        )
        if functions is None:
            raise RuntimeError("there is no compiled code: install g++, or set CXX.")
        self._run, self._free = functions.green_run, functions.green_free
        self._run.argtypes = [_pointer] * 4
        self._free.argtypes, self._free.restype = [_pointer], None
        functions.green_memory.restype = _pointer
        self._memory = functions.green_memory()

    def __del__(self) -> None:
        if getattr(self, "_memory", None):  # missing if the constructor has failed
            self._free(self._memory)

    def request(
        self,
        extent: tuple[int, ...],
        inputs: Sequence[Input],
        runs: Sequence[tuple[int, list[float]]],
        n_out: int,
        by_cell: bool,
    ) -> Request:
        """What does not change from call to call.

        Args:
            extent: Cells along each axis.
            inputs: The planes of the input.
            runs: As `Pipelines.runs` gives them.
            n_out: Planes of the result.
            by_cell: Whether the results of a cell lie together, [n_cells, n_out], instead of
                [n_out, n_cells].
        """
        return Request(extent, inputs, runs, n_out, by_cell, self._n_parameters)

    def __call__(self, source: Tensor, out: Tensor, request: Request) -> bool:
        """Add up all poles.

        Args:
            source: Fields or elements, contiguous and in the dtype of the programs, [batch, ...].
            out: Receives the sums, likewise.
            request: Everything else.

        Returns:
            Whether all numbers of the source that were read are finite.
        """
        entries = request.entries
        entries.n_batch, entries.n_threads = len(source), torch.get_num_threads()
        n_numbers = source[0].numel() * (2 if source.is_complex() else 1)
        entries.source_size, entries.out_size = n_numbers, out[0].numel()
        address = ctypes.byref(entries)
        return bool(self._run(self._memory, address, source.data_ptr(), out.data_ptr()))


class Request:
    """The tables of a call, see `CompiledSums.request`."""

    def __init__(
        self,
        extent: tuple[int, ...],
        inputs: Sequence[Input],
        runs: Sequence[tuple[int, list[float]]],
        n_out: int,
        by_cell: bool,
        n_parameters: int,
    ) -> None:
        # The tables hold addresses of these arrays, so they must live as long as the request.
        self._kept = [one.index for one in inputs]
        values = [(_double * n_parameters)(*numbers) for _, numbers in runs]
        planes = (_Plane * len(inputs))(*map(_plane, inputs))
        pairs = zip(runs, values, strict=True)
        poles = (_Pole * len(runs))(*(_Pole(run[0], ctypes.addressof(v)) for run, v in pairs))
        self._kept += [values, planes, poles]
        n_cells = math.prod(extent)
        self.entries = _Request(
            extent=_three_axes(extent),
            n_input=len(inputs),
            n_out=n_out,
            n_poles=len(runs),
            planes=ctypes.addressof(planes),
            poles=ctypes.addressof(poles),
            plane_step=1 if by_cell else n_cells,
            cell_step=n_out if by_cell else 1,
        )


def _plane(one: Input) -> _Plane:
    address = None if one.index is None else one.index.ctypes.data
    return _Plane(address, one.first, one.step, one.scale, one.shift)


def _three_axes(extent: tuple[int, ...]) -> tuple[int, int, int]:
    """The axes of a sweep, of the rows of a slab, and of a row."""
    *others, last = extent
    first, second = (*others, 1, 1)[:2]
    return first, second, last


def _source(pipelines: Pipelines, double: bool) -> str:
    if pipelines.n_operations > MOST_OPERATIONS:
        kinds = ", ".join(f"{block}:{rounds}" for block, rounds in pipelines.kinds)
        _log.warning(
            "the blocks %s make programs of %d operations, and a compiler would take minutes for "
            "more than %d: PyTorch operations are used instead, which are slower. Use smaller "
            "blocks, or a schedule with large blocks at the lowest poles only.",
            kinds,
            pipelines.n_operations,
            MOST_OPERATIONS,
        )
        raise RuntimeError("the programs are too long for a compiler.")
    n_axes = len(pipelines.stencil.extent)
    return library_source(pipelines.stages, pipelines.n_parameters, n_axes, double)


@cache
def _checksum_of_generator() -> str:
    """A checksum of the code that generates programs: a change of it makes new libraries."""
    folder = Path(__file__).parent
    names = ("stencil", "stencil_blocks", "blocks", "straight_line", "stages", "elimination")
    more = ("program", "block_elimination", "mean_poles", "list_schedule", "codegen")
    paths = [folder / f"{name}.py" for name in (*names, *more)]
    paths.append(folder.parents[1] / "csrc" / "green.h")
    texts = [path.read_bytes() for path in paths]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]
