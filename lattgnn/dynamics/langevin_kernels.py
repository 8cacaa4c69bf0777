"""The structures and functions of native/langevin.cpp, as ctypes has them."""

from __future__ import annotations

import ctypes
from functools import cache

from lattgnn import native


class NoiseRequest(ctypes.Structure):
    """Which random numbers are needed: replicas, indices in a replica, and steps to add up."""

    _fields_ = (
        ("seed", ctypes.c_uint64),
        ("step_and_purpose", ctypes.c_uint64),
        ("first_replica", ctypes.c_uint64),
        ("first_index", ctypes.c_uint64),
        ("n_replicas", ctypes.c_int64),
        ("n_numbers", ctypes.c_int64),
        ("n_draws", ctypes.c_int32),
        ("n_threads", ctypes.c_int32),
    )


class Update(ctypes.Structure):
    """p ← p + kick F, Q ← Q + drift p, p ← decay p + noise ξ, Q ← Q + drift_after p, in this order."""

    _fields_ = (
        ("kick", ctypes.c_double),
        ("drift", ctypes.c_double),
        ("decay", ctypes.c_double),
        ("noise", ctypes.c_double),
        ("drift_after", ctypes.c_double),
    )


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled functions with their types, or None where there are none."""
    compiled = native.library()
    if compiled is not None:
        pointer = ctypes.c_void_p
        compiled.langevin_philox.argtypes = [pointer] * 3
        compiled.langevin_noise.argtypes = [ctypes.POINTER(NoiseRequest), pointer]
        for dtype in ("float32", "float64"):
            update = getattr(compiled, f"langevin_update_{dtype}")
            update.argtypes = [ctypes.POINTER(NoiseRequest), ctypes.POINTER(Update), *[pointer] * 5]
            within = getattr(compiled, f"langevin_within_{dtype}")
            within.argtypes = [pointer, ctypes.c_int64, ctypes.c_double]
    return compiled
