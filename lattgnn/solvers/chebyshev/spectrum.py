"""An interval that contains the spectrum of a sparse Hermitian matrix."""

import math

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from lattgnn.solvers.chebyshev.expansion import Interval


def spectral_interval(
    elements: Shaped[Tensor, " nnz"],
    rows: Int[Tensor, " nnz"],
    cols: Int[Tensor, " nnz"],
    n_sites: int,
    states_per_site: int,
) -> Interval:
    """A rigorous interval: levels of isolated sites, widened by all hopping.

    With H = H_sites + T, no level is farther from those of H_sites than ‖T‖ (Weyl), which is at
    most the largest sum of |T_ab| over a row (Gershgorin). The ends are then moved outward to
    multiples of a sixteenth of a power of two. So the interval, and with it the truncated series,
    is the same for nearly all fields of a trajectory, while it never depends on more than the
    field.

    Args:
        elements: Elements of H.
        rows: Row of each element.
        cols: Column of each element.
        n_sites: Number of sites.
        states_per_site: Number of states of each site; states are numbered by site.

    Returns:
        The interval.
    """
    n = states_per_site
    on_site = rows // n == cols // n
    blocks = elements.new_zeros(n_sites, n, n)
    blocks[rows[on_site] // n, rows[on_site] % n, cols[on_site] % n] = elements[on_site]
    levels = torch.linalg.eigvalsh(blocks) if n > 1 else blocks.real.flatten()
    row_sums = elements.real.new_zeros(n_sites * n)
    row_sums.index_add_(0, rows[~on_site], elements[~on_site].abs())
    extremes = torch.stack([levels.min(), levels.max(), row_sums.max()]).tolist()
    return _rounded_outward(extremes[0] - extremes[2], extremes[1] + extremes[2])


def _rounded_outward(low: float, high: float) -> Interval:
    """The interval with its ends moved outward to a coarse grid."""
    if high == low:  # H is a multiple of 1
        return Interval(low, 1.0)
    step = 2.0 ** (math.floor(math.log2(high - low)) - 5)
    # Rounding must not move an end that lies on the grid, such as those of a ferromagnet. A level
    # that is outside by so little does no harm.
    first = step * math.floor(low / step + 1e-10)
    last = step * math.ceil(high / step - 1e-10)
    return Interval((first + last) / 2, (last - first) / 2)
