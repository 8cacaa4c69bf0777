"""A function of tensors with its gradients, as one compiled piece of code."""

from collections.abc import Callable
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx


def compiled(function: Callable[..., Any], *examples: torch.Tensor) -> Callable[..., Any]:
    """The same function for tensors of the shapes of `examples`, its operations recorded and then compiled.

    What autograd does inside is recorded as well, so that forward and backward are fused. Weights and
    whatever else the function reads become constants.

    Args:
        function: Of tensors; without data-dependent branches, and without gradients of its result.
        examples: Arguments, float32.
    """
    with torch.no_grad():
        function(*examples)  # tables that are made once must not be made in the record
        recorded = make_fx(function)(*examples)
    recorded.graph.eliminate_dead_code()
    recorded.recompile()
    return torch.compile(recorded, fullgraph=True, dynamic=False)
