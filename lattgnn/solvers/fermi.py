r"""Occupations, chemical potential and grand potential of independent electrons, at any temperature.

Energies e_k and kT in units of the hopping t (k_B = 1); kT = 0 is the exact limit, not a small number.
Every function takes a batch: energies are [..., n_states], sorted upwards, results [...].
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from lattgnn.errors import InputError

_DEGENERATE = 1e-10
"""Levels closer than this (times 1 + max |e|) are one level at kT = 0; the eigensolver leaves 1e-14."""


def fermi_function(
    energies: Float[Tensor, "*batch n_states"],
    mu: Float[Tensor, "*batch"],
    kT: float,
    n_electrons: float | None = None,
) -> Float[Tensor, "*batch n_states"]:
    r"""Occupations f_k = 1 / (exp((e_k − μ)/kT) + 1).

    At kT = 0 this is a step. Levels that lie on μ share alike what the levels below leave of
    `n_electrons`; without `n_electrons` (μ fixed) they are half filled, the limit kT → 0.

    Args:
        energies: levels e_k, sorted upwards.
        mu: chemical potential.
        kT: temperature of the electrons.
        n_electrons: their number, where it is fixed.

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
    left_over = n_electrons - below.sum(-1, keepdim=True)
    return below + at_mu * left_over / at_mu.sum(-1, keepdim=True).clamp(min=1)


def grand_potential(
    energies: Float[Tensor, "*batch n_states"],
    mu: Float[Tensor, "*batch"],
    kT: float,
    weights: Float[Tensor, "*batch n_states"] | None = None,
) -> Float[Tensor, "*batch"]:
    r"""Ω = −kT Σ_k w_k ln(1 + exp((μ − e_k)/kT)), and Σ_k w_k min(e_k − μ, 0) at kT = 0.

    Args:
        energies: levels e_k.
        mu: chemical potential.
        kT: temperature of the electrons.
        weights: w_k, the part of each level that counts; None for all of it, 1.

    Returns:
        Grand potential. The free energy at fixed electron number N is Ω + μN.
    """
    distance = energies - mu[..., None]
    levels, unit = (logsigmoid(distance / kT), kT) if kT > 0 else (distance.clamp(max=0), 1.0)
    return unit * (levels if weights is None else weights * levels).sum(-1)


def chemical_potential(
    energies: Float[Tensor, "*batch n_states"], n_electrons: float, kT: float
) -> Float[Tensor, "*batch"]:
    r"""μ with Σ_k f_k(μ) = n_electrons.

    With n the whole part of the electron number and r the rest, μ balances the electrons above level n
    with the holes below it, in logarithms:

        ln Σ_{k>n} f_k = ln(r + Σ_{k≤n} (1 − f_k)).

    Both sides keep their relative precision however small they are, so μ in the gap of an insulator is as
    sharp as anywhere, and both are nearly linear in μ: Newton's method, kept inside a bracket, needs
    a handful of steps. At kT = 0 μ lies mid-gap, or on the level that is partly filled.

    Args:
        energies: levels e_k, sorted upwards.
        n_electrons: their number, between 0 and n_states, not necessarily whole.
        kT: temperature of the electrons.

    Returns:
        Chemical potential, to machine precision.

    Raises:
        ValueError: no finite μ gives this number of electrons.
    """
    n_states = energies.shape[-1]
    # 0.07 · 100 is 7.000000000000001: a filling written in decimals means a whole number of electrons.
    rounding = 1e-12 * n_states
    if not rounding < n_electrons < n_states - rounding:
        raise InputError(
            f"n_electrons must be above 0 and below n_states = {n_states}, got {n_electrons!r}. "
            "Use a filling strictly between 0 and 1."
        )
    whole = math.floor(n_electrons + rounding)
    rest = n_electrons - whole if n_electrons - whole > rounding else 0.0
    guess = energies[..., whole] if rest else (energies[..., whole - 1] + energies[..., whole]) / 2
    if kT == 0:
        return guess
    lower = energies[..., 0] - kT * math.log(n_states / n_electrons)
    upper = energies[..., -1] + kT * math.log(n_states / (n_states - n_electrons))
    return _newton(
        guess,
        lower,
        upper,
        partial(_imbalance, energies[..., :whole], energies[..., whole:], rest, kT),
    )


def _imbalance(
    below: Tensor, above: Tensor, rest: float, kT: float, mu: Tensor
) -> tuple[Tensor, Tensor]:
    """ln(electrons above) − ln(rest + holes below), and its slope in μ; both increase with μ."""
    filled = (mu[..., None] - above) / kT
    empty = (below - mu[..., None]) / kT
    log_electrons, log_holes = logsigmoid(filled), logsigmoid(empty)
    total_electrons = torch.logsumexp(log_electrons, -1)
    log_rest = torch.full_like(mu, math.log(rest) if rest else -math.inf)
    total_holes = torch.logaddexp(torch.logsumexp(log_holes, -1), log_rest)
    slope = ((log_electrons - total_electrons[..., None]).exp() * torch.sigmoid(-filled)).sum(-1)
    slope = slope + ((log_holes - total_holes[..., None]).exp() * torch.sigmoid(-empty)).sum(-1)
    return total_electrons - total_holes, slope / kT


def _newton(
    x: Tensor, lower: Tensor, upper: Tensor, function: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> Tensor:
    """Root of an increasing function in [lower, upper]: Newton, bisection where its steps do not shrink."""
    last_step = upper - lower
    done = torch.zeros_like(x, dtype=torch.bool)
    for _ in range(200):
        value, slope = function(x)
        lower = torch.where(value < 0, x, lower)
        upper = torch.where(value > 0, x, upper)
        step = -value / slope
        trusted = (x + step >= lower) & (x + step <= upper) & (step.abs() <= last_step / 2)
        # A sample that is done stays as it is: what else is in the batch must not move its last bit.
        done |= step.abs() <= 2 * torch.finfo(x.dtype).eps * x.abs().clamp(min=1)
        if done.all():
            break
        last_step = torch.where(trusted, step, (lower + upper) / 2 - x).masked_fill(done, 0.0)
        x = x + last_step
        last_step = last_step.abs()
    return x


def _degeneracy(energies: Tensor) -> Tensor:
    return _DEGENERATE * (1 + energies.abs().amax(-1, keepdim=True))
