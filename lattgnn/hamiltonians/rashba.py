"""Rashba spin–orbit coupling: hopping that turns the spin of the electron."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Complex, Int
from torch import Tensor

from lattgnn.errors import InputError
from lattgnn.hamiltonians.hopping import HoppingBonds
from lattgnn.lattice import Lattice


def rashba_matrices(bonds: HoppingBonds) -> Complex[Tensor, "n_bonds 2 2"]:
    """The matrix of each bond from j to i: iλ (σ × d_ij)_z, with d_ij the unit vector from j to i.

    Args:
        bonds: The bonds with the strength λ of the coupling.

    Raises:
        InputError: If the lattice is three-dimensional.

    Reference:
        E. I. Rashba, Sov. Phys. Solid State 2, 1109 (1960); on a lattice C. L. Kane and E. J. Mele,
        Phys. Rev. Lett. 95, 146802 (2005).
    """
    dim = bonds.displacement.shape[1]
    if dim == 3:
        raise InputError(
            "rashba needs a lattice in the plane or on a line, got one in three dimensions."
            " Use rashba=0."
        )
    step = bonds.displacement / np.linalg.norm(bonds.displacement, axis=1)[:, None]
    x, y = step[:, 0], step[:, 1] if dim == 2 else np.zeros(len(step))
    matrices = np.zeros((len(step), 2, 2), dtype=np.complex128)
    # i (σ_x y − σ_y x), with σ_y = [[0, −i], [i, 0]].
    matrices[:, 0, 1], matrices[:, 1, 0] = 1j * y - x, 1j * y + x
    return torch.from_numpy(matrices * bonds.values.numpy()[:, None, None])


def joined_bonds(
    lattice: Lattice, hopping: HoppingBonds, spin_orbit: HoppingBonds
) -> tuple[HoppingBonds, Complex[Tensor, "n_bonds 2 2"]]:
    """The bonds of hopping and spin–orbit coupling together, and the matrix of each.

    Args:
        lattice: The lattice.
        hopping: Bonds with the hopping t.
        spin_orbit: Bonds with the strength of the Rashba coupling.

    Returns:
        The bonds by destination and source, and −t 1 + iλ (σ × d)_z for each.
    """
    parts = (hopping, spin_orbit)
    keys = [_keys(lattice, part.pairs) for part in parts]
    both = torch.unique(torch.cat(keys))  # sorted
    matrices = torch.zeros(len(both), 2, 2, dtype=torch.complex128)
    displacement = np.zeros((len(both), lattice.dim))
    turning = -hopping.values[:, None, None] * torch.eye(2), rashba_matrices(spin_orbit)
    for part, key, matrix in zip(parts, keys, turning, strict=True):
        place = torch.searchsorted(both, key)
        matrices[place] += matrix
        displacement[place.numpy()] = part.displacement
    pairs = torch.stack([both // lattice.n_sites, both % lattice.n_sites])
    return HoppingBonds(pairs, torch.zeros(len(both), dtype=torch.float64), displacement), matrices


def _keys(lattice: Lattice, pairs: Int[Tensor, "2 n"]) -> Int[Tensor, " n"]:
    return pairs[0] * lattice.n_sites + pairs[1]
