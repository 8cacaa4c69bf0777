"""Sparse matrices that multiply all channels of a batch and can be differentiated twice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import coo_array, csr_array, vstack
from torch import Tensor, nn

Entries = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, columns and values of some entries of a matrix."""


@dataclass(frozen=True, eq=False)
class SparseMap:
    """A sparse matrix with its transpose, for a product that can be differentiated twice.

    PyTorch's own backward transposes a CSR matrix in every call, which costs five times as much as
    the product.

    Attributes:
        matrix: The matrix, as a tensor of layout torch.sparse_csr.
        workspaces: Memory that layers reuse in every call, by thread and shape.
        stacks: Results of `stacked_transposes`.
    """

    matrix: Tensor
    workspaces: dict[Any, Tensor] = field(default_factory=dict, repr=False)
    stacks: dict[int, SparseMap] = field(default_factory=dict, repr=False)

    @classmethod
    def from_entries(
        cls,
        entries: list[Entries],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> SparseMap:
        """The matrix with these entries; entries at the same position are added."""
        rows, columns, values = (np.concatenate(arrays) for arrays in zip(*entries, strict=True))
        return cls.from_scipy(coo_array((values, (rows, columns)), shape).tocsr(), dtype, device)

    @classmethod
    def from_scipy(cls, matrix: csr_array, dtype: torch.dtype, device: torch.device) -> SparseMap:
        """The same matrix as a torch tensor."""
        matrix.sort_indices()
        # A matrix first used in inference mode may be used in training later.
        with torch.inference_mode(False), _without_beta_warning():
            row_starts, columns = (
                torch.from_numpy(part.astype(np.int64)) for part in (matrix.indptr, matrix.indices)
            )
            values = torch.from_numpy(matrix.data).to(dtype)
            shape = cast(tuple[int, int], matrix.shape)
            # SciPy has built a valid matrix, so PyTorch need not check it.
            return cls(
                torch.sparse_csr_tensor(
                    row_starts, columns, values, shape, device=device, check_invariants=False
                )
            )

    @cached_property
    def transpose(self) -> SparseMap:
        """The transposed matrix, computed at first use."""
        result = SparseMap.from_scipy(
            self._to_scipy().T.tocsr(), self.matrix.dtype, self.matrix.device
        )
        # The transpose of the transpose is this matrix: no third copy is ever made.
        result.__dict__["transpose"] = self
        return result

    @cached_property
    def csr_arrays(self) -> tuple[Tensor, Tensor, Tensor]:
        """Columns, values and row starts of the matrix, on the CPU."""
        m = self.matrix
        with torch.inference_mode(False):
            # The detour through NumPy gives ordinary tensors: those that belong to a sparse tensor
            # cannot be compiled.
            columns, values, row_starts = (
                torch.from_numpy(part.numpy())
                for part in (m.col_indices(), m.values(), m.crow_indices())
            )
        return columns, values, row_starts

    def stacked_transposes(self, n_rows: int) -> SparseMap:
        """For a stack of matrices with `n_rows` rows, the stack of their transposes in this order.

        It is computed at first use.
        """
        if n_rows not in self.stacks:
            matrix: Any = self._to_scipy()
            parts = [matrix[n : n + n_rows].T for n in range(0, matrix.shape[0], n_rows)]
            stacked = cast(csr_array, vstack(parts, format="csr"))
            self.stacks[n_rows] = SparseMap.from_scipy(
                stacked, self.matrix.dtype, self.matrix.device
            )
        return self.stacks[n_rows]

    def __call__(
        self, x: Float[Tensor, "columns batch channels"]
    ) -> Float[Tensor, "_rows _batch _channels"]:
        """Multiply each channel of each sample."""
        return _SparseProduct.apply(x, self)

    def _to_scipy(self) -> csr_array:
        m = self.matrix
        parts = (m.values(), m.col_indices(), m.crow_indices())
        return csr_array(tuple(part.cpu().numpy() for part in parts), shape=tuple(m.shape))


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, sparse: SparseMap) -> Tensor:
        # Widths are named, because a map without rows or columns leaves −1 ambiguous.
        n_rows, width = sparse.matrix.shape[0], math.prod(x.shape[1:])
        flat = x.reshape(x.shape[0], width)
        arrays = sparse.csr_arrays if flat.device.type == "cpu" else None
        # A program that is exported cannot hold a sparse matrix, in any precision.
        if arrays is None or not (flat.dtype == torch.float32 or is_traced(flat)):
            return (sparse.matrix @ flat).view(n_rows, *x.shape[1:])
        # The rows of the product are weighted sums of rows of x, which is what an embedding bag
        # computes.
        columns, values, row_starts = arrays
        sums = nn.functional.embedding_bag(
            columns,
            flat,
            row_starts,
            mode="sum",
            per_sample_weights=values,
            include_last_offset=True,
        )
        return sums.view(n_rows, *x.shape[1:])

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.sparse = inputs[1]

    @staticmethod
    def backward(ctx, *grads: Tensor):
        return _SparseProduct.apply(grads[0], ctx.sparse.transpose), None


def is_traced(x: Tensor) -> bool:
    """Whether an operation on a tensor is only recorded, to become part of an exported program."""
    # While code is traced, tensors of another class stand for its input.
    return type(x) is not Tensor


@contextmanager
def _without_beta_warning() -> Iterator[None]:
    """Silence torch's notices that CSR support is in beta and is not checked, and nothing else."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)
        # torch 2.11 says so although check_invariants=False is explicit.
        warnings.filterwarnings("ignore", message="Sparse invariant checks", category=UserWarning)
        yield
