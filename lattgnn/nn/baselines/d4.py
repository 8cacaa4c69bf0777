"""Irreducible representations of D4, the point group of the square lattice: a patch decomposed into them."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.lattice import Lattice, space_group
from lattgnn.nn.baselines.neighbourhood import Patch, patch


class D4Channels(NamedTuple):
    """Channels sorted by how they transform; (x, y) are the two components of the doublets E.

    a2 transforms like xy(x² − y²), b1 like x² − y², b2 like xy and (x, y) like the coordinates.
    """

    a1: Float[Tensor, "n_sites batch n_a1"]
    a2: Float[Tensor, "n_sites batch n_a2"]
    b1: Float[Tensor, "n_sites batch n_b1"]
    b2: Float[Tensor, "n_sites batch n_b2"]
    x: Float[Tensor, "n_sites batch n_e"]
    y: Float[Tensor, "n_sites batch n_e"]


class D4Decomposition(nn.Module):
    """The values on a patch in orthonormal combinations that transform irreducibly.

    Shell by shell, the polynomials of :class:`D4Channels` are evaluated on the offsets; a shell of 8 sites has a
    second doublet, that of (x³, y³).

    Args:
        patch: A patch of the square lattice, from :func:`square_patch`.

    Attributes:
        shells: For A1, A2, B1, B2, x and y the shell of each of their channels.
    """

    projection: Tensor

    def __init__(self, patch: Patch):
        super().__init__()
        rows: list[list[np.ndarray]] = [[] for _ in D4Channels._fields]
        self.shells: list[list[int]] = [[] for _ in D4Channels._fields]
        for number, shell in enumerate(patch.shells):
            for kind, values in enumerate(_polynomials(*patch.offsets[shell].T)):
                for value in values:
                    if value.any():  # in integers: a polynomial that vanishes on a shell is exactly 0
                        row = np.zeros(len(patch))
                        row[shell] = value / np.linalg.norm(value)
                        rows[kind].append(row)
                        self.shells[kind].append(number)
        matrix = torch.tensor(np.concatenate([np.reshape(row, (-1, len(patch))) for row in rows]))
        self.register_buffer("projection", matrix.to(torch.get_default_dtype()), persistent=False)

    @property
    def copies(self) -> tuple[int, ...]:
        """How often A1, A2, B1, B2 and E occur."""
        return tuple(len(shells) for shells in self.shells[:5])

    def forward(self, values: Float[Tensor, "n_sites batch n_patch"]) -> D4Channels:
        """Decompose the values on the patch of each site."""
        combined = nn.functional.linear(values, self.projection)
        return D4Channels(*combined.split([len(shells) for shells in self.shells], dim=-1))


def square_patch(lattice: Lattice, cutoff: float) -> Patch:
    """The patch of a square lattice with its axes along x and y.

    Raises:
        ValueError: If the lattice is another one.
    """
    rotations = np.abs([g.rotation for g in space_group(lattice).operations])
    if lattice.dim != 2 or lattice.n_sublattices > 1 or len(rotations) != 8 or (rotations.sum(-1) > 1).any():
        raise ValueError(
            f"lattice must be square, its primitive vectors orthogonal, for irreps of D4, got {lattice.name}."
            " Use square, or a network on bonds such as PublishedGCN."
        )
    return patch(lattice, cutoff)


def _polynomials(x: np.ndarray, y: np.ndarray) -> tuple[list[np.ndarray], ...]:
    """Integer values of all combinations on one shell, for A1, A2, B1, B2, x and y; some are 0."""
    square, fourth = (x * x).sum(), (x**4).sum()
    second = [u**3 * square - u * fourth for u in (x, y)]  # u³ without its part along u
    return [np.ones_like(x)], [x * y * (x * x - y * y)], [x * x - y * y], [x * y], [x, second[0]], [y, second[1]]
