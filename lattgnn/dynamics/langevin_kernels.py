"""The compiled functions of csrc/langevin.cpp and their argument structures, declared for ctypes.

Names, order and types of the fields must match the C++ structures exactly: ctypes cannot check it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

from lattgnn import native


@dataclass(frozen=True)
class SiteRows:
    """The sites of a part of a lattice, which are rows of consecutive sites.

    Attributes:
        first: First site of the first row.
        length: Number of sites of a row.
        stride: Number of sites from the beginning of a row to that of the next one.
    """

    first: int
    length: int
    stride: int


class NoiseRequest(ctypes.Structure):
    """The random numbers to generate: replicas × indices within a replica, summed over steps.

    `step_and_purpose` holds the step in its low 56 bits and the purpose in the 8 bits above them.
    The index of a number within its replica is site × n_components + component. The numbers of a
    part of a lattice are rows of consecutive indices, which begin `row_stride` apart.
    """

    _fields_ = (
        ("seed", ctypes.c_uint64),
        ("step_and_purpose", ctypes.c_uint64),
        ("first_replica", ctypes.c_uint64),
        ("first_index", ctypes.c_uint64),
        ("n_replicas", ctypes.c_int64),
        ("n_numbers", ctypes.c_int64),
        ("n_draws", ctypes.c_int32),
        ("n_threads", ctypes.c_int32),
        ("row_numbers", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
    )


class Update(ctypes.Structure):
    """Coefficients of an update of momentum and field, whose parts are done in this order.

    p ← p + kick F
    Q ← Q + drift p
    p ← decay p + noise ξ
    Q ← Q + drift_after p

    A positive `friction` takes the place of `decay`: p ← p − friction p + noise ξ. This serves
    rates that are so small that 1 − friction loses digits, see `lattgnn.dynamics.update`.
    """

    _fields_ = (
        ("kick", ctypes.c_double),
        ("drift", ctypes.c_double),
        ("decay", ctypes.c_double),
        ("noise", ctypes.c_double),
        ("drift_after", ctypes.c_double),
        ("friction", ctypes.c_double),
    )


@cache
def kernels() -> ctypes.CDLL | None:
    """Return the library of compiled functions, or None if it could not be built."""
    compiled = native.library()
    if compiled is not None:
        # Arrays are passed as addresses. Without argtypes ctypes would cut them to 32 bits.
        pointer = ctypes.c_void_p
        compiled.langevin_philox.argtypes = [pointer] * 3
        compiled.langevin_noise.argtypes = [ctypes.POINTER(NoiseRequest), pointer]
        for dtype in ("float32", "float64"):
            update = getattr(compiled, f"langevin_update_{dtype}")
            update.argtypes = [ctypes.POINTER(NoiseRequest), ctypes.POINTER(Update), *[pointer] * 5]
            within = getattr(compiled, f"langevin_within_{dtype}")
            within.argtypes = [pointer, ctypes.c_int64, ctypes.c_double]
    return compiled
