"""What every force network offers, whatever is inside."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.lattice import Lattice, bond_orbits


class ForceNetwork(nn.Module, ABC):
    """A network from fields to electronic energy and forces, on any extent of one lattice.

    A subclass is made by ``Net(lattice, force_bound, **hyperparameters)``; it may use the lattice's symmetry
    but not its extent.
    """

    hyperparameters: Mapping[str, Any]
    """Arguments that rebuild the network, the lattice left out; a checkpoint stores them."""

    field: str = "trivial"
    """How the field transforms that the network was made for, as `lattgnn.lattice.field_representation` reads
    it; must be the Hamiltonian's `representation`."""

    internal: str = ""
    """What its components are in a space of their own, "spin" or ""; must be the Hamiltonian's `internal`."""

    conservative: bool = False
    """Whether forces are the gradient of an energy, which :meth:`site_energies` says site by site."""

    reach: tuple[int, ...] | None = None
    """How many cells away along each axis the energy of a site, or its force where there is no energy, still
    knows the field; None where nobody knows. Forces that are gradients know it twice as far."""

    @abstractmethod
    def graph(self, lattice: Lattice) -> Any:
        """What ``forward`` needs to know of a lattice, in this network's dtype and on its device."""

    @abstractmethod
    def forward(
        self, field: Float[Tensor, "batch n_sites *components"], graph: Any
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites *components"]]:
        """Electronic energy (None where the network has none) and forces −∂E/∂field."""

    def site_energies(
        self, field: Float[Tensor, "batch n_sites *components"], graph: Any
    ) -> Float[Tensor, "batch n_sites"]:
        """The energies of sites that add up to the electronic energy.

        Raises:
            NotImplementedError: The network has no energy.
        """
        raise NotImplementedError(
            f"the network must be conservative to have energies, got {type(self).__name__} without. "
            "Use forward."
        )


def cells_reached(lattice: Lattice, cutoff: float, n_hops: int = 1) -> tuple[int, ...]:
    """The most cells along each axis that so many bonds up to a cutoff span; the extent plays no part."""
    bonds = [bond for orbit in bond_orbits(lattice, cutoff).orbits for bond in orbit.bonds]
    farthest = np.zeros(
        (lattice.n_sublattices, lattice.dim), dtype=np.int64
    )  # from each sublattice
    for _ in range(n_hops):
        before = farthest.copy()
        for start, end, offset in bonds:
            farthest[start] = np.maximum(farthest[start], before[end] + offset)
    return tuple(farthest.max(0).tolist())
