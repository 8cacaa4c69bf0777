"""Errors of a force field, accumulated over batches and processes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

# |error| from 1e-8 to 1e4 in 12 decades of 116 bins: neighboring edges differ by 2 %.
N_BINS = 12 * 116


@dataclass(frozen=True)
class SampleSums:
    """Sums over the force components of each sample of a batch, float64 [batch].

    Attributes:
        count: Number of components.
        squares: Squared errors.
        absolutes: Absolute errors.
        target_sum: Exact electronic forces.
        target_squares: Their squares.
        total_sum: Exact total forces, with the elastic part.
        total_squares: Their squares.
        histogram: Absolute errors by bin, [batch, N_BINS].
    """

    count: Float[Tensor, " batch"]
    squares: Float[Tensor, " batch"]
    absolutes: Float[Tensor, " batch"]
    target_sum: Float[Tensor, " batch"]
    target_squares: Float[Tensor, " batch"]
    total_sum: Float[Tensor, " batch"]
    total_squares: Float[Tensor, " batch"]
    histogram: Float[Tensor, "batch n_bins"]

    @classmethod
    def of(cls, predicted: Tensor, target: Tensor, elastic: Tensor) -> SampleSums:
        """The sums of one batch.

        Args:
            predicted: Predicted electronic forces, [batch, ...].
            target: Exact electronic forces, with the same shape.
            elastic: Elastic forces, which add up with the electronic ones to the total.
        """
        error, exact = (x.double().flatten(1) for x in (predicted - target, target))
        total = exact + elastic.double().flatten(1)
        # Position of log10|error| in [-8, 4], from 0 to 1. A NaN is counted as the largest error.
        position = (error.abs().nan_to_num(9.9e3).clamp(1e-8, 9.9e3).log10() + 8) / 12
        histogram = error.new_zeros(len(error), N_BINS)
        # Whole numbers add up exactly, in any order.
        histogram.scatter_add_(1, (position * N_BINS).long(), torch.ones_like(error))
        return cls(
            count=error.new_full((len(error),), error.shape[1]),
            squares=error.square().sum(1),
            absolutes=error.abs().sum(1),
            target_sum=exact.sum(1),
            target_squares=exact.square().sum(1),
            total_sum=total.sum(1),
            total_squares=total.square().sum(1),
            histogram=histogram,
        )


class ForceErrors(Metric):
    """MSE, MAE, 99.9th percentile of |error| and 1 − R² of forces, in fixed memory.

    1 − R² is given for the electronic force, which the network predicts (`unexplained`), and for
    the total force, whose elastic part is exact (`unexplained_total`). The two parts nearly cancel
    where a field is close to equilibrium. Published values refer to the total force.

    Late frames of a quench are easy, and 0.1 % of the sites contribute most of the MSE, so the MSE
    alone says little. The percentile is read from a histogram with bins 2 % wide. All states are
    sums, so the result is exact in distributed training.
    """

    full_state_update = False

    count: Tensor
    squares: Tensor
    absolutes: Tensor
    target_sum: Tensor
    target_squares: Tensor
    total_sum: Tensor
    total_squares: Tensor
    histogram: Tensor

    def __init__(self):
        super().__init__()
        for part in fields(SampleSums):
            shape = (N_BINS,) if part.name == "histogram" else ()
            self.add_state(part.name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, sums: SampleSums, chosen: Bool[Tensor, " batch"] | None = None) -> None:
        """Add the errors of one batch.

        Args:
            sums: Sums over the components of each sample.
            chosen: Which samples to add; None adds all.
        """
        for part in fields(SampleSums):
            values = getattr(sums, part.name)
            if chosen is not None:
                # A GPU would have to tell the host how many samples a mask selects, so the others
                # are replaced by zero: a product would keep their NaN.
                mask = chosen.view(-1, *[1] * (values.ndim - 1))
                values = torch.where(mask, values, torch.zeros_like(values))
            setattr(self, part.name, getattr(self, part.name) + values.sum(0))

    def compute(self) -> dict[str, Tensor]:
        """Compute the metrics over all batches.

        Returns:
            Metrics by name; empty if nothing was added.
        """
        if self.count == 0:
            return {}
        mse = self.squares / self.count
        variance = self.target_squares / self.count - (self.target_sum / self.count) ** 2
        total_variance = self.total_squares / self.count - (self.total_sum / self.count) ** 2
        # The upper edge of the bin in which 99.9 % of the errors are reached.
        reached = torch.searchsorted(self.histogram.cumsum(0), 0.999 * self.count)
        return {
            "mse": mse,
            "mae": self.absolutes / self.count,
            "p99.9": 10 ** ((reached.double() + 1) / N_BINS * 12 - 8),
            "unexplained": mse / variance,
            "unexplained_total": mse / total_variance,
        }
