r"""Moments of a sparse matrix from the Chebyshev recurrence, and the gradient of their energy.

For a probing vector r, the vectors v_0 = r, v_1 = H r and v_{n+1} = 2 H v_n − v_{n−1} equal
T_n(H) r. Their products give moments of twice the order, because 2 T_m T_n = T_{m+n} + T_{|m−n|}:

    r† T_{2n} r = 2 ⟨v_n, v_n⟩ − r† r,    r† T_{2n+1} r = 2 ⟨v_{n+1}, v_n⟩ − r† H r.

The gradient is that of reverse-mode differentiation. It keeps no vectors: the recurrence also runs
backward, from the last two vectors to the first.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from lattgnn.solvers.chebyshev.probing import Probes

# Vectors that torch handles together, which bounds the memory.
_VECTORS_TOGETHER = 64


@dataclass(frozen=True, eq=False)
class Pattern:
    """The sparsity pattern of H in compressed sparse row (CSR) form, with its states reordered.

    In this order (reverse Cuthill–McKee) coupled states are close to each other, so that several
    steps of the recurrence can work in the cache.

    Attributes:
        states: The state of H at each position of the new order.
        starts: First element of each row, and the number of elements.
        rows: Row of each element.
        columns: Column of each element, ascending within a row.
        elements: Position of each element in the pattern of H.
        mirrored: Position of the element [b, a] for each element [a, b].
        bandwidth: Largest distance of an element from the diagonal.
    """

    states: Int[Tensor, " n_states"]
    starts: Int[Tensor, " n_starts"]
    rows: Int[Tensor, " nnz"]
    columns: Int[Tensor, " nnz"]
    elements: Int[Tensor, " nnz"]
    mirrored: Int[Tensor, " nnz"]
    bandwidth: int

    @property
    def n_states(self) -> int:
        """Order of the matrix."""
        return len(self.states)

    def to(self, device: torch.device) -> "Pattern":
        """The same pattern on a device."""
        names = ("states", "starts", "rows", "columns", "elements", "mirrored")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def reordered_pattern(
    rows: Int[np.ndarray, " nnz"], cols: Int[np.ndarray, " nnz"], n_states: int
) -> Pattern:
    """The pattern of a Hermitian matrix in the order that the recurrence prefers.

    Args:
        rows: Row of each element.
        cols: Column of each element.
        n_states: Order of the matrix.

    Returns:
        The pattern, on the CPU.
    """
    graph = csr_array((np.ones(len(rows)), (rows, cols)), shape=(n_states, n_states))
    states = reverse_cuthill_mckee(graph, symmetric_mode=True).astype(np.int64)
    position = np.empty_like(states)
    position[states] = np.arange(n_states)
    rows, cols = position[rows], position[cols]
    elements = np.lexsort((cols, rows))
    rows, cols = rows[elements], cols[elements]
    starts = np.zeros(n_states + 1, dtype=np.int64)
    starts[1:] = np.cumsum(np.bincount(rows, minlength=n_states))
    # Sorted by column and row instead, the elements are the mirrored ones.
    mirrored = np.lexsort((rows, cols))
    bandwidth = int(np.abs(rows - cols).max())
    arrays = (states, starts, rows, cols, elements, mirrored)
    tensors = [torch.from_numpy(array) for array in arrays]
    return Pattern(*tensors, bandwidth=bandwidth)


class EnergyWeights(NamedTuple):
    """Weights of the products of vectors in Σ_n c_n r† T_n r.

    Attributes:
        even: Weights of ⟨v_n, v_n⟩.
        odd: Weights of Re⟨v_{n+1}, v_n⟩.
    """

    even: Float[np.ndarray, " n_steps"]
    odd: Float[np.ndarray, " n_steps"]

    def total(self, products: Float[Tensor, "n_steps 2"]) -> float:
        """The weighted sum of the products."""
        return float(products[:, 0].numpy() @ self.even + products[:, 1].numpy() @ self.odd)


def energy_weights(coefficients: Float[np.ndarray, " order"]) -> EnergyWeights:
    """Weights of the products from the coefficients of a series of even order."""
    even, odd = 2 * coefficients[0::2], 2 * coefficients[1::2]
    # r†r and r†Hr occur in every moment.
    even[0] = coefficients[0] - even[1:].sum() / 2
    odd[0] = coefficients[1] - odd[1:].sum() / 2
    return EnergyWeights(even, odd)


def vector_products(
    pattern: Pattern,
    values: Shaped[Tensor, " nnz"],
    probes: Probes,
    n_steps: int,
    weights: EnergyWeights | None,
) -> tuple[Float[Tensor, "n_steps 2"], Shaped[Tensor, " nnz"] | None]:
    """Products of vectors, summed over probes, and the gradient of their weighted sum, in torch.

    `lattgnn.solvers.chebyshev.compiled.vector_products` does the same in compiled code.

    Args:
        pattern: Sparsity pattern of a Hermitian matrix.
        values: Its elements; the spectrum lies in [−1, 1].
        probes: Probing vectors, in the order of the states of the pattern.
        n_steps: Number of products with the matrix.
        weights: Weights of the sum; None for no gradient.

    Returns:
        Σ ⟨v_n, v_n⟩ and Σ Re⟨v_{n+1}, v_n⟩ for n < n_steps, and D with dE = Σ_k D_k dvalues_k.
    """
    matrix = _padded_rows(pattern, values)
    total = np.zeros((n_steps, 2))
    gradient = torch.zeros_like(values) if weights is not None else None
    for first in range(0, probes.n_colors, _VECTORS_TOGETHER):
        start = _vectors(probes, first, values)
        products, last = _forward(matrix, start, n_steps)
        total += products
        if weights is not None and gradient is not None:
            gradient += _backward(matrix, last, weights)[pattern.rows, _places(pattern)]
    if gradient is not None:
        gradient = (gradient + gradient[pattern.mirrored].conj_physical()) / 2
    return torch.from_numpy(total), gradient


class _PaddedRows(NamedTuple):
    """Rows of equal length, filled up with zeros on the diagonal: [n_states, longest row]."""

    columns: Tensor
    values: Tensor

    def product(self, vectors: Tensor) -> Tensor:
        """The matrix times vectors [n_states, n_vectors]."""
        result = torch.zeros_like(vectors)
        for columns, values in zip(self.columns.T, self.values.T, strict=True):
            result += values[:, None] * vectors[columns]
        return result


def _places(pattern: Pattern) -> Tensor:
    """Place of each element within its row."""
    return (
        torch.arange(len(pattern.rows), device=pattern.rows.device) - pattern.starts[pattern.rows]
    )


def _padded_rows(pattern: Pattern, values: Tensor) -> _PaddedRows:
    n, width = pattern.n_states, int(pattern.starts.diff().max())
    columns = torch.arange(n, device=values.device)[:, None].repeat(1, width)
    padded = values.new_zeros(n, width)
    places = _places(pattern)
    columns[pattern.rows, places], padded[pattern.rows, places] = pattern.columns, values
    return _PaddedRows(columns, padded)


def _vectors(probes: Probes, first: int, like: Tensor) -> Tensor:
    """Some probing vectors from number `first` on, [n_states, n_vectors]."""
    n = min(_VECTORS_TOGETHER, probes.n_colors - first)
    states = np.flatnonzero((probes.colors >= first) & (probes.colors < first + n))
    phases = probes.phases if like.is_complex() else np.real(probes.phases)
    dense = np.zeros((len(probes.colors), n), dtype=phases.dtype)
    dense[states, probes.colors[states] - first] = phases[states]
    return torch.from_numpy(dense).to(like)


def _forward(
    matrix: _PaddedRows, start: Tensor, n_steps: int
) -> tuple[np.ndarray, tuple[Tensor, Tensor]]:
    """Products of vectors [n_steps, 2], and the vectors v_{n_steps−1} and v_{n_steps}."""
    products = []
    vector, following = start, matrix.product(start)
    for n in range(n_steps):
        products += [vector.abs().square().sum(), (vector.conj_physical() * following).real.sum()]
        if n + 1 < n_steps:
            vector, following = following, 2 * matrix.product(following) - vector
    return torch.stack(products).view(-1, 2).cpu().numpy(), (vector, following)


def _backward(matrix: _PaddedRows, last: tuple[Tensor, Tensor], weights: EnergyWeights) -> Tensor:
    """Σ_n ∂E/∂v_{n+1}* v_n at the places of the matrix, not yet Hermitian."""
    vector, following = last
    odd = weights.odd.tolist()
    of_following, of_later = odd[-1] * vector, torch.zeros_like(vector)
    gradient = torch.zeros_like(matrix.values)
    for n in range(len(odd) - 1, -1, -1):
        factor = 2 if n else 1
        for place, columns in enumerate(matrix.columns.T):
            gradient[:, place] += factor * (of_following.conj_physical() * vector[columns]).sum(1)
        if n:
            before = 2 * matrix.product(vector) - following
            of_vector = 2 * matrix.product(of_following) - of_later
            of_vector += 2 * float(weights.even[n]) * vector
            of_vector += odd[n] * following + odd[n - 1] * before
            vector, following = before, vector
            of_following, of_later = of_vector, of_following
    return gradient
