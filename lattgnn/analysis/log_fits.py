"""Straight lines through ln⟨L⟩ against ln t, with errors by the jackknife over replicas.

Replicas are independent, frames of one replica are not. So every quantity is computed again
without each replica in turn: such samples are the columns of the arrays here, after a first column
with all replicas.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

Array = np.ndarray


def log_mean_samples(
    lengths: Float[Array, "n_frames n_replicas"],
) -> Float[Array, "n_frames n_samples"]:
    """ln⟨L⟩ over all replicas in column 0, then without each replica in turn.

    Args:
        lengths: Positive lengths.

    Returns:
        One column for a single replica, otherwise one more than there are replicas.

    Example:
        >>> np.exp(log_mean_samples(np.array([[1.0, 3.0, 5.0]]))).round(6)
        array([[3., 4., 3., 2.]])
    """
    n = lengths.shape[1]
    mean = lengths.mean(axis=1, keepdims=True)
    without = (n * mean - lengths) / (n - 1) if n > 1 else lengths[:, :0]
    return np.log(np.concatenate([mean, without], axis=1))


def jackknife_error(samples: Float[Array, "n_samples"]) -> float:
    """Jackknife standard error of a quantity; NaN for one replica.

    Args:
        samples: The quantity with all replicas, then without each one in turn.

    Returns:
        √((n − 1) Σ (x_r − ⟨x_r⟩)² / n). For a mean, it is the standard error of the mean.

    Example:
        >>> print(f"{jackknife_error(np.array([3.0, 4.0, 3.0, 2.0])):.4f}")  # 1, 3, 5: 2/√3
        1.1547
    """
    without = samples[1:]
    n = len(without)
    return float(np.sqrt((n - 1) * without.var())) if n > 1 else float("nan")


def student_quantile(level: float, n_replicas: int) -> float:
    """Two-sided quantile of Student's distribution for the mean of n replicas; NaN for one.

    Args:
        level: Confidence level.
        n_replicas: Number of independent replicas.

    Returns:
        The factor between the standard error and the half width of the confidence interval.

    Example:
        >>> print(f"{student_quantile(0.95, 4):.2f}")
        3.18
    """
    return float(student.ppf(0.5 + level / 2, n_replicas - 1)) if n_replicas > 1 else float("nan")


def fit_line(
    log_t: Float[Array, "n_frames"], samples: Float[Array, "n_frames n_samples"]
) -> tuple[Float[Array, "n_samples"], Float[Array, "n_samples"], Float[Array, "n_samples"]]:
    """Fit a straight line and a parabola by weighted least squares.

    A frame has the weight of the piece of ln t that it stands for, half of the way to both of its
    neighbors. So every decade counts the same, whatever the schedule of the frames.

    Args:
        log_t: Abscissas ln t, ascending.
        samples: Ordinates, one column per sample.

    Returns:
        Of each sample: the slope of the line, its value at ln t = 0, and the drift, which is the
        change of the slope of the parabola from the first to the last frame.

    Example:
        >>> x = np.linspace(0, 2, 5)
        >>> slope, offset, drift = fit_line(x, (1 + 3 * x + x**2)[:, None])
        >>> print(f"{slope[0]:.3f} {drift[0]:.3f}")
        5.000 4.000
    """
    edges = np.concatenate([log_t[:1], 0.5 * (log_t[1:] + log_t[:-1]), log_t[-1:]])
    weights = np.diff(edges) / (edges[-1] - edges[0])
    # The polynomials are orthogonal under the weights, so each coefficient is a scalar product.
    middle = weights @ log_t
    first = log_t - middle
    norm = weights @ first**2
    second = first**2 - norm - first * (weights @ first**3) / norm
    slopes = (weights * first) @ samples / norm
    offsets = weights @ samples - slopes * middle
    square = weights @ second**2
    # Three frames or fewer of distinct times may leave no parabola; then no drift can be seen.
    curvature = (weights * second) @ samples / square if square > 1e-12 * norm**2 else 0 * slopes
    return slopes, offsets, 2 * curvature * (log_t[-1] - log_t[0])
