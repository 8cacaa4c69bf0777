"""Errors of a force field, accumulated over batches and processes."""

import torch
from torch import Tensor
from torchmetrics import Metric


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
    # |error| from 1e-8 to 1e4 in 12 decades of 116 bins: neighboring edges differ by 2 %.
    n_bins = 12 * 116

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
        sums = ("count", "squares", "absolutes")
        for name in (*sums, "target_sum", "target_squares", "total_sum", "total_squares"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state(
            "histogram", torch.zeros(self.n_bins, dtype=torch.float64), dist_reduce_fx="sum"
        )

    def update(self, predicted: Tensor, target: Tensor, elastic: Tensor) -> None:
        """Add the errors of one batch; all arguments have the same shape.

        Args:
            predicted: Predicted electronic forces.
            target: Exact electronic forces.
            elastic: Elastic forces, which add up with the electronic ones to the total.
        """
        total = (target.double() + elastic.double()).flatten()
        self.total_sum += total.sum()
        self.total_squares += (total**2).sum()
        error, target = (predicted - target).double().flatten(), target.double().flatten()
        self.count += error.numel()
        self.squares += (error**2).sum()
        self.absolutes += error.abs().sum()
        self.target_sum += target.sum()
        self.target_squares += (target**2).sum()
        # Position of log10|error| in [-8, 4], from 0 to 1. A NaN is counted as the largest error.
        position = (error.abs().nan_to_num(9.9e3).clamp(1e-8, 9.9e3).log10() + 8) / 12
        self.histogram += torch.bincount((position * self.n_bins).long(), minlength=self.n_bins)

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
            "p99.9": 10 ** ((reached.double() + 1) / self.n_bins * 12 - 8),
            "unexplained": mse / variance,
            "unexplained_total": mse / total_variance,
        }
