"""A training batch that several processes share: what must not depend on their number."""

import torch
from lightning import Trainer
from torch import Tensor

from lattgnn.data.batches import Batches


def n_frames_of_step(trainer: Trainer, n_own: int) -> int:
    """Number of frames in the present training batch, all processes together.

    Args:
        trainer: The trainer of the fit.
        n_own: Number of frames in the share of this process.
    """
    loader = trainer.train_dataloader
    if isinstance(loader, Batches):
        return loader.batch_size
    # The samplers of PyTorch and Lightning give as many frames to each process.
    return n_own * trainer.world_size


def random_signs(trainer: Trainer, step: int, field: Tensor) -> Tensor:
    """Draw a sign for each frame in the share of this process.

    The signs depend only on the seed and the step, so a resumed run draws the same ones. Every
    process draws those of the whole batch and takes its share.

    Args:
        trainer: The trainer of the fit.
        step: Number of the step.
        field: The fields of this process, [batch, ...].

    Returns:
        +1 or −1 for each frame, [batch, 1, ...], like the field.
    """
    # The odd multiplier (2^64 over the golden ratio) spreads nearby seeds far apart.
    generator = torch.Generator().manual_seed(
        (torch.initial_seed() * 0x9E3779B97F4A7C15 + step) % 2**63
    )
    shape = (n_frames_of_step(trainer, len(field)), *[1] * (field.ndim - 1))
    signs = 2 * torch.randint(2, shape, generator=generator) - 1
    return signs[trainer.global_rank :: trainer.world_size].to(field)
