"""Torque of an electric current on spins: adiabatic and non-adiabatic spin transfer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.dynamics.state import ForceField
from lattgnn.errors import InputError, check_number
from lattgnn.lattice import Lattice
from lattgnn.lattice.reduction import LENGTH_TOLERANCE

Spins = Float[Tensor, "replicas n_sites 3"]


@dataclass(frozen=True)
class SpinTransferTorque:
    """Spin-transfer torque of a uniform current.

        dS/dt = S × B − alpha S × dS/dt − (u·∇)S − beta S × (u·∇)S

    The first new term is adiabatic: it moves the whole texture with the velocity u. The second is
    non-adiabatic. Both together are S × H of an effective field, with D = (u·∇)S:

        H = B + S × D − beta D

    For beta = alpha a texture in equilibrium moves with u and does not change its shape. Equations
    for the magnetic moments of electrons, −S, have the opposite sign of beta. D is the difference
    of spins of one sublattice across the shortest lattice vectors ±d that span space, fitted by
    least squares: D = Σ_d (u·M⁻¹d) S(r + d), M = Σ_d d dᵀ. On the square lattice this is the
    central difference. Beyond an open boundary, the spin at the boundary is repeated.

    Args:
        velocity: Velocity u that the spin-polarized current gives to a texture, Cartesian,
            units a t_hop/ħ.
        beta: Strength of the non-adiabatic torque, about as large as alpha.

    Raises:
        InputError: If a number is not finite.

    Reference:
        S. Zhang and Z. Li, Phys. Rev. Lett. 93, 127204 (2004); A. Thiaville et al., Europhys. Lett.
        69, 990 (2005).
    """

    velocity: tuple[float, ...]
    beta: float = 0.0

    def __post_init__(self) -> None:
        # A YAML file gives a list of numbers; the frozen object must be hashable.
        object.__setattr__(self, "velocity", tuple(self.velocity))
        for number in self.velocity:
            check_number("velocity", number)
        check_number("beta", self.beta)

    def field(self, spins: Spins, lattice: Lattice) -> Spins:
        """The effective field S × D − beta D of the current.

        Args:
            spins: The spins.
            lattice: Their lattice.

        Returns:
            The field on each spin, units t_hop.

        Raises:
            InputError: If the velocity has another number of components than space.
        """
        change = self.derivative(spins, lattice)
        return torch.linalg.cross(spins, change) - self.beta * change

    def derivative(self, spins: Spins, lattice: Lattice) -> Spins:
        """D = (u·∇)S.

        Args:
            spins: The spins.
            lattice: Their lattice.

        Returns:
            The derivative at each site, units t_hop/ħ.

        Raises:
            InputError: If the velocity has another number of components than space, or a process
                holds a part of the lattice only.
        """
        if len(self.velocity) != lattice.dim:
            raise InputError(
                f"velocity must have {lattice.dim} components on this lattice, got "
                f"{self.velocity!r}."
            )
        if spins.shape[1] != lattice.n_sites:
            raise InputError(
                f"a current needs the spins of the whole lattice, {lattice.n_sites}, got "
                f"{spins.shape[1]}. Run `lattgnn simulate` in one process."
            )
        change = torch.zeros_like(spins)
        for ahead, behind, weight in _stencil(lattice, self.velocity, spins.device):
            change += weight * (spins[:, ahead] - spins[:, behind])
        return change


@dataclass(frozen=True, eq=False)
class DrivenForceField:
    """A force field with the effective field of a current on top of it.

    Args:
        force_field: The force field.
        torque: The torque of the current.
    """

    force_field: ForceField
    torque: SpinTransferTorque

    @property
    def lattice(self) -> Lattice:
        """Lattice of the spins."""
        return self.force_field.lattice

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one configuration, (n_sites, 3)."""
        return self.force_field.field_shape

    def __call__(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Energy without the current, and effective fields with it."""
        energy, forces = self.force_field(field)
        return energy, forces.to(field.dtype) + self.torque.field(field, self.lattice)


class _Difference(NamedTuple):
    """Sites ahead and behind of each site, and the weight of their difference."""

    ahead: Tensor
    behind: Tensor
    weight: float


@lru_cache(maxsize=16)
def _stencil(
    lattice: Lattice, velocity: tuple[float, ...], device: torch.device
) -> tuple[_Difference, ...]:
    """The differences whose weighted sum is D; one for each pair ±d."""
    reduced = lattice.cell.reduction @ np.asarray(lattice.primitive_vectors, dtype=np.float64)
    cutoff = np.linalg.norm(reduced, axis=1).max() * (1 + LENGTH_TOLERANCE)
    offsets = [tuple(map(int, offset)) for offset in lattice.cell.offsets_within(0, 0, cutoff)]
    # Of d and −d, the larger one; zero is neither.
    half = np.array([d for d in offsets if d > tuple(-x for x in d)])
    vectors = lattice.cell.cartesian(half)
    # M of d and −d together is twice that of one half. The difference of both counts once.
    weights = np.linalg.solve(2 * vectors.T @ vectors, np.array(velocity)) @ vectors.T
    found = []
    for offset, weight in zip(half, weights, strict=True):
        ahead, behind = (_shifted(lattice, sign * offset, device) for sign in (1, -1))
        found.append(_Difference(ahead, behind, float(weight)))
    return tuple(found)


def _shifted(lattice: Lattice, offset: np.ndarray, device: torch.device) -> Tensor:
    """The site that lies `offset` cells from each site, or the last one before an open boundary."""
    cells = lattice.cells + offset
    last = np.array(lattice.extent) - 1
    inside = np.where(lattice.periodic, cells % lattice.extent, cells.clip(0, last))
    return torch.from_numpy(lattice.ravel(inside, lattice.sublattices)).to(device)
