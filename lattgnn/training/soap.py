"""SOAP without its arbitrary choice of a basis, so that rounding does not change a fit."""

import torch
from pytorch_optimizer import SOAP
from torch import Tensor

from lattgnn.errors import InputError

Basis = list[Tensor | list]
"""One orthogonal matrix for each axis of a parameter, or an empty list for an axis without one."""


class ReproducibleSOAP(SOAP):
    """SOAP whose result does not depend on the rounding of the gradients.

    SOAP runs Adam in the eigenbasis of averages of G Gᵀ. After a few steps these matrices have
    fewer gradients than rows, so many of their eigenvalues vanish, and rounding decides about the
    eigenvectors. Two fits that add up the same gradients in another order, for example in another
    number of processes, then differ by percents after 50 steps. Here a small diagonal matrix with
    different entries is added before the decomposition, ε^⅓ of the mean eigenvalue (ε is the
    rounding error of the dtype), and the decomposition is in double precision.

    The arguments are those of `pytorch_optimizer.SOAP`, without `data_format="channels_last"`.

    Reference:
        Vyas et al., arXiv 2409.11321.
    """

    def get_orthogonal_matrix(self, mat: Basis) -> Basis:
        """The eigenvectors of the averages, from the largest eigenvalue to the smallest."""
        if self.data_format != "channels_first":
            raise InputError(
                f"data_format must be 'channels_first' for ReproducibleSOAP, got "
                f"{self.data_format!r}. Leave it out."
            )
        return [_eigenvectors(average) if isinstance(average, Tensor) else [] for average in mat]

    def get_orthogonal_matrix_qr(
        self, state: dict, max_precondition_dim: int = 10000, merge_dims: bool = False
    ) -> Basis:
        """The same by one step of power iteration from the present vectors."""
        squares = state["exp_avg_sq"]
        shape = squares.shape
        if merge_dims:
            squares = self.merge_dims(squares, max_precondition_dim)
        found: Basis = []
        for axis, (average, vectors) in enumerate(zip(state["GG"], state["Q"], strict=True)):
            if len(average) == 0:
                found.append([])
                continue
            product = _separated(average) @ vectors.double()
            order = (vectors * product).sum(0).argsort(descending=True)
            # The second moments belong to the vectors, so they move with them.
            squares = squares.index_select(axis, order)
            found.append(torch.linalg.qr(product[:, order])[0].to(average.dtype))
        state["exp_avg_sq"] = squares.reshape(shape)
        return found


def _separated(average: Tensor) -> Tensor:
    """The average in double precision, with its equal eigenvalues moved apart."""
    n = len(average)
    small = torch.finfo(average.dtype).eps ** (1 / 3) * average.diagonal().double().mean()
    steps = torch.arange(1, n + 1, dtype=torch.float64, device=average.device) / n
    # 1e-30, as in SOAP, for a gradient that is zero.
    return average.double() + torch.diag((small + 1e-30) * steps)


def _eigenvectors(average: Tensor) -> Tensor:
    return torch.linalg.eigh(_separated(average))[1].flip(1).to(average.dtype)
