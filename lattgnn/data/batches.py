"""Batches of frames in memory, the same ones for any number of processes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lattgnn.errors import InputError


class Batches:
    """Batches cut from tensors in memory, with one index operation per batch.

    The frames of an epoch are put in an order and cut into batches, and each process (rank) takes
    every `world_size`-th frame of each batch. So the batches do not depend on the number of
    processes. The shares of the ranks may differ by one frame. In training the order is a new
    permutation in each epoch, and an incomplete batch is dropped. In evaluation it is kept, and the
    share of a rank may be empty. The position in the epoch is part of `state_dict`, so that a run
    resumed within an epoch continues with the next batch, on any number of processes.

    Args:
        tensors: Tensors whose first dimension is the frame.
        batch_size: Number of frames per batch, all ranks together.
        shuffle: Permute the frames in each epoch and drop an incomplete batch.
        seed: Seed of the permutations, the same on all ranks.
        rank: Number of this process.
        world_size: Number of processes.

    Raises:
        InputError: If there are too few frames for one batch, or a training batch has too few for
            all ranks.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.tensors, self.batch_size, self.shuffle, self.seed = tensors, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.n_frames = len(next(iter(tensors.values())))
        self.epoch = 0
        self.position = 0  # batches of this epoch that were served already
        self._first = 0  # first batch of the next iteration, above 0 only after a resumption
        if len(self) == 0:
            raise InputError(
                f"batch_size must be at most the {self.n_frames} frames, got {batch_size!r}. "
                "Use smaller batches or more frames."
            )
        if shuffle and batch_size < world_size:
            raise InputError(
                f"batch_size must be at least the number of processes, {world_size}, because they "
                f"share each batch, got {batch_size!r}. Use larger batches or fewer processes."
            )

    def __len__(self) -> int:
        if self.shuffle:
            return self.n_frames // self.batch_size
        return -(-self.n_frames // self.batch_size)  # rounded up: the last batch may be smaller

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = self._order()
        first, self._first = self._first, 0
        for number in range(first, len(self)):
            # Set before the batch is handed out, so that a checkpoint written while it is used
            # counts it.
            self.position = number + 1
            whole = order[number * self.batch_size : (number + 1) * self.batch_size]
            chosen = whole[self.rank :: self.world_size]
            batch = {name: tensor[chosen] for name, tensor in self.tensors.items()}
            # A GPU copies from page-locked memory while the host goes on; Lightning asks for that.
            if torch.cuda.is_available():
                batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
            yield batch
        self.set_epoch(self.epoch + 1)

    def _order(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.n_frames)
        # With seed + epoch, epoch 1 of seed 0 would equal epoch 0 of seed 1. Multiplying the seed
        # by the inverse golden ratio times 2⁶⁴ spreads neighboring seeds over the whole range.
        generator = torch.Generator().manual_seed(
            (self.seed * 0x9E3779B97F4A7C15 + self.epoch) % 2**63
        )
        return torch.randperm(self.n_frames, generator=generator)

    @property
    def sampler(self) -> "Batches":
        """This object, because Lightning calls `set_epoch` of the sampler."""
        return self

    @property
    def batch_sampler(self) -> "Batches":
        """This object, because Lightning expects it together with a sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; a new epoch starts with its first batch."""
        # Lightning also announces the current epoch after a resumption; this must keep the
        # position.
        if epoch != self.epoch:
            self.epoch, self.position, self._first = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """The epoch and the number of batches served in it."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the batches that had been served when the state was taken."""
        self.epoch = state["epoch"]
        self.position = self._first = state["position"]
