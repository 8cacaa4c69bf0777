"""Calls of a force field in the inference mode of PyTorch."""

from collections.abc import Callable

import torch
from torch import Tensor

Total = Callable[[Tensor, Tensor | None], tuple[Tensor | None, Tensor]]
"""Energy and forces of a field; the forces are written to the second tensor if it is given."""


def outside_inference_mode(
    total: Total, field: Tensor, out: Tensor | None
) -> tuple[Tensor | None, Tensor]:
    """A call in inference mode, or with tensors that were made in it.

    Inference mode is off inside: it has no autograd, which the forces need, and whatever is cached
    in it could never be used for training.
    """
    direct = None if out is None or out.is_inference() else out
    with torch.inference_mode(False):
        plain = field.detach().clone() if field.is_inference() else field.detach()
        energy, forces = total(plain, direct)
    if out is None or out is direct:
        return energy, forces
    with torch.inference_mode():  # only here may a tensor that was made in it be written to
        return energy, out.copy_(forces)
