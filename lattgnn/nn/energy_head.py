"""Forces as the gradient of a learned energy."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def energy_and_forces(
    energy_of: Callable[[Tensor], Tensor], field: Float[Tensor, "batch n_sites *components"]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch n_sites *components"]]:
    """Energy and F = −∂E/∂field.

    Args:
        energy_of: Function from fields [batch, n_sites, ...] to energies [batch].
        field: The fields; no gradient flows back into them.

    Returns:
        Energies and forces. They are attached to the autograd graph of the parameters only if grad
        mode is on.
    """
    training = torch.is_grad_enabled()
    # Inference mode has no autograd, and a tensor made in it never requires a gradient.
    with torch.inference_mode(False), torch.enable_grad():
        leaf = (field.clone() if field.is_inference() else field.detach()).requires_grad_(True)
        energy = energy_of(leaf)
        (gradient,) = torch.autograd.grad(energy.sum(), leaf, create_graph=training)
    return (energy, -gradient) if training else (energy.detach(), -gradient)
