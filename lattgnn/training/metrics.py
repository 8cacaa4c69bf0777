"""Errors of a force field, gathered over batches and processes."""

import torch
from torch import Tensor
from torchmetrics import Metric


class ForceErrors(Metric):
    """MSE, MAE, 99.9th percentile of |error| and 1 − R² of forces, in fixed memory.

    1 − R² comes twice: `unexplained` over the variance of the electronic force, which the network predicts,
    and `unexplained_total` over that of the whole force, whose elastic part is exact. The two parts nearly
    cancel where a field is close to equilibrium, and published figures are of the whole.

    Late snapshots of a quench are trivial and 0.1 % of the sites carry most of the MSE, so the mean square
    alone says little; the percentile comes from a histogram with bins 2 % wide. Reduced by sums: exact under
    DDP.
    """

    full_state_update = False
    # |error| from 1e-8 to 1e4 in 12 decades of 116 bins: neighbouring edges differ by 2 %.
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
        """Add the errors of one batch of electronic forces, with the elastic ones; of the same, any shape."""
        total = (target.double() + elastic.double()).flatten()
        self.total_sum += total.sum()
        self.total_squares += (total**2).sum()
        error, target = (predicted - target).double().flatten(), target.double().flatten()
        self.count += error.numel()
        self.squares += (error**2).sum()
        self.absolutes += error.abs().sum()
        self.target_sum += target.sum()
        self.target_squares += (target**2).sum()
        decade = (
            error.abs().nan_to_num(9.9e3).clamp(1e-8, 9.9e3).log10() + 8
        ) / 12  # NaN counts as largest
        self.histogram += torch.bincount((decade * self.n_bins).long(), minlength=self.n_bins)

    def compute(self) -> dict[str, Tensor]:
        """The figures over all batches; empty where nothing was added."""
        if self.count == 0:
            return {}
        mse = self.squares / self.count
        variance = self.target_squares / self.count - (self.target_sum / self.count) ** 2
        total_variance = self.total_squares / self.count - (self.total_sum / self.count) ** 2
        reached = torch.searchsorted(self.histogram.cumsum(0), 0.999 * self.count)
        return {
            "mse": mse,
            "mae": self.absolutes / self.count,
            "p99.9": 10 ** ((reached.double() + 1) / self.n_bins * 12 - 8),
            "unexplained": mse / variance,
            "unexplained_total": mse / total_variance,
        }
