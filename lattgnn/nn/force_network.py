"""The interface of every force network."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lattgnn.errors import errors_about
from lattgnn.graph import LatticeGraph, lattice_graph
from lattgnn.lattice import Lattice, bond_orbits
from lattgnn.symmetry import FieldType


class ForceNetwork(nn.Module, ABC):
    """A network from fields to electronic energy and forces, for any extent of one lattice.

    A subclass is constructed as ``Net(lattice, field_type, **hyperparameters)``. It may use the
    lattice's symmetry, but not its extent.
    """

    hyperparameters: Mapping[str, Any]
    """Arguments that rebuild the network, except for the lattice; a checkpoint stores them."""

    field_type: FieldType
    """Kind of field that the network is made for."""

    cutoff: float
    """Longest bond of the graph that the network receives, in the units of the lattice."""

    conservative: bool = False
    """Whether forces are the gradient of an energy, which is the sum of :meth:`site_energies`."""

    receptive_field: tuple[int, ...] | None = None
    """Receptive field of a site's energy, or of its force if there is no energy.

    It is the number of cells along each axis beyond which the field has no effect; None if unknown.
    Forces that are gradients have twice this receptive field.
    """

    def graph(self, lattice: Lattice) -> LatticeGraph:
        """The graph of a lattice for ``forward``, in this network's dtype and on its device.

        Raises:
            InputError: If the extent is too small for the cutoff.
        """
        parameter = next(self.parameters())
        with errors_about(f"the bonds of {type(self).__name__}"):
            return lattice_graph(lattice, self.cutoff, parameter.dtype, parameter.device)

    @abstractmethod
    def forward(
        self, field: Float[Tensor, "batch n_sites *components"], graph: LatticeGraph
    ) -> tuple[Float[Tensor, " batch"] | None, Float[Tensor, "batch n_sites *components"]]:
        """Electronic energy (None where the network has none) and forces −∂E/∂field."""

    def site_energies(
        self, field: Float[Tensor, "batch n_sites *components"], graph: LatticeGraph
    ) -> Float[Tensor, "batch n_sites"]:
        """The energy of each site; the electronic energy is their sum.

        Raises:
            NotImplementedError: If the network has no energy.
        """
        raise NotImplementedError(
            f"the network must be conservative to have energies, got {type(self).__name__} "
            "without. Use forward."
        )

    def energy_constants(self) -> list[Tensor]:
        """The parameters, or views of them, that are added to the energies of sites; maybe none."""
        return []

    def shift_energy(self, per_site: float) -> None:
        """Add a constant to the energy of each site, in place, if the network has such parameters.

        Args:
            per_site: The constant, in units of the energy.
        """
        with torch.no_grad():
            for constant in self.energy_constants():
                constant += per_site

    def frozen_copy(self) -> "ForceNetwork":
        """A private copy for production, whose layers may cache their kernels.

        The weights of the copy must never change.
        """
        net = copy.deepcopy(self).requires_grad_(False).eval()
        for module in net.modules():
            if hasattr(module, "is_frozen"):
                setattr(module, "is_frozen", True)  # noqa: B010  a plain attribute, not a tensor
        return net


def bond_length(lattice: Lattice, cutoff: float) -> float:
    """The length of a cutoff, in the units of the lattice.

    Args:
        lattice: The lattice, whose neighbors may be at any distance.
        cutoff: The cutoff of a network, in nearest-neighbor distances.
    """
    return cutoff * lattice.neighbor_distance


def cells_spanned(lattice: Lattice, cutoff: float, n_hops: int = 1) -> tuple[int, ...]:
    """The largest number of cells along each axis that a path of `n_hops` bonds spans.

    The extent of the lattice does not matter, and the cutoff is in the units of the lattice.
    """
    bonds = [bond for orbit in bond_orbits(lattice, cutoff).orbits for bond in orbit.bonds]
    # farthest[s]: how far paths that start on sublattice s lead along each axis.
    farthest = np.zeros((lattice.n_sublattices, lattice.dim), dtype=np.int64)
    for _ in range(n_hops):
        before = farthest.copy()
        for start, end, offset in bonds:
            farthest[start] = np.maximum(farthest[start], before[end] + offset)
    return tuple(farthest.max(0).tolist())
