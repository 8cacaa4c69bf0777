"""The kernel polynomial method as a solver."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from lattgnn import native
from lattgnn.errors import InputError, check_number
from lattgnn.solvers.chebyshev import compiled, recurrence
from lattgnn.solvers.chebyshev.expansion import Interval, converged_order, resolves, series
from lattgnn.solvers.chebyshev.probing import Probes, probing_vectors, unit_vectors
from lattgnn.solvers.chebyshev.recurrence import (
    EnergyWeights,
    Pattern,
    energy_weights,
    reordered_pattern,
)
from lattgnn.solvers.chebyshev.spectrum import spectral_interval
from lattgnn.solvers.filling import find_mu
from lattgnn.solvers.model_cache import model_cache
from lattgnn.solvers.solver import ElectronicState, Solver, TightBinding

# With all unit vectors the cost grows with the square of the number of states.
_MOST_UNIT_VECTORS = 10_000
# Share of the levels that may lie closer to μ than the resolution before a warning says so. The
# tails of Jackson's kernel alone, in an insulator, make a share of less than 1e-4.
_UNRESOLVED_SHARE = 1e-3


@dataclass(frozen=True, repr=False)
class Chebyshev(Solver):
    r"""Kernel polynomial method: ρ and Ω from Chebyshev moments, for cold metals too.

        Ω    = Σ_r r† p(H) r,    p(e) = Σ_{n < order} g_n c_n T_n(x) ≈ −kT ln(1 + exp((μ − e)/kT))
        ρ_ab = ∂Ω/∂H_ba

    p is the Chebyshev series of the grand potential of one level, x the level scaled to [−1, 1],
    and r are probing vectors. **ρ is the exact derivative of the Ω above**, so forces conserve the
    energy, whatever the errors of the series and of the probing. At fixed `filling`, μ solves
    −∂Ω/∂μ = filling · n_states for the same Ω, and the energy is Ω + μN; the moments give this for
    all μ at once.

    **Series.** `order` is the number of terms. By default it is that at which the truncated Fermi
    function is within `tolerance` of the exact one at every energy, about (a/π kT) ln(0.6 /
    tolerance), where a is half the width of an interval that contains the spectrum. On large
    lattices density elements, which are sums over many levels, are far more accurate. At kT = 0 no
    order converges for all fields, so it must be given. There, and at orders below about 0.6 a/kT,
    the factors g_n are those of Jackson's kernel, which smooths f over about π a/order instead of
    letting it oscillate; otherwise g_n = 1. So at kT = 0 the step at μ is smooth: an insulator
    converges to the exact result as its gap is resolved, a metal as all levels near μ are. The
    kernel also changes all forces by a relative 5/order². A warning says so where more than one
    level in a thousand is closer to μ than that.

    The ends of the interval are rounded outward to a coarse grid. They seldom change along a
    trajectory; when they do, the energy jumps by less than the error of the series.

    **Probing.** `distance=None` takes all unit vectors: exact up to the series, at a cost that is
    quadratic in the number of states, for at most 10,000 of them. Otherwise vectors have random
    phases on states of one color, whose sites are at least `distance` hops of H apart (a greedy
    coloring, or a sublattice). The number of vectors then does not depend on the size of the
    lattice: it is about distance²/2 times the states of a site on the square lattice, and the cost
    is linear. An even distance that divides the extents is best there. With the number S of vectors
    the error falls as 1/S in a cold metal in two dimensions, and exponentially with the distance
    in insulators and where the thermal length is shorter than the distance. `tolerance` does not
    bound it; compare with `refined()`. With probing vectors tolerance=1e-2 is nearly always enough.
    The phases are fixed by `seed` and by the numbers of the states. They break the symmetries of
    the lattice within the error.

    The result for a field does not depend on the rest of its batch, nor on the number of threads.

    Args:
        kT: Temperature of the electrons; 0 is allowed with `order`.
        mu: Chemical potential, in units of t.
        filling: Electrons per state.
        order: Number of terms of the series, an even number; None derives it from `tolerance`.
        distance: Smallest number of hops between sites that share a probing vector; None for unit
            vectors.
        tolerance: Largest error of the truncated Fermi function; not used if `order` is given.
        seed: Seed of the phases of the probing vectors.

    Raises:
        InputError: If kT is negative, order is missing at kT = 0 or not an even number, distance is
            below 1, tolerance is not between 1e-14 and 0.1, seed is negative, or not exactly one of
            mu and filling is given.

    Reference:
        A. Weiße et al., Rev. Mod. Phys. 78, 275 (2006); K. Barros and Y. Kato, Phys. Rev. B 88,
        235101 (2013) for gradient-based forces; Z. Wang et al., J. Chem. Phys. 148, 094107 (2018)
        for their error with probing vectors. Here moments of twice the order are used for forces
        too.
    """

    kT: float
    mu: float | None = None
    filling: float | None = None
    order: int | None = None
    distance: int | None = None
    tolerance: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_ensemble()
        check_number("tolerance", self.tolerance, 1e-14, 0.1)
        if self.order is None and self.kT == 0:
            raise InputError(
                "order must be given at kT = 0, where no order converges in every field. Use "
                "order=2000, or a higher one for a small gap."
            )
        if self.order is not None and (not _is_whole(self.order, 2) or self.order % 2):
            raise InputError(f"order must be an even number above 0, got {self.order!r}. Use 1000.")
        if self.distance is not None and not _is_whole(self.distance, 1):
            raise InputError(
                f"distance must be a whole number, at least 1, got {self.distance!r}. Use 8, or "
                "None for all unit vectors."
            )
        if not _is_whole(self.seed, 0):
            raise InputError(f"seed must be a whole number, at least 0, got {self.seed!r}. Use 0.")

    def __repr__(self) -> str:
        # With an order, the tolerance has no effect.
        return self._text(() if self.order is None else ("tolerance",))

    def refined(self) -> "Chebyshev":
        """A smaller tolerance or twice the order, and 1.5 times the distance of probing vectors."""
        order = None if self.order is None else 2 * self.order
        # On lattices of two sublattices an even distance needs fewer vectors than the odd one
        # before it.
        distance = None if self.distance is None else 2 * (-(-3 * self.distance // 4))
        tolerance = self.tolerance / 100
        if order is None and tolerance < 1e-14:
            if distance is None:
                raise InputError(
                    f"Chebyshev with tolerance={self.tolerance:g} has no refinement, because it is "
                    "exact to rounding. Use a larger tolerance."
                )
            tolerance = self.tolerance
        return replace(self, order=order, distance=distance, tolerance=tolerance)

    @torch.no_grad()
    def solve(self, hamiltonian: TightBinding, field: Float[Tensor, "..."]) -> ElectronicState:
        """The electrons in a field.

        Args:
            hamiltonian: H(field), hashable, with the same number of states on every site.
            field: Field [..., n_sites] or [..., n_sites, n_components], on the device that does the
                work.

        Returns:
            Energy and μ [...], density elements [..., nnz], float64 (or complex128) on that device.

        Raises:
            InputError: If the field is not finite or has the wrong shape, the order of the
                tolerance is above 100,000, or there are too many states for all unit vectors.
        """
        hamiltonian.check_field(field)
        if self.distance is None and hamiltonian.n_states > _MOST_UNIT_VECTORS:
            raise InputError(
                f"distance must be given for more than {_MOST_UNIT_VECTORS:,} states, there are "
                f"{hamiltonian.n_states:,}. Use distance=8, and refined() for its error."
            )
        shape = hamiltonian.field_shape
        elements = hamiltonian.elements(field.to(torch.float64).reshape(-1, *shape))
        # Field by field, so that no result depends on the rest of the batch.
        solved = [self._solve(hamiltonian, one) for one in elements]
        energies, mus, densities = zip(*solved, strict=True)
        batch_shape = field.shape[: field.ndim - len(shape)]
        numbers = torch.tensor([energies, mus], dtype=torch.float64, device=field.device)
        energy, mu = numbers.reshape(2, *batch_shape)
        return ElectronicState(energy, mu, torch.stack(densities).reshape(*batch_shape, -1))

    def _solve(
        self, hamiltonian: TightBinding, elements: Shaped[Tensor, " nnz"]
    ) -> tuple[float, float, Shaped[Tensor, " nnz"]]:
        """Energy, μ and density elements of one field."""
        pattern = _pattern(hamiltonian, elements.device)
        values, n_sites = elements[pattern.elements], hamiltonian.lattice.n_sites
        ends = pattern.states[pattern.rows], pattern.states[pattern.columns]
        interval = spectral_interval(values, *ends, n_sites, hamiltonian.n_states // n_sites)
        order = self._order(interval)
        diagonal = (pattern.rows == pattern.columns).to(values)
        scaled = (values - interval.center * diagonal) / interval.half_width
        probes = _probes(hamiltonian, self.distance, self.seed, elements.is_complex())
        products = _Products(pattern, scaled, probes, order // 2)
        mu, n_electrons = self.mu, 0.0
        if mu is None:
            assert self.filling is not None  # checked in __post_init__
            n_electrons = self.filling * hamiltonian.n_states
            mu = self._find_mu(products(None)[0], interval, order, n_electrons)
        potential = energy_weights(series(mu, self.kT, interval, order).potential)
        found, gradient = products(potential)
        assert gradient is not None
        if not resolves(self.kT / interval.half_width, order):
            count = partial(self._count, found, interval, order)
            _warn_of_close_levels(count, mu, interval, order, hamiltonian.n_states)
        density = torch.empty_like(elements)
        density[pattern.elements] = gradient / interval.half_width
        return potential.total(found) + mu * n_electrons, mu, density

    def _order(self, interval: Interval) -> int:
        if self.order is not None:
            return self.order
        return converged_order(self.kT, interval.half_width, self.tolerance)

    def _find_mu(
        self, products: Tensor, interval: Interval, order: int, n_electrons: float
    ) -> float:
        """μ with the given number of electrons, −∂Ω/∂μ."""
        count = partial(self._count, products, interval, order)
        return find_mu(count, n_electrons, guess=interval.center, width=interval.half_width)

    def _count(self, products: Tensor, interval: Interval, order: int, mu: float) -> float:
        """Number of electrons at a chemical potential."""
        occupation = series(mu, self.kT, interval, order).occupation
        return energy_weights(occupation).total(products)


def _warn_of_close_levels(
    count: Callable[[float], float], mu: float, interval: Interval, order: int, n_states: int
) -> None:
    """Warn if levels lie so close to μ that Jackson's kernel smooths their occupations."""
    width = math.pi * interval.half_width / order
    if count(mu + width) - count(mu - width) > _UNRESOLVED_SHARE * n_states:
        # The numbers change seldom along a trajectory, so Python shows the warning once.
        warnings.warn(
            f"a series of order={order} resolves energies to {width:.2g}, and levels lie closer to "
            "mu than that. Their occupations are smoothed. Use a higher order, a higher kT, or "
            "ExactDiagonalization, or estimate the error by estimate_error.",
            stacklevel=2,
        )


class _Products(NamedTuple):
    """The recurrence for one matrix."""

    pattern: Pattern
    values: Tensor
    probes: Probes
    n_steps: int

    def __call__(self, weights: EnergyWeights | None) -> tuple[Tensor, Tensor | None]:
        on_cpu = self.values.device.type == "cpu"
        has_code = on_cpu and native.library() is not None
        function: Callable = (compiled if has_code else recurrence).vector_products
        return function(*self, weights)


# Pattern and probing vectors depend on the pattern of H alone, so every step of a trajectory uses
# the same ones.
@model_cache(4)
def _pattern(hamiltonian: TightBinding, device: torch.device) -> Pattern:
    rows, cols = hamiltonian.rows.cpu().numpy(), hamiltonian.cols.cpu().numpy()
    return reordered_pattern(rows, cols, hamiltonian.n_states).to(device)


@model_cache(4)
def _probes(hamiltonian: TightBinding, distance: int | None, seed: int, is_complex: bool) -> Probes:
    """The probing vectors in the order of `_pattern`."""
    if distance is None:
        probes = unit_vectors(hamiltonian.n_states)
    else:
        probes = probing_vectors(hamiltonian, distance, seed, is_complex)
    return probes.reordered(_pattern(hamiltonian, torch.device("cpu")).states.numpy())


def _is_whole(value: Any, least: int) -> bool:
    is_number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return bool(is_number and value >= least)
