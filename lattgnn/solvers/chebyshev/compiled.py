"""The compiled recurrence of csrc/chebyshev.cpp, with the structures of its arguments.

Names, order and types of the fields must match the C++ structures exactly: ctypes cannot check it.
"""

import ctypes

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from lattgnn import native
from lattgnn.solvers.chebyshev.probing import Probes
from lattgnn.solvers.chebyshev.recurrence import EnergyWeights, Pattern

_pointer, _long = ctypes.c_void_p, ctypes.c_int64


class _Probed(ctypes.Structure):
    _fields_ = (
        *((name, _pointer) for name in ("starts", "columns", "values", "colors", "phases")),
        *((name, _long) for name in ("n_states", "n_colors", "is_complex", "bandwidth")),
    )


class _Energy(ctypes.Structure):
    _fields_ = (("even", _pointer), ("odd", _pointer))


def vector_products(
    pattern: Pattern,
    values: Shaped[Tensor, " nnz"],
    probes: Probes,
    n_steps: int,
    weights: EnergyWeights | None,
) -> tuple[Float[Tensor, "n_steps 2"], Shaped[Tensor, " nnz"] | None]:
    """As `lattgnn.solvers.chebyshev.recurrence.vector_products`, on the CPU.

    The bits do not depend on the number of threads, which is that of torch.
    """
    functions = native.library()
    if functions is None:
        raise RuntimeError("there is no compiled code: install g++, or set CXX.")
    is_complex = values.is_complex()
    elements = np.ascontiguousarray(values.numpy().astype(np.complex128))
    colors, phases = np.ascontiguousarray(probes.colors), np.ascontiguousarray(probes.phases)
    arrays = (pattern.starts.numpy(), pattern.columns.numpy(), elements, colors, phases)
    sizes = (pattern.n_states, probes.n_colors, is_complex, pattern.bandwidth)
    probed = _Probed(*(array.ctypes.data for array in arrays), *sizes)
    products = np.empty((n_steps, 2))
    gradient, energy = None, None
    if weights is not None:
        even, odd = (np.ascontiguousarray(part) for part in weights)
        energy = ctypes.byref(_Energy(even.ctypes.data, odd.ctypes.data))
        gradient = np.empty(len(elements), dtype=np.complex128)
    function = functions.lattgnn_chebyshev
    function.argtypes = [_pointer, _long, _pointer, _pointer, _pointer, _long]
    function.restype = None
    function(
        ctypes.byref(probed),
        n_steps,
        energy,
        products.ctypes.data,
        None if gradient is None else gradient.ctypes.data,
        torch.get_num_threads(),
    )
    if gradient is None:
        return torch.from_numpy(products), None
    lower = torch.from_numpy(gradient if is_complex else np.ascontiguousarray(gradient.real)) / 2
    # The code computes one element of each pair [a, b], [b, a].
    above = pattern.columns > pattern.rows
    full = torch.where(above, lower[pattern.mirrored].conj_physical(), lower)
    return torch.from_numpy(products), full
