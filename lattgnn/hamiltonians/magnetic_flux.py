"""A uniform magnetic flux as phases of the hopping (Peierls substitution)."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.errors import InputError, errors_about
from lattgnn.hamiltonians.hopping import HoppingBonds
from lattgnn.lattice import Lattice
from lattgnn.lattice.unit_cell import rational


def normal_flux(lattice: Lattice, flux: float | str) -> float:
    """The flux per unit cell in flux quanta, after a check.

    Args:
        lattice: The lattice.
        flux: A number, or a text such as "1/7".

    Raises:
        InputError: If the lattice is not in the plane, or the flux through a periodic lattice is
            not a whole number of flux quanta.
    """
    with errors_about("flux"):
        exact = rational(flux)
    if exact and lattice.dim != 2:
        raise InputError(f"flux needs a lattice in the plane, got {lattice.name}. Use flux=0.")
    if all(lattice.periodic) and (exact * lattice.n_cells).denominator > 1:
        raise InputError(
            f"the flux {exact} per cell must give a whole number of flux quanta on the periodic"
            f" lattice, got extent {lattice.extent}. Use a number of cells that is a multiple of"
            f" {exact.denominator}."
        )
    return float(exact)


def flux_phases(lattice: Lattice, bonds: HoppingBonds, flux: float) -> Float[Tensor, " n_bonds"]:
    r"""Phases θ_ij of the hopping t_ij exp(iθ_ij) from j to i; around a cell they add up to 2πφ.

    In the coordinates x_1, x_2 along the primitive vectors (Landau gauge, charge +1)

        θ_ij = 2πφ ∫_j^i x_1 dx_2 = 2πφ (x_1 at the middle of the bond) × (x_2i − x_2j).

    A path counterclockwise around a region gains the flux through it.

    Args:
        lattice: The lattice, in the plane.
        bonds: The bonds.
        flux: Flux φ per unit cell in flux quanta.

    Reference:
        D. R. Hofstadter, Phys. Rev. B 14, 2239 (1976).
    """
    vectors = np.array(lattice.primitive_vectors)
    # The flux is positive along z, whichever way the primitive vectors turn.
    exact = float(rational(flux)) * np.sign(np.linalg.det(vectors))
    fractions = lattice.cells + np.array(lattice.basis, dtype=np.float64)[lattice.sublattices]
    end, start = fractions[bonds.pairs[0].numpy()], fractions[bonds.pairs[1].numpy()]
    step = bonds.displacement @ np.linalg.inv(vectors)
    turns = exact * (start[:, 0] + step[:, 0] / 2) * step[:, 1]
    # Beyond the boundary along x_1, after w periods of L cells, the gauge has changed by the
    # gradient of 2πφ L w x_2, which the state of the site takes along.
    periods = np.rint((start + step - end)[:, 0] / lattice.extent[0])
    turns -= exact * lattice.extent[0] * periods * end[:, 1]
    return torch.from_numpy(2 * math.pi * (turns - np.rint(turns)))
