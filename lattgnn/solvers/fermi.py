r"""Occupations, chemical potential and grand potential of independent electrons at any temperature.

Energies e_k and kT are in units of the hopping t (k_B = 1). kT = 0 is the exact limit, not a small
number. Every function takes a batch: energies [..., n_states] in ascending order, results [...].
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from lattgnn.errors import InputError

# At kT = 0 levels count as degenerate if they are closer than this, times 1 + max |e|. It is far
# above the rounding errors of an eigensolver, about 1e-14, which split degenerate levels.
_DEGENERATE = 1e-10


def fermi_function(
    energies: Float[Tensor, "*batch n_states"],
    mu: Float[Tensor, "*batch"],
    kT: float,
    n_electrons: float | None = None,
    weights: Float[Tensor, "*batch n_states"] | None = None,
) -> Float[Tensor, "*batch n_states"]:
    r"""Occupations f_k = 1 / (exp((e_k − μ)/kT) + 1).

    At kT = 0 this is a step. If `n_electrons` is given, levels at μ share equally the electrons
    that the levels below leave over; otherwise (μ fixed) they are half filled, the limit kT → 0.

    Args:
        energies: Levels e_k, in any order.
        mu: Chemical potential.
        kT: Temperature of the electrons.
        n_electrons: Number of electrons, if it is fixed.
        weights: Weights w_k of the levels in that number; None stands for 1.

    Returns:
        Occupations in [0, 1].
    """
    if kT > 0:
        return torch.sigmoid((mu[..., None] - energies) / kT)
    distance = energies - mu[..., None]
    at_mu = (distance.abs() <= _degeneracy(energies)).to(energies)
    below = (1 - at_mu) * (distance < 0)
    if n_electrons is None:
        return below + 0.5 * at_mu
    if weights is None:
        weights = torch.ones_like(energies)
    left_over = n_electrons - (weights * below).sum(-1, keepdim=True)
    room = (weights * at_mu).sum(-1, keepdim=True)
    # There may be no level at μ, and then the share is 0/1 instead of 0/0.
    return below + at_mu * left_over / torch.where(room > 0, room, 1.0)


def grand_potential(
    energies: Float[Tensor, "*batch n_states"],
    mu: Float[Tensor, "*batch"],
    kT: float,
    weights: Float[Tensor, "*batch n_states"] | None = None,
) -> Float[Tensor, "*batch"]:
    r"""Ω = −kT Σ_k w_k ln(1 + exp((μ − e_k)/kT)), and Σ_k w_k min(e_k − μ, 0) at kT = 0.

    Args:
        energies: Levels e_k.
        mu: Chemical potential.
        kT: Temperature of the electrons.
        weights: Weights w_k of the levels; None stands for 1.

    Returns:
        Grand potential. The free energy at fixed electron number N is Ω + μN.
    """
    # logsigmoid(x) = −ln(1 + exp(−x)) does not overflow for levels far from μ.
    distance = energies - mu[..., None]
    levels, unit = (logsigmoid(distance / kT), kT) if kT > 0 else (distance.clamp(max=0), 1.0)
    return unit * (levels if weights is None else weights * levels).sum(-1)


def chemical_potential(
    energies: Float[Tensor, "*batch n_states"],
    n_electrons: float,
    kT: float,
    weights: Float[Tensor, "*batch n_states"] | None = None,
) -> Float[Tensor, "*batch"]:
    r"""μ with Σ_k w_k f_k(μ) = n_electrons.

    Let the levels up to n hold at most n_electrons, and let r be the rest. μ balances the electrons
    above level n with the holes below it, in logarithms:

        ln Σ_{k>n} w_k f_k = ln(r + Σ_{k≤n} w_k (1 − f_k)).

    Both sides keep their relative precision even if they are tiny, so that μ is accurate in the gap
    of an insulator too. Both are nearly linear in μ, so Newton's method, kept inside a bracket,
    needs only a few steps. At kT = 0, μ lies in the middle of the gap or at the partly filled
    level.

    Args:
        energies: Levels e_k in ascending order.
        n_electrons: Number of electrons between 0 and Σ_k w_k, not necessarily an integer.
        kT: Temperature of the electrons.
        weights: Weights w_k of the levels; None stands for 1.

    Returns:
        Chemical potential, to machine precision.

    Raises:
        InputError: If no finite μ gives this number of electrons.
    """
    total = float(energies.shape[-1]) if weights is None else float(weights.sum(-1).min())
    # In floating point 0.07 · 100 is 7.000000000000001, but a filling of 0.07 means 7 electrons.
    rounding = 1e-12 * total
    if not rounding < n_electrons < total - rounding:
        raise InputError(
            f"n_electrons must be above 0 and below n_states = {total:g}, got {n_electrons!r}. "
            "Use a filling strictly between 0 and 1."
        )
    levels = _split(energies, n_electrons, rounding, weights)
    if kT == 0:
        return levels.middle
    # Bracket: with all levels at the lowest energy there are still too few electrons at `lower`;
    # with all at the highest energy there are still too many at `upper`.
    lower = energies[..., 0] - kT * math.log(total / n_electrons)
    upper = energies[..., -1] + kT * math.log(total / (total - n_electrons))
    return _newton(levels.middle, lower, upper, partial(_imbalance, levels, kT))


class _Levels(NamedTuple):
    """Levels that would be full and empty at kT = 0, and where μ would lie.

    The logarithms of the weights are −∞ for levels that do not count.
    """

    below: Tensor
    log_below: Tensor | float
    above: Tensor
    log_above: Tensor | float
    log_rest: Tensor
    middle: Tensor


def _split(
    energies: Tensor, n_electrons: float, rounding: float, weights: Tensor | None
) -> _Levels:
    """Split levels into those that the electrons fill and those above them."""
    if weights is None:
        whole = math.floor(n_electrons + rounding)
        rest = n_electrons - whole if n_electrons - whole > rounding else 0.0
        below, above = energies[..., :whole], energies[..., whole:]
        middle = above[..., 0] if rest else (below[..., -1] + above[..., 0]) / 2
        log_rest = torch.full_like(middle, math.log(rest) if rest else -math.inf)
        return _Levels(below, 0.0, above, 0.0, log_rest, middle)
    filled = weights.cumsum(-1)
    # Samples of a batch fill different numbers of levels, so the two groups are masks here.
    full = filled <= n_electrons + rounding
    n_full = full.sum(-1, keepdim=True)
    rest = n_electrons - (weights * full).sum(-1)
    rest = torch.where(rest > rounding, rest, 0.0)
    lowest_empty = energies.gather(-1, n_full)[..., 0]
    highest_full = energies.gather(-1, (n_full - 1).clamp(min=0))[..., 0]
    middle = torch.where(rest > 0, lowest_empty, (highest_full + lowest_empty) / 2)
    log_weights = weights.log()
    log_below = log_weights.masked_fill(~full, -math.inf)
    log_above = log_weights.masked_fill(full, -math.inf)
    return _Levels(energies, log_below, energies, log_above, rest.log(), middle)


def _imbalance(levels: _Levels, kT: float, mu: Tensor) -> tuple[Tensor, Tensor]:
    """ln(electrons above) − ln(rest + holes below), which increases with μ, and its slope."""
    filled = (mu[..., None] - levels.above) / kT
    empty = (levels.below - mu[..., None]) / kT
    log_electrons = logsigmoid(filled) + levels.log_above
    log_holes = logsigmoid(empty) + levels.log_below
    # Sums are taken by logsumexp, because the terms themselves may underflow.
    total_electrons = torch.logsumexp(log_electrons, -1)
    total_holes = torch.logaddexp(torch.logsumexp(log_holes, -1), levels.log_rest)
    # d ln f/dμ = (1 − f)/kT, averaged with the share of each term in its sum.
    slope = ((log_electrons - total_electrons[..., None]).exp() * torch.sigmoid(-filled)).sum(-1)
    slope = slope + ((log_holes - total_holes[..., None]).exp() * torch.sigmoid(-empty)).sum(-1)
    return total_electrons - total_holes, slope / kT


def _newton(
    x: Tensor, lower: Tensor, upper: Tensor, function: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> Tensor:
    """Root of an increasing function in [lower, upper] by safeguarded Newton.

    A step that leaves the bracket, or does not halve the one before it, is replaced by bisection.
    """
    last_size = upper - lower
    done = torch.zeros_like(x, dtype=torch.bool)
    for _ in range(200):
        value, slope = function(x)
        lower = torch.where(value < 0, x, lower)
        upper = torch.where(value > 0, x, upper)
        step = -value / slope
        trusted = (x + step >= lower) & (x + step <= upper) & (step.abs() <= last_size / 2)
        # Converged samples are frozen, so that the rest of the batch cannot change their last bit.
        done |= step.abs() <= 2 * torch.finfo(x.dtype).eps * x.abs().clamp(min=1)
        if done.all():
            break
        step = torch.where(trusted, step, (lower + upper) / 2 - x).masked_fill(done, 0.0)
        x = x + step
        last_size = step.abs()
    return x


def _degeneracy(energies: Tensor) -> Tensor:
    """Largest distance of degenerate levels."""
    return _DEGENERATE * (1 + energies.abs().amax(-1, keepdim=True))
